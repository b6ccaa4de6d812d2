"""MTEB's own evaluation and client, on the work of smoke-v1: `python own_command.py MODEL_URL MODEL_NAME 0`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROVIDER = Path(__file__).resolve().parents[1]


def main(url: str, model: str) -> None:
    """Evaluate the task of the provider's own data as MTEB does it."""
    import mteb
    import mteb_tasks
    from mteb.models import OpenAIAPIEncodeWrapper
    from mteb_parameters import OwnData, Parameters

    data = OwnData(task_type="classification", folder=PROVIDER / "data" / "classification")
    task = mteb_tasks.load("quickstart_classification", Parameters(), data, 42)
    encoder = OpenAIAPIEncodeWrapper(endpoint_url=url.removesuffix("/v1"), model_name=model, use_chat_template=False)
    mteb.evaluate(encoder, [task], encode_kwargs={"batch_size": 32}, overwrite_strategy="always")


if __name__ == "__main__":
    sys.path[:0] = [str(PROVIDER), str(PROVIDER.parents[1] / "components")]
    os.environ |= {name: str(Path.cwd() / name) for name in ("HF_HOME", "MTEB_CACHE")} | {"HF_HUB_OFFLINE": "1"}
    main(*sys.argv[1:3])
