"""LightEval made fit for a step: what must be set before it is imported, and what it must not load.

Its start is imports: PyTorch and transformers for models that run in its own process, of which there are none here.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from evalhub_components.framework import surroundings

_OWN = {
    # transformers looks at everything that PyTorch brings, and no model is loaded here
    "USE_TORCH": "0",
    # litellm asks a server for today's prices of models
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LIGHTEVAL_DISABLE_TQDM": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


def prepare(work_dir: Path, hf_token: str | None) -> None:
    """Set the environment of this process, before anything of LightEval is imported in it."""
    if hf_token:
        os.environ["HF_TOKEN"] = hf_token
    if "lighteval" in sys.modules:
        return
    # which of this process' benchmarks need the hub is known when their tasks are: see allow_hub
    os.environ.update(surroundings.variables(work_dir, own=_OWN, hub=True))
    logging.getLogger("lighteval").setLevel(logging.INFO)
    for name in ("httpx", "httpx2", "LiteLLM", "openai", "transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # what litellm says of its own documents
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
    sys.modules["lighteval.models.model_loader"] = _no_model_loader()


@contextmanager
def importing() -> Iterator[None]:
    """Import LightEval in this context: looking through all that stays for garbage is an eighth of its start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def allow_hub(allowed: bool) -> None:
    """Let data sets be looked up at the Hugging Face hub, unless this process' environment forbids it."""
    import datasets.config
    import huggingface_hub.constants
    import huggingface_hub.utils

    offline = not allowed or os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON")
    huggingface_hub.constants.HF_HUB_OFFLINE = offline
    datasets.config.HF_HUB_OFFLINE = offline
    # connections that refuse to connect are kept too
    huggingface_hub.utils.reset_sessions()


def _no_model_loader() -> ModuleType:
    """Return what stands for the module that imports every way to run a model in this process."""
    module: Any = ModuleType("lighteval.models.model_loader")
    module.TransformersModel = type("TransformersModel", (), {})
    module.load_model = None
    return module
