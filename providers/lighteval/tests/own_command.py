"""LightEval's own command on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME NUM_EXAMPLES`."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

TASKS = Path(__file__).resolve().parents[1] / "tasks" / "quickstart.py"

url, model, examples = sys.argv[1:]
arguments = f"model_name=openai/{model},base_url={url},api_key=none,concurrent_requests=8,max_model_length=32768"
arguments += ",cache_dir=cache"  # the default is the user's, and holds the answers of the time before
# LightEval downloads this pickle of its tiny benchmarks at every start until it is there, and no task of ours reads it
package = find_spec("lighteval")
assert package is not None
pickle = Path(str(package.origin)).parent / "tasks" / "tasks" / "tinyBenchmarks.pkl"
pickle.touch()
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": str(Path.cwd() / "huggingface"),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
os.execv(
    sys.executable,
    [
        *(sys.executable, "-m", "lighteval", "endpoint", "litellm", arguments, "quickstart_arithmetic|0"),
        *("--custom-tasks", str(TASKS), "--output-dir", "out", "--save-details", "--max-samples", examples),
    ],
)
