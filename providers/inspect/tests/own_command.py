"""Inspect's own command on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TASK = Path(__file__).resolve().parents[1] / "tasks" / "arithmetic.py"

url, model, examples = sys.argv[1:]
os.environ |= {"OWN_BASE_URL": url, "OWN_API_KEY": "none", "XDG_DATA_HOME": str(Path.cwd() / "data")}
os.execv(
    sys.executable,
    [
        *(sys.executable, "-m", "inspect_ai", "eval", f"{TASK}@arithmetic", "--model", f"openai-api/own/{model}"),
        *("--limit", examples, "--seed", "42", "--temperature", "0", "--max-connections", "8", "--display", "plain"),
        *("--log-dir", "logs", "--log-format", "json"),
    ],
)
