"""The steps around the benchmarks, each a process with the argv it has on a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.fingerprint import SECRETS
from evalhub_components.schema.collection import TestDataRef
from evalhub_components.schema.plan import EvaluationPlan
from evalhub_components.schema.run import Fingerprint, RunRecord
from evalhub_components.test_data import pvc
from evalhub_components.test_data.secret import TEST_DATA_SECRET


def fingerprint(
    url: str, name: str, secret: Path | None, *, service_account: bool = False, role: str = "model"
) -> Fingerprint:
    """Return which model answers at `url`.

    Args:
        secret: folder with the model's credentials.
        service_account: ask with the token of a service account.
        role: what it is in the evaluation: `model`, or `judge`.

    Raises:
        EvalHubError: the model cannot be reached, refuses the key, or has another name; with the cure.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "fingerprint.json"
        argv = ["evalhub_components.fingerprint", "--model-url", url, "--model-name", name, "--output", str(output)]
        argv += ["--model-auth", "service-account"] if service_account else []
        _step([*argv, "--role", role], {SECRETS[role]: str(secret)} if secret else {})
        return Fingerprint.model_validate(atomic.read_json(output))


def test_data(ref: TestDataRef, secret: Path | None, output: Path) -> Path:
    """Fetch what `ref` names into `output` and return its folder; a volume is used where it is mounted.

    Args:
        secret: folder with the source's credentials.

    Raises:
        EvalHubError: the source refuses, has no such data, or sends what must not be kept.
    """
    if ref.pvc:
        return pvc.folder(ref.pvc)
    document = json.dumps(ref.model_dump(mode="json", exclude_none=True))
    argv = ["evalhub_components.test_data", "--ref", document, "--output", str(output)]
    _step(argv, {TEST_DATA_SECRET: str(secret)} if secret else {})
    return output


def aggregate(
    directory: Path,
    plan: EvaluationPlan,
    record: RunRecord,
    *,
    mlflow_uri: str | None,
    mlflow_required: bool,
    environ: dict[str, str],
    lock: int,
) -> list[str]:
    """Judge the run in `directory`, keep its evidence and log it; return what could not be published.

    Args:
        mlflow_uri: None turns tracking off.
        mlflow_required: an MLflow failure is an error.
        environ: names the folders of the registry's and the signer's secrets.
        lock: file descriptor of the run's lock, which the step holds too: it may outlive this process.

    Raises:
        EvalHubError: it cannot be judged, kept or pushed, or not be logged where that is required.
    """
    with tempfile.TemporaryDirectory() as folder:
        # files, because one argument holds 128 KiB, and less than 2000 task digests
        header, run = Path(folder) / "header.json", Path(folder) / "run.json"
        atomic.write_json(header, plan.header.as_json())
        atomic.write_json(run, record.as_json())
        argv = [
            "evalhub_components.aggregate",
            *("--header", f"@{header}"),
            *("--run", f"@{run}"),
            *("--fingerprint", str(directory / "fingerprint.json")),
            *("--results", str(directory / "benchmarks")),
            *("--output", str(directory)),
        ]
        if mlflow_uri:
            argv += ["--mlflow-uri", mlflow_uri, *(["--mlflow-required"] if mlflow_required else [])]
        _step(argv, environ, held=(lock,))
    return list(atomic.read_json(directory / "publication.json").get("warnings", []))


def _step(argv: list[str], environ: dict[str, str], held: tuple[int, ...] = ()) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *argv],
        env=os.environ | environ | {"PYDANTIC_DISABLE_PLUGINS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        pass_fds=held,
    )
    if done.returncode:
        said = done.stderr.strip()[-2000:].removeprefix("error: ")
        raise EvalHubError(said or f"{argv[0]} exited with status {done.returncode}")
