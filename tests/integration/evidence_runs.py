"""A finished run with signed evidence, to verify and to tamper with, and the commands that look at evidence.

Import the fixtures by name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.building import artifact
from evalhub_components.evidence.signing import keys
from evalhub_components.run_directory import load
from evalhub_components.schema.verdict import Verdict
from evalhub_pipelines import api
from evalhub_pipelines.cli import evidence as commands
from evalhub_pipelines.demo_model import DemoModelServer

REF_NAME = "org.opencontainers.image.ref.name"
TITLE = "org.opencontainers.image.title"


class Done(NamedTuple):
    """A command that ended; `error` is what it raised for the command line to print."""

    status: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def check(self, name: str) -> str:
        """Return `state: detail` of a check."""
        (found,) = [each for each in self.json["checks"] if each["check"] == name]
        return f"{found['state']}: {found['detail']}"

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return [each["check"] for each in self.json["checks"] if each["state"] == "failed"]


def verify(*arguments: object) -> Done:
    """Run `verify`, and return its JSON."""
    return invoke(commands.verify, *arguments, "--format", "json")


def invoke(command: Any, *arguments: object) -> Done:
    """Run a command in this process; what it raises must be an error for people."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    error = done.exception
    if isinstance(error, EvalHubError):
        return Done(int(error.exit_status), done.output, str(error))
    assert error is None or isinstance(error, SystemExit), repr(error)
    return Done(done.exit_code, done.output, "")


@dataclass(frozen=True)
class SignedRun:
    """A run directory with its evidence, and the folder of the key that signed it."""

    path: Path
    digest: str
    key: Path

    @property
    def layout(self) -> Path:
        return self.path / "evidence"

    @property
    def pinned(self) -> str:
        return f"{self.layout}@{self.digest}"

    @property
    def public_key(self) -> Path:
        return self.key / "public.key"

    def blob(self, digest: str) -> Path:
        return self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def manifest(self, digest: str) -> Any:
        return json.loads(self.blob(digest).read_bytes())

    @property
    def manifests(self) -> list[str]:
        """The digests of the manifests that the index lists, the run's own first."""
        return [entry["digest"] for entry in self.manifest(self.digest)["manifests"]]

    def layer(self, title: str) -> str:
        """Return the digest of a file."""
        layers = [layer for digest in self.manifests for layer in self.manifest(digest)["layers"]]
        return str(next(layer["digest"] for layer in layers if layer["annotations"][TITLE] == title))

    def tags(self) -> dict[str, str]:
        index = json.loads((self.layout / "index.json").read_text())
        return {entry["annotations"][REF_NAME]: entry["digest"] for entry in index["manifests"]}

    def point(self, tag: str, digest: str | None) -> None:
        """Make a tag name another manifest, or none."""
        path = self.layout / "index.json"
        index = json.loads(path.read_text())
        for entry in list(index["manifests"]):
            if entry["annotations"][REF_NAME] == tag:
                if digest is None:
                    index["manifests"].remove(entry)
                else:
                    entry.update(digest=digest, size=self.blob(digest).stat().st_size)
        path.write_text(json.dumps(index))

    def take_over(self, other: SignedRun) -> None:
        """Copy the blobs of other evidence into this layout, as who may write to a registry can."""
        shutil.copytree(other.layout / "blobs", self.layout / "blobs", dirs_exist_ok=True)


def build(path: Path, key: Path | None, verdict: Verdict | None = None) -> SignedRun:
    """Judge a run directory again, unless there is a verdict, and build its evidence."""
    run = load(path)
    decided = verdict or run.judge()
    atomic.write_json(path / "verdict.json", decided.as_json())
    shutil.rmtree(path / "evidence", ignore_errors=True)
    built = artifact.build(run, decided, keys.SigningKey.load(key) if key else None)
    return SignedRun(path, built.digest, key or path)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Change a JSON file."""
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def set_score(path: Path, slug: str, score: float) -> None:
    """Make a benchmark of a run directory have another score, with samples that say so."""
    folder = path / "benchmarks" / slug
    edit(folder / "results.json", lambda results: results["metrics"]["acc"].update(value=score))
    samples = [{"id": str(n), "score": float(n < 4 * score)} for n in range(4)]
    (folder / "samples.jsonl").write_text("".join(f"{json.dumps(sample)}\n" for sample in samples))


@pytest.fixture(scope="session")
def finished_run(model: DemoModelServer, catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that passed: two benchmarks with samples, 0.75 each against 0.5."""
    folder = tmp_path_factory.mktemp("finished")
    benchmarks = [{"id": name, "provider_id": "obedient"} for name in "ab"]
    collection: Mapping[str, Any] = {"version": "1", "pass_criteria": {"threshold": 0.5}, "benchmarks": benchmarks}
    (folder / "trial.yaml").write_text(yaml.safe_dump(collection))
    run = api.run(
        folder / "trial.yaml",
        model={"url": model.base_url, "name": "demo-model", "digest": f"sha256:{'d' * 64}"},
        catalog=catalog,
        output=folder / "runs",
        mlflow_uri=None,
    )
    assert run.verdict.verdict == "pass"
    for log in run.directory.glob("benchmarks/*/log.txt"):
        log.write_text(f"log of {log.parent.name}\n")  # else one blob is both
    return run.directory


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The folder of a key pair."""
    keys.generate(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def signed(finished_run: Path, tmp_path: Path, key: Path) -> SignedRun:
    """A copy of the finished run whose evidence is signed."""
    shutil.copytree(finished_run, tmp_path / "run")
    return build(tmp_path / "run", key)
