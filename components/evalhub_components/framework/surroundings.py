"""The environment a framework runs in: no calls home, fresh caches, the certificates of the model's server."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from evalhub_components.errors import EvalHubError

QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # datasets counts downloads by asking a server at every load, of local files too
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    # what is drawn with carriage returns is no log
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    # what is drawn in a narrow terminal is cut in the log
    "COLUMNS": "160",
    "NO_COLOR": "1",
}
"""Telemetry and drawings off, for frameworks that load data sets and tokenizers."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""No look-ups at the Hugging Face hub, for benchmarks that need nothing of it."""

LOCAL = "127.0.0.1,localhost"


def variables(work_dir: Path, *, own: Mapping[str, str] = {}, hub: bool = False) -> dict[str, str]:
    """Return the environment of a framework; what the caller's environment sets goes before `QUIET` and `own`.

    Args:
        work_dir: caches go into this folder, so that nothing of an earlier run is taken for today's. Downloads from a
            hub do not where the caller sets HF_HOME: whoever does that wants to keep them.
        own: the framework's own switches, telemetry foremost.
        hub: whether the benchmark needs the Hugging Face hub.
    """
    found = {**QUIET, **own, "HF_HOME": str(work_dir / "huggingface")}
    found |= {**({} if hub else OFFLINE), **os.environ, "XDG_CACHE_HOME": str(work_dir / "cache")}
    # a relay listens on this machine, where no proxy finds it
    for name in ("NO_PROXY", "no_proxy"):
        found[name] = ",".join(part for part in (found.get(name), LOCAL) if part)
    return found


@contextmanager
def applied(work_dir: Path, *, own: Mapping[str, str] = {}, hub: bool = False) -> Iterator[None]:
    """Give this process the environment of a framework that runs in it, and take it back: the next has its own folders.

    Args are those of `variables`.
    """
    before = dict(os.environ)
    os.environ.update(variables(work_dir, own=own, hub=hub))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


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
    bundle = work_dir / "ca-bundle.pem"
    bundle.write_bytes(_system() + b"\n" + own)
    return bundle


def _system() -> bytes:
    """Return the certificates that this machine trusts, from wherever it keeps them."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return Path(paths.cafile).read_bytes()
    if not paths.capath:
        return b""
    whole = Path(paths.capath) / "ca-certificates.crt"
    files = [whole] if whole.is_file() else sorted(Path(paths.capath).iterdir())
    return b"\n".join(file.read_bytes() for file in files if file.is_file())
