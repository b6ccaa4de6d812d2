from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence.building import artifact
from evalhub_components.evidence.signing import keys
from evalhub_components.evidence.vocabulary import ARTIFACT_TYPE
from evalhub_components.run_directory import load
from evalhub_components.schema.exports import Exports, Subject

# olot declares its models in a way that pydantic is going to drop
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")
TITLE = "org.opencontainers.image.title"


def build(path: Path) -> artifact.Evidence:
    run = load(path)
    verdict = run.judge()
    atomic.write_json(path / "verdict.json", verdict.as_json())
    if not (path / "environment.json").exists():
        atomic.write_json(path / "environment.json", {"schema_version": 1})
    return artifact.build(run, verdict)


def blob(path: Path, digest: str) -> bytes:
    content = (path / "evidence" / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest.removeprefix("sha256:")
    return content


def document(path: Path, digest: str) -> Any:
    return json.loads(blob(path, digest))


def manifests(path: Path, digest: str) -> list[Any]:
    return [document(path, entry["digest"]) for entry in document(path, digest)["manifests"]]


def layers(path: Path, digest: str) -> dict[str, Any]:
    return {layer["annotations"][TITLE]: layer for manifest in manifests(path, digest) for layer in manifest["layers"]}


def tags(path: Path) -> dict[str, str]:
    index = json.loads((path / "evidence" / "index.json").read_text())
    return {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index["manifests"]}


def test_every_layer_is_a_file_of_the_run_under_its_path(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    found = layers(path, build(path).digest)
    for title, layer in found.items():
        if title not in ("report.md", "SHA256SUMS"):
            assert blob(path, layer["digest"]) == (path / title).read_bytes()
            assert layer["size"] == (path / title).stat().st_size
    own = {"run.json", "plan.json", "fingerprint.json", "verdict.json", "environment.json", "report.md", "SHA256SUMS"}
    assert {title for title in found if "/" not in title} == own
    assert {title for title in found if title.startswith("benchmarks/000-arc/")} == {
        f"benchmarks/000-arc/{name}"
        for name in ("environment.json", "log.txt", "raw/out.json", "results.json", "samples.jsonl", "task.json")
    }


def test_manifests_are_the_run_and_then_a_benchmark_each_with_layers_by_path(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run")
    digest = build(path).digest
    index = document(path, digest)
    assert index["artifactType"] == ARTIFACT_TYPE
    own, *benchmarks = manifests(path, digest)
    assert "verdict.json" in [layer["annotations"][TITLE] for layer in own["layers"]]
    assert document(path, own["config"]["digest"])["verdict"]["verdict"] == "pass"
    names = ("benchmark_id", "benchmark", "provider_id", "provider", "job_id", "job")
    assert [[manifest["annotations"][f"io.github.eval-hub.{name}"] for name in names] for manifest in benchmarks] == [
        [
            name,
            name,
            "lm_evaluation_harness",
            "lm_evaluation_harness",
            load(path).record.job_id,
            load(path).record.job_id,
        ]
        for name in ("arc", "gsm8k", "mmlu")
    ]
    for manifest in (own, *benchmarks):
        titles = [layer["annotations"][TITLE].encode() for layer in manifest["layers"]]
        assert titles == sorted(titles)
        assert manifest["artifactType"] == ARTIFACT_TYPE
        assert manifest["annotations"]["org.opencontainers.image.created"] == "2026-01-02T03:04:02Z"


def test_tags_name_the_run_each_benchmark_and_every_digest(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    built = build(path)
    named = tags(path)
    assert named["run-r-20260102"] == built.digest
    entries = [entry["digest"] for entry in document(path, built.digest)["manifests"]]
    for digest in (built.digest, *entries):
        assert named[f"evidence-{digest.removeprefix('sha256:')}"] == digest
    formula = f"{load(path).record.job_id}:lm_evaluation_harness:gsm8k:1"
    assert named[f"evalhub-{hashlib.sha256(formula.encode()).hexdigest()}"] == entries[2]


def test_sha256sums_holds_for_what_the_layers_unpack_to(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    (path / "benchmarks" / "000-arc" / "raw" / "back\\slash ü.txt").write_text("odd")
    found = layers(path, build(path).digest)
    for title, layer in found.items():
        target = tmp_path / "pulled" / title
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(blob(path, layer["digest"]))
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "pulled", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == len(found) - 1


BUILD = """
import sys
from pathlib import Path
from evalhub_components.evidence.building import artifact
from evalhub_components.run_directory import load
run = load(Path(sys.argv[1]))
print(artifact.build(run, run.judge()).digest)
"""


def test_the_same_run_gives_the_same_digest_wherever_and_by_whomever(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run")
    for number in range(300):
        (path / "benchmarks" / "001-gsm8k" / "raw" / f"{number}.txt").write_text(str(number))
    digest = build(path).digest
    elsewhere = tmp_path / "some" / "other place" / "run"
    shutil.copytree(path, elsewhere, ignore=shutil.ignore_patterns("evidence"))
    for file in elsewhere.rglob("*"):
        os.utime(file, (1, 1))
        file.chmod(0o700)
    (elsewhere / "publication.json").write_text("{}")
    (elsewhere / "report.md").write_text("with links")
    (elsewhere / "lock").write_text("")
    (elsewhere / "benchmarks" / "001-gsm8k" / ".results.json.x1.part").write_text("{")
    other = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "C", "USER": "eve", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(elsewhere)],
        env={**os.environ, **other, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        umask=0o077,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest


BUILD_AS_SOMEBODY_ELSE = """
import os, sys
from pathlib import Path
from evalhub_components.evidence.building import artifact
from evalhub_components.run_directory import load
run = load(Path(sys.argv[1]))
first = artifact.build(run, run.judge()).digest  # imports what only root may be able to read
os.setgroups([]), os.setgid(12345), os.setuid(12345)
run = load(Path(sys.argv[2]))
print(os.getuid(), artifact.build(run, run.judge()).digest == first)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_gets_the_same_digest(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    build(path)
    with tempfile.TemporaryDirectory() as folder:
        theirs = Path(folder) / "run"
        shutil.copytree(path, theirs, ignore=shutil.ignore_patterns("evidence"))
        for entry in (Path(folder), theirs, *theirs.rglob("*")):
            os.chown(entry, 12345, 12345)
        argv = [sys.executable, "-W", "ignore", "-c", BUILD_AS_SOMEBODY_ELSE, str(path), str(theirs)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(argv, env=environ, capture_output=True, text=True)
        assert done.stdout.strip() == "12345 True", done.stderr
        assert {entry.stat().st_uid for entry in (theirs / "evidence").rglob("*")} == {12345}


def test_a_signature_changes_nothing_it_signs_and_is_the_same_every_time(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run")
    unsigned = build(path).digest
    keys.generate(tmp_path / "key")
    key = keys.SigningKey.load(tmp_path / "key")
    run = load(path)

    def signed() -> dict[str, str]:
        assert artifact.build(run, run.judge(), key, "registry.example/evals").digest == unsigned
        return tags(path)

    first = signed()
    shutil.rmtree(path / "evidence")
    assert signed() == first
    stem = unsigned.replace(":", "-")
    assert {f"{stem}.sig", f"{stem}.att"} <= set(first)


def test_the_users_tag_and_annotations_are_on_every_manifest(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    coordinates = {
        "oci_host": "registry.example",
        "oci_repository": "evals",
        "oci_tag": "nightly",
        "annotations": {"org.opencontainers.image.revision": "abc"},
    }
    exports = Exports.model_validate({"oci": {"coordinates": coordinates}})
    path = write_run(tmp_path / "run", record={"exports": exports})
    digest = build(path).digest
    named = tags(path)
    entries = [entry["digest"] for entry in document(path, digest)["manifests"]]
    assert named["nightly"] == digest
    assert [named[f"nightly-{slug}"] for slug in ("000-arc", "001-gsm8k", "002-mmlu")] == entries[1:]
    for one in (digest, *entries):
        assert document(path, one)["annotations"]["org.opencontainers.image.revision"] == "abc"


def test_the_index_and_nothing_else_refers_to_the_model(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    model = Subject(media_type="application/vnd.oci.image.manifest.v1+json", digest="sha256:" + "a" * 64, size=7)
    path = write_run(tmp_path / "run", record={"subject": model, "model_digest": model.digest})
    digest = build(path).digest
    index = document(path, digest)
    assert index["subject"] == {"mediaType": model.media_type, "digest": model.digest, "size": 7}
    assert index["annotations"]["io.github.eval-hub.model_digest"] == model.digest
    assert not any("subject" in document(path, entry["digest"]) for entry in index["manifests"])


def test_one_changed_byte_gives_another_digest(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    before = build(path).digest
    (path / "benchmarks" / "002-mmlu" / "log.txt").write_text("Done\n")
    assert build(path).digest != before


def test_building_again_leaves_exactly_the_new_content(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    build(path)
    (path / "benchmarks" / "002-mmlu" / "log.txt").write_text("again\n")
    (path / "evidence" / "blobs" / "sha256" / ".half.part").write_text("left by a crash")
    digest = build(path).digest
    used = {digest}
    for manifest in document(path, digest)["manifests"]:
        content = document(path, manifest["digest"])
        used |= {manifest["digest"], content["config"]["digest"], *(layer["digest"] for layer in content["layers"])}
    assert {f"sha256:{entry.name}" for entry in (path / "evidence" / "blobs" / "sha256").iterdir()} == used


def test_a_build_that_fails_leaves_the_old_evidence_whole(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    before = build(path).digest
    titles = set(layers(path, before))
    (path / "benchmarks" / "002-mmlu" / "log.txt").write_text("new\n")
    (path / "benchmarks" / "002-mmlu" / "raw" / "link").symlink_to("/etc/passwd")
    with pytest.raises(EvalHubError):
        build(path)
    assert tags(path)["run-r-20260102"] == before
    assert {title for title, layer in layers(path, before).items() if blob(path, layer["digest"])} <= titles


def test_many_raw_files_are_one_layer_that_unpacks_in_their_place(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run")
    raw = path / "benchmarks" / "001-gsm8k" / "raw"
    for number in range(300):
        (raw / f"part-{number % 7}" / ("deep" * 30)).mkdir(parents=True, exist_ok=True)
        (raw / f"part-{number % 7}" / ("deep" * 30) / f"ü{number}.txt").write_bytes(b"x" * number * 300)
    found = layers(path, build(path).digest)
    inside = [title for title in found if title.startswith("benchmarks/001-gsm8k/raw")]
    assert inside == ["benchmarks/001-gsm8k/raw"]
    layer = found[inside[0]]
    bundle = tmp_path / "raw.tar.gz"
    bundle.write_bytes(blob(path, layer["digest"]))
    with tarfile.open(bundle, "r:gz") as archive:
        archive.extractall(tmp_path / "pulled", filter="data")
    unpacked = tmp_path / "pulled" / inside[0]
    names = sorted(file.relative_to(raw) for file in raw.rglob("*") if file.is_file())
    assert len(names) == 301
    assert sorted(file.relative_to(unpacked) for file in unpacked.rglob("*") if file.is_file()) == names
    assert all((unpacked / name).read_bytes() == (raw / name).read_bytes() for name in names)
    subprocess.run(["gunzip", str(bundle)], check=True)
    tar = (tmp_path / "raw.tar").read_bytes()
    assert layer["annotations"]["io.deis.oras.content.digest"] == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert tar.endswith(bytes(1024))
    sums = blob(path, found["SHA256SUMS"]["digest"]).decode()
    assert sum(line.split("  ")[1].startswith(f"{inside[0]}/") for line in sums.splitlines()) == 301


def test_exactly_256_raw_files_stay_layers_of_their_own(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    for number in range(255):
        (path / "benchmarks" / "001-gsm8k" / "raw" / f"{number}.txt").write_text(str(number))
    found = layers(path, build(path).digest)
    assert sum(title.startswith("benchmarks/001-gsm8k/raw/") for title in found) == 256


def symlink(raw: Path) -> None:
    (raw / "evil").symlink_to("/etc/passwd")


def linked_folder(raw: Path) -> None:
    (raw / "evil").symlink_to("/etc")


def fifo(raw: Path) -> None:
    os.mkfifo(raw / "evil")


def case_collision(raw: Path) -> None:
    (raw / "evil").write_text("1")
    (raw / "EVIL").write_text("2")


def folder_case_collision(raw: Path) -> None:
    for name in ("evil", "Evil"):
        (raw / name).mkdir()
        (raw / name / name).write_text("1")


def unicode_collision(raw: Path) -> None:
    (raw / "evil\u00e9").write_text("1")
    (raw / "evile\u0301").write_text("2")


def newline(raw: Path) -> None:
    (raw / "evil\nname").write_text("1")


def no_text(raw: Path) -> None:
    (raw / os.fsdecode(b"evil\xff")).write_text("1")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (symlink, "symbolic link"),
        (linked_folder, "symbolic link"),
        (fifo, "not a regular file"),
        (case_collision, "one name"),
        (folder_case_collision, "one name"),
        (unicode_collision, "one name"),
        (newline, "control characters"),
        (no_text, "control characters"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_unpacked_safely_is_refused_by_name(
    tmp_path: Path, write_run: Callable[..., Path], spoil: Callable[[Path], None], said: str
) -> None:
    path = write_run(tmp_path / "run")
    spoil(path / "benchmarks" / "001-gsm8k" / "raw")
    with pytest.raises(EvalHubError, match=f"(?i)benchmarks/001-gsm8k/raw/evil.*{said}"):
        build(path)


def test_a_missing_benchmark_has_no_manifest_and_the_run_says_error(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run")
    shutil.rmtree(path / "benchmarks" / "001-gsm8k")
    own, *benchmarks = manifests(path, build(path).digest)
    assert len(benchmarks) == 2
    assert document(path, own["config"]["digest"])["verdict"]["verdict"] == "error"


def test_what_came_after_the_verdict_is_not_in_the_evidence(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    for name in ("publication.json", "mlflow-spool.json", "lock"):
        (path / name).write_text("{}")
    found = layers(path, build(path).digest)
    assert not {"publication.json", "mlflow-spool.json", "lock"} & set(found)
    for layer in found.values():
        assert str(tmp_path).encode() not in blob(path, layer["digest"])


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_an_independent_client_reads_and_copies_the_layout(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    digest = build(path).digest
    source = f"oci:{path / 'evidence'}:run-r-20260102"
    raw = subprocess.run(["skopeo", "inspect", "--raw", source], capture_output=True, check=True).stdout
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == digest
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    copy = ["skopeo", "--policy", str(policy), "copy", "--all", source, f"oci:{tmp_path / 'copy'}:run"]
    done = subprocess.run(copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy" / "blobs" / "sha256" / digest.removeprefix("sha256:")).exists()
