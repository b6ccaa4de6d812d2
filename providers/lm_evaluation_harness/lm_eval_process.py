"""What the process needs before lm-eval is imported: no calls home, fresh caches, credentials."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

from evalhub_components.adapter import ModelCredentials
from evalhub_components.errors import EvalHubError

_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # datasets counts downloads by asking a server at every load, of local files too
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    # what is drawn with carriage returns is no log
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # it misses PyTorch, which tokenizers do without
    "TRANSFORMERS_VERBOSITY": "error",
}


def prepare(work_dir: Path, credentials: ModelCredentials) -> None:
    """Set the environment of this process; call it before anything imports `datasets`."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # prepared data of an earlier run must not be taken for today's; whoever sets HF_HOME wants a cache
    os.environ.setdefault("HF_HOME", str(work_dir / "huggingface"))
    if credentials.hf_token:
        os.environ["HF_TOKEN"] = credentials.hf_token
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("lm_eval").setLevel(logging.INFO)


def ca_bundle(ca_cert: Path | None, work_dir: Path) -> Path | None:
    """Return a file with the system's certificates and the model's own; None when it has none.

    Raises:
        EvalHubError: `ca_cert` holds no certificate.
    """
    if ca_cert is None:
        return None
    try:
        ssl.create_default_context(cafile=str(ca_cert))
        own = ca_cert.read_bytes()
    except (OSError, ssl.SSLError) as error:
        raise EvalHubError(f"{ca_cert}: cannot be read as PEM certificates: {error}") from None
    system = ssl.get_default_verify_paths().cafile
    if system is None:
        import certifi

        system = certifi.where()
    bundle = work_dir / "ca-bundle.pem"
    bundle.write_bytes(Path(system).read_bytes() + b"\n" + own)
    return bundle
