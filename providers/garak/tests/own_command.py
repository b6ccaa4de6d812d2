"""garak's own command on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from garak_benchmarks import BENCHMARKS

url, model, examples = sys.argv[1:]
quick = BENCHMARKS["quick"]
settings = {
    "system": {"parallel_attempts": 8, "lite": True},
    "run": {
        "seed": 42,
        "generations": 1,
        "soft_probe_prompt_cap": int(examples),
        "spec": {"include": [f"probes.{name}" for name in quick.probes]},
    },
    "plugins": {
        "target_type": "openai.OpenAICompatible",
        "target_name": model,
        "generators": {"openai": {"OpenAICompatible": {"uri": f"{url}/"}}},
    },
    "reporting": {"report_dir": str(Path.cwd()), "report_prefix": "own"},
}
Path("garak.yaml").write_text(yaml.safe_dump(settings), "utf-8")
os.environ |= {f"XDG_{kind}_HOME": str(Path.cwd() / kind.lower()) for kind in ("DATA", "CACHE", "CONFIG")}
os.environ |= {"OPENAICOMPATIBLE_API_KEY": "none", "HF_HUB_OFFLINE": "1"}
os.execv(sys.executable, [sys.executable, "-m", "garak", "--config", "garak.yaml"])
