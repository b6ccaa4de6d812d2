"""lm-eval's own command on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml

TASKS = Path(__file__).resolve().parents[1] / "tasks"

url, model, examples = sys.argv[1:]
task = yaml.safe_load((TASKS / "quickstart_arithmetic.yaml").read_text("utf-8"))
files = task["dataset_kwargs"]["data_files"]
# the command takes relative paths from where it runs
task["dataset_kwargs"]["data_files"] = {split: str(TASKS / name) for split, name in files.items()}
Path("task.yaml").write_text(yaml.safe_dump(task), "utf-8")
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(Path.cwd() / "huggingface")}
os.execv(
    sys.executable,
    [
        *(sys.executable, "-m", "lm_eval", "run", "--model", "local-chat-completions"),
        *("--model_args", f"model={model}", f"base_url={url}/chat/completions", "num_concurrent=8"),
        *("--tasks", task["task"], "--include_path", ".", "--apply_chat_template", "--limit", examples),
        *("--seed", "42", "--log_samples", "--output_path", "out"),
    ],
)
