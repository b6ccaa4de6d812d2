"""What the process needs before lm-eval is imported: no calls home, fresh caches, credentials."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from evalhub_components.adapter import ModelCredentials
from evalhub_components.framework import surroundings


def prepare(work_dir: Path, credentials: ModelCredentials) -> None:
    """Set the environment of this process; call it before anything imports `datasets`."""
    for name, value in surroundings.QUIET.items():
        os.environ.setdefault(name, value)
    # prepared data of an earlier run must not be taken for today's; whoever sets HF_HOME wants a cache
    os.environ.setdefault("HF_HOME", str(work_dir / "huggingface"))
    if credentials.hf_token:
        os.environ["HF_TOKEN"] = credentials.hf_token
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("lm_eval").setLevel(logging.INFO)
