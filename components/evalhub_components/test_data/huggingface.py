"""A data set of the Hugging Face hub at a commit. The only module that imports huggingface_hub."""

from __future__ import annotations

import glob
import os
import shutil
from typing import Any

from evalhub_components.errors import EvalHubError, MissingExtra
from evalhub_components.framework import proxy
from evalhub_components.schema.collection import HFData
from evalhub_components.test_data import names, tree
from evalhub_components.test_data.arrival import Arrival
from evalhub_components.test_data.folder import Stage, require_room
from evalhub_components.test_data.limits import Limits
from evalhub_components.test_data.secret import Secret

_WORKERS = 4


def fetch(data: HFData, stage: Stage, secret: Secret, limits: Limits) -> Arrival:
    """Download what lies under `data.sub_path` at `data.revision`, by default the newest commit.

    Raises:
        EvalHubError: it cannot be had as a whole; the message says what to change.
    """
    # read once, when the library is imported: nothing of the user's own, and nothing outside of the stage
    os.environ |= {
        "HF_HOME": str(stage.scratch),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": str(limits.silence),
        "HF_HUB_ETAG_TIMEOUT": str(limits.silence),
    }
    if secret.ca_cert:
        os.environ["SSL_CERT_FILE"] = str(secret.ca_cert)
    try:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise MissingExtra("data", "test data from the Hugging Face hub") from None
    where = f"hf {data.repo_id}"
    # the library would repeat one that is none, password and all
    proxy.of(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    sub_path = names.checked(data.sub_path.rstrip("/"), "hf sub_path") if data.sub_path else ""
    # False: not the token that the user of this machine may have logged in with
    api = huggingface_hub.HfApi(token=secret.get("hf-token") or False)
    try:
        commit, sizes = _listed(api, data, sub_path, limits, where)
        require_room(stage.content, sum(sizes.values()))
        place = stage.scratch / "snapshot"
        api.snapshot_download(
            data.repo_id,
            repo_type="dataset",
            revision=commit,
            local_dir=place,
            allow_patterns=[glob.escape(sub_path), glob.escape(sub_path) + "/*"] if sub_path else None,
            max_workers=_WORKERS,
        )
    except HFValidationError:
        raise EvalHubError(f"{where}: repo_id must be a name such as organisation/data-set") from None
    except HfHubHTTPError as error:
        raise EvalHubError(f"{where}: {_reason(error)}") from None
    except OSError:
        raise  # the disk
    except EvalHubError:
        raise
    except Exception as error:  # the library lets through what its transport raises, and changes its transport
        said = " ".join(str(error).split())[:300]
        raise EvalHubError(f"{where}: the hub cannot be reached: {type(error).__name__}: {said}") from None
    shutil.rmtree(place / ".cache", ignore_errors=True)
    root = place / sub_path
    if root.is_file():
        root.rename(stage.content / root.name)
    else:
        for entry in list(root.iterdir()):
            entry.rename(stage.content / entry.name)
    files = tree.described(stage.content, limits, where)
    if {name: file.size for name, file in files.items()} != sizes:
        raise EvalHubError(f"{where}: what arrived is not what was listed (try again)")
    return Arrival({"commit": commit}, files)


def _listed(api: Any, data: HFData, sub_path: str, limits: Limits, where: str) -> tuple[str, dict[str, int]]:
    """Return the commit, and the size of every file that is wanted by the name it will have."""
    commit: str = api.repo_info(data.repo_id, repo_type="dataset", revision=data.revision).sha
    sizes: dict[str, int] = {}
    total = 0
    for entry in api.list_repo_tree(data.repo_id, repo_type="dataset", revision=commit, recursive=True):
        path, size = entry.path, getattr(entry, "size", None)
        if size is None or not (not sub_path or path == sub_path or path.startswith(sub_path + "/")):
            continue  # a folder, or not wanted
        name = path[len(sub_path) + 1 :] if sub_path and path != sub_path else path
        sizes[names.checked(name.rpartition("/")[2] if path == sub_path else name, where)] = size
        total += size
        limits.check(where, len(sizes), total)
    if not sizes:
        raise EvalHubError(f"{where}: there are no files in {sub_path or 'it'} (check sub_path)")
    return commit, sizes


def _reason(error: Any) -> str:
    kind = type(error).__name__
    if kind == "GatedRepoError":
        return "access must be granted on the hub first (and the secret of secret_ref must hold `hf-token`)"
    if kind == "RevisionNotFoundError":
        return "there is no such revision (check revision)"
    if kind == "RepositoryNotFoundError":
        return "there is no such data set, or it is private (check repo_id, and `hf-token` in the secret of secret_ref)"
    if error.response.status_code in (401, 403):
        return "the token is refused (check `hf-token` in the secret of secret_ref)"
    return " ".join(str(error).split())[:300]
