"""guidellm's own command on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROMPTS = Path(__file__).resolve().parents[1] / "data" / "prompts.jsonl"

url, model, examples = sys.argv[1:]
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path.cwd() / "huggingface"), "GUIDELLM__MAX_WORKER_PROCESSES": "1"}
os.execv(
    sys.executable,
    [
        *(sys.executable, "-m", "guidellm", "run", "--disable-console-interactive"),
        *("--backend", f"kind=openai_http,target={url.removesuffix('/v1')},model={model},max_tokens=128"),
        *("--profile", "kind=concurrent,streams=4", "--constraint", f"kind=max_requests,count={examples}"),
        *("--data", f"kind=json_file,path={PROMPTS}", "--seed", "kind=static,value=42"),
        *("--output", "kind=json,path=own.json"),
    ],
)
