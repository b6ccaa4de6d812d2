"""Evidence as plain files: whole and verified, or not there at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError, NotFound, Tampered
from evalhub_components.evidence.building import artifact
from evalhub_components.evidence.layout import Layout
from evalhub_components.evidence.reading import pull, tree
from evalhub_components.evidence.reading.summary import summarise
from evalhub_components.evidence.reading.tree import Named
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.signing import keys
from evalhub_components.evidence.store import Store
from evalhub_components.evidence.together import outcomes
from evalhub_components.evidence.verification.verifier import Expected, verify
from evalhub_components.run_directory import load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")
TITLE = "org.opencontainers.image.title"


@pytest.fixture
def run(tmp_path: Path, write_run: Callable[..., Path]) -> Path:
    """A run with signed evidence and a bundle; `tmp_path / "key"` signed it."""
    path = write_run(tmp_path / "run")
    for number in range(300):
        (path / "benchmarks/001-gsm8k/raw" / f"{number % 7}").mkdir(exist_ok=True)
        (path / "benchmarks/001-gsm8k/raw" / f"{number % 7}" / f"{number} ü.txt").write_text(str(number))
    loaded = load(path)
    verdict = loaded.judge()
    atomic.write_json(path / "verdict.json", verdict.as_json())
    atomic.write_json(path / "environment.json", {"schema_version": 1})
    keys.generate(tmp_path / "key")
    artifact.build(loaded, verdict, keys.SigningKey.load(tmp_path / "key"))
    return path


def named(run: Path) -> Named:
    return Named(tag=f"run-{load(run).record.run_id}")


def blob(run: Path, title: str) -> Path:
    store = Layout(run / "evidence")
    found = tree.read(store, store.resolve(str(named(run).tag)).digest)
    digest = next(layer.descriptor.digest for layer in found.layers if layer.title == title)
    return run / "evidence/blobs/sha256" / digest.removeprefix("sha256:")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_pulled_files_are_those_of_the_run(run: Path, tmp_path: Path) -> None:
    done = pull.pull(Layout(run / "evidence"), named(run), tmp_path / "pulled")
    found = files(tmp_path / "pulled")
    assert done.files == len(found)
    assert done.size == sum(len(content) for content in found.values())
    rendered = {"SHA256SUMS", "report.md", "eval-card.json", "report.html"}
    own = files(run)
    assert all(own[title] == content for title, content in found.items() if title not in rendered)
    assert {title for title in own if title.startswith("benchmarks/")} <= found.keys()
    assert load(tmp_path / "pulled").judge() == load(run).judge()
    done_again = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / "pulled", capture_output=True
    )
    assert (done_again.returncode, done_again.stdout) == (0, b"")


def test_an_empty_folder_is_filled(run: Path, tmp_path: Path) -> None:
    (tmp_path / "pulled").mkdir()
    pull.pull(Layout(run / "evidence"), named(run), tmp_path / "pulled")
    assert (tmp_path / "pulled/verdict.json").exists()


def test_a_folder_that_does_not_exist_is_made_with_its_parents(run: Path, tmp_path: Path) -> None:
    pull.pull(Layout(run / "evidence"), named(run), tmp_path / "some/where/pulled")
    assert (tmp_path / "some/where/pulled/verdict.json").exists()


@pytest.mark.parametrize("write", [pull.pull, pull.copy])
def test_a_folder_in_use_is_left_alone(run: Path, tmp_path: Path, write: Any) -> None:
    (tmp_path / "pulled").mkdir()
    (tmp_path / "pulled/mine.txt").write_text("mine")
    with pytest.raises(EvalHubError, match="pulled: must be an empty folder, or none"):
        write(Layout(run / "evidence"), named(run), tmp_path / "pulled")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(EvalHubError, match="file: must be an empty folder, or none"):
        write(Layout(run / "evidence"), named(run), tmp_path / "file")
    assert files(tmp_path / "pulled") == {"mine.txt": b"mine"}


def edited(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def deleted(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("write", [pull.pull, pull.copy])
@pytest.mark.parametrize(("spoil", "error"), [(edited, Tampered), (deleted, NotFound)], ids=["edited", "deleted"])
@pytest.mark.parametrize("title", ["benchmarks/002-mmlu/samples.jsonl", "benchmarks/001-gsm8k/raw"])
def test_nothing_appears_unless_everything_is_right(
    run: Path, tmp_path: Path, write: Any, spoil: Callable[[Path], None], error: type[EvalHubError], title: str
) -> None:
    path = blob(run, title)
    spoil(path)
    (tmp_path / "target").mkdir()
    with pytest.raises(error, match=path.name):
        write(Layout(run / "evidence"), named(run), tmp_path / "target" / "pulled")
    assert list((tmp_path / "target").iterdir()) == []


def forged(run: Path, change: Callable[[Any], None]) -> Named:
    """Change the run's own manifest, and mend the digests above it."""
    folder = run / "evidence/blobs/sha256"

    def add(document: Any) -> dict[str, Any]:
        content = json.dumps(document).encode()
        digest = hashlib.sha256(content).hexdigest()
        (folder / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    digest = Layout(run / "evidence").resolve(str(named(run).tag)).digest
    index = json.loads((folder / digest.removeprefix("sha256:")).read_bytes())
    own = json.loads((folder / index["manifests"][0]["digest"].removeprefix("sha256:")).read_bytes())
    change(own)
    index["manifests"][0].update(add(own))
    return Named(digest=add(index)["digest"])


@pytest.mark.parametrize(
    "title",
    [
        "../escaped",
        "/tmp/escaped",
        "a/../../escaped",
        "run.json/x",
        "Verdict.json",
        "a\nb",
        "benchmarks/001-gsm8k/raw/x",
    ],
)
def test_unsafe_names_are_not_written(run: Path, tmp_path: Path, title: str) -> None:
    evil = forged(run, lambda own: own["layers"][0]["annotations"].update({TITLE: title}))
    (tmp_path / "target").mkdir()
    before = files(tmp_path)
    with pytest.raises(NotEvidence):
        pull.pull(Layout(run / "evidence"), evil, tmp_path / "target/pulled")
    assert files(tmp_path) == before
    assert list((tmp_path / "target").iterdir()) == []


def test_files_that_sha256sums_does_not_list_are_not_written(run: Path, tmp_path: Path) -> None:
    evil = forged(run, lambda own: own["layers"][0]["annotations"].update({TITLE: "extra.json"}))
    with pytest.raises(NotEvidence, match="SHA256SUMS"):
        pull.pull(Layout(run / "evidence"), evil, tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_evidence_larger_than_the_disk_is_not_even_begun(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(EvalHubError, match=r"pulled: the evidence needs .* bytes, and 1000 are free there"):
        pull.pull(Layout(run / "evidence"), named(run), tmp_path / "pulled")
    assert not (tmp_path / "pulled").exists()


def test_a_copied_layout_verifies_like_the_original(run: Path, tmp_path: Path) -> None:
    done = pull.copy(Layout(run / "evidence"), named(run), tmp_path / "copy")
    key = keys.PublicKey.load(tmp_path / "key/public.key")
    for store in (Layout(run / "evidence"), Layout(tmp_path / "copy")):
        verified = verify(store, Named(digest=done.digest), Expected(key=key))
        assert verified.exit_status == 0
        assert {verified.state(name) for name in ("tag", "signature", "attestations", "verdict")} == {"ok"}
    assert Layout(tmp_path / "copy").resolve(str(named(run).tag)).digest == done.digest
    blobs = {path.name for path in (run / "evidence/blobs/sha256").iterdir()}
    assert {path.name for path in (tmp_path / "copy/blobs/sha256").iterdir()} == blobs


def test_a_summary_says_what_the_run_was(run: Path, tmp_path: Path) -> None:
    key = keys.PublicKey.load(tmp_path / "key/public.key")
    found = summarise(Layout(run / "evidence"), named(run), key)
    record, verdict = load(run).record, load(run).judge()
    assert (found.verdict, found.score, found.threshold) == ("pass", verdict.score, verdict.threshold)
    assert (found.collection, found.model, found.run_id) == ("quick@1.2", "tiny", record.run_id)
    assert (found.plan, found.created) == (verdict.plan_digest, "2026-01-02T03:04:02Z")
    assert found.benchmarks == 3
    assert (found.signed.signature, found.signed.attestations, found.signed.by) == (True, True, key.key_id)
    keys.generate(tmp_path / "other")
    other = keys.PublicKey.load(tmp_path / "other/public.key")
    assert summarise(Layout(run / "evidence"), named(run), other).signed.by is None
    assert json.loads(json.dumps(found.as_json()))["signed"]["by"] == key.key_id


def test_a_summary_reads_manifests_and_their_configs_alone(run: Path) -> None:
    for title in ("plan.json", "verdict.json", "benchmarks/000-arc/results.json"):
        blob(run, title).unlink()
    assert summarise(Layout(run / "evidence"), named(run)).verdict == "pass"


def test_a_summary_of_something_else_is_refused(run: Path) -> None:
    evil = forged(run, lambda own: own.update(artifactType="application/x"))
    with pytest.raises(NotEvidence, match="is no evidence of a run"):
        summarise(Layout(run / "evidence"), evil)


class Endless(Layout):
    """A layout whose blobs never end."""

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        while True:
            yield b"more"


def test_who_stops_does_not_wait_for_the_end_of_a_blob(run: Path) -> None:
    def work(store: Store, size: int) -> int:
        return sum(map(len, store.blob("", size))) if size else 0

    reading = outcomes(Endless(run / "evidence"), work, [0, 1])
    assert next(reading) == (0, 0)
    reading.close()  # would wait for ever
