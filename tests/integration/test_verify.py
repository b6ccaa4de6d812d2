"""The commands that look at evidence, on layouts and on real registries."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from evidence_runs import SignedRun, build, edit, finished_run, invoke, key, set_score, signed, verify
from registries import RunningRegistry, plain_registry, tls_registry

from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry import push
from evalhub_components.evidence.registry.registry import Registry
from evalhub_components.run_directory import load
from evalhub_pipelines.cli import evidence as commands

__all__ = ["finished_run", "key", "plain_registry", "signed", "tls_registry"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")

REPOSITORY = "team/evals"


@pytest.fixture
def pushed(signed: SignedRun, plain_registry: RunningRegistry) -> str:
    """The repository that the signed run was pushed to."""
    return push_to(signed, plain_registry)


def push_to(run: SignedRun, registry: RunningRegistry) -> str:
    repository = f"{registry.address}/{REPOSITORY}"
    push.push(run.layout, Registry(Reference.parse(repository), secret=registry.secret, ca=registry.ca))
    return repository


def tag(run: SignedRun) -> str:
    return f"run-{load(run.path).record.run_id}"


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# the command line


def test_verify_prints_a_line_a_check_and_what_it_all_proves(cli: Any, signed: SignedRun) -> None:
    done = cli("verify", signed.pinned, "--key", signed.public_key, "--max-age", "1d", "--require-pass")
    assert (done.status, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[0] for line in lines[4:16]] == [
        *("pinned", "manifests", "tag", "blobs", "checksums", "signature"),
        *("attestations", "verdict", "pass", "model", "age", "mlflow"),
    ]
    assert {tuple(line[1:3]) for line in lines[14:16]} >= {("not", "checked")}
    assert "\nPASS\nProved: whoever has the key signed exactly these files, and the verdict pass follows" in done.out


def test_verify_without_a_key_says_that_anybody_could_have_made_it(cli: Any, signed: SignedRun) -> None:
    done = cli("verify", signed.path)
    assert done.status == 0
    assert "no key was given (there is a signature)" in done.out
    assert "Not proved: who made it. No key was given, and anybody can make evidence (--key PUBLIC_KEY)." in done.out
    assert f"Not proved: that the name will mean the same tomorrow. Keep {signed.layout}@{signed.digest}." in done.out


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_verify_speaks_to_programs(cli: Any, signed: SignedRun, form: str) -> None:
    done = cli("verify", signed.pinned, "--require-pass", "--format", form)
    found = json.loads(done.out) if form == "json" else yaml.safe_load(done.out)
    assert (done.status, found["exit_status"], found["verdict"], found["digest"]) == (0, 0, "pass", signed.digest)


def test_tampering_exits_1_and_says_what_happened(cli: Any, signed: SignedRun) -> None:
    signed.blob(signed.layer("plan.json")).write_bytes(b"{}")
    done = cli("verify", signed.pinned)
    assert (done.status, done.err) == (1, "")
    assert "plan.json: " in done.out
    assert "Do not rely on this evidence: see blobs." in done.out
    assert "PASS" not in done.out.splitlines()


def test_a_verdict_other_than_pass_exits_1_when_pass_is_required(cli: Any, signed: SignedRun) -> None:
    for slug in ("000-a", "001-b"):
        set_score(signed.path, slug, 0.25)
    failed = build(signed.path, signed.key)
    assert cli("verify", failed.pinned).status == 0
    done = cli("verify", failed.pinned, "--require-pass", "--format", "json")
    assert (done.status, done.json["verdict"]) == (1, "fail")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: there is no such folder (name a run directory, a layout, or host/repository:tag)"),
        (["./no/where"], "there is no such folder"),
        (["runs/nowhere"], "must begin with a registry's host"),
        (["registry.example/team/evals"], "which evidence? (name a tag or a digest: "),
        (["registry.example/team/evals:x@sha256:12"], "the digest must be sha256: and 64 hex digits"),
        (["RUN", "--key", "nokey"], "nokey: there is no key"),
        (["RUN", "--model-digest", "abc"], "model digest: must be sha256: and 64 hex digits, got 'abc'"),
        (["RUN", "--max-age", "soon"], "must be a duration such as 90m, 12h or 7d, got 'soon'"),
        (["registry.example/team/evals:x", "--registry-secret", "nothing"], "--registry-secret: there is no folder"),
        ([], "Missing argument"),
    ],
    ids=["folder", "path", "run", "no tag", "digest", "key", "model", "age", "secret", "nothing"],
)
def test_what_cannot_be_opened_exits_2(cli: Any, signed: SignedRun, arguments: list[str], said: str) -> None:
    done = cli("verify", *[signed.path if each == "RUN" else each for each in arguments])
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_evidence_is_named_as_verify_names_it(cli: Any, signed: SignedRun) -> None:
    named = verify(f"{signed.layout}:{tag(signed)}", "--key", signed.public_key).json["reference"]
    assert named == f"{signed.layout}:{tag(signed)}@{signed.digest}"
    again = cli("verify", named, "--key", signed.public_key)
    assert (again.status, again.out.splitlines()[0].split()) == (0, ["evidence", named])


@pytest.mark.parametrize(
    "content", [None, "{", '{"imageLayoutVersion": "9.0"}', "[]"], ids=["missing", "torn", "version", "list"]
)
def test_a_layout_of_no_known_version_is_not_verified(cli: Any, signed: SignedRun, content: str | None) -> None:
    if content is None:
        (signed.layout / "oci-layout").unlink()
    else:
        (signed.layout / "oci-layout").write_text(content)
    done = cli("verify", signed.path, "--key", signed.public_key)
    assert (done.status, done.out) == (2, "")
    assert "oci-layout: " in done.err


def test_what_is_printed_can_be_pasted(cli: Any, signed: SignedRun, tmp_path: Path) -> None:
    target = tmp_path / "sp ace; x"
    done = cli("pull", signed.pinned, target)
    line = next(line for line in done.out.splitlines() if "check it: " in line)
    check = line.partition("check it: ")[2]
    subprocess.run(["sh", "-c", check], check=True, capture_output=True, cwd=tmp_path)


def test_pulled_files_are_told_from_a_layout(cli: Any, signed: SignedRun) -> None:
    assert cli("pull", signed.path, "pulled").status == 0
    done = cli("verify", "pulled")
    assert done.status == 2
    assert "holds the files of a run, without its manifests" in done.err


def test_a_layout_with_several_runs_asks_which_one(cli: Any, signed: SignedRun, tmp_path: Path) -> None:
    shutil.copytree(signed.path, tmp_path / "other")
    set_score(tmp_path / "other", "000-a", 1.0)
    other = build(tmp_path / "other", None)
    signed.take_over(other)
    media_type = "application/vnd.oci.image.index.v1+json"
    entry = {"mediaType": media_type, "digest": other.digest, "size": other.blob(other.digest).stat().st_size}
    edit(signed.layout / "index.json", lambda index: index["manifests"].append(entry))
    done = cli("verify", signed.layout)
    assert done.status == 2
    assert "holds 2 runs (say which one):" in done.err
    assert f"{signed.layout}@{other.digest}" in done.err
    assert cli("verify", f"{signed.layout}@{other.digest}").status == 0


def test_pull_writes_what_sha256sum_and_judge_take(cli: Any, signed: SignedRun) -> None:
    done = cli("pull", signed.pinned, "pulled")
    assert (done.status, done.err) == (0, "")
    assert "evidence  pulled (" in done.out
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=cli.folder / "pulled", capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    assert len(checked.stdout.splitlines()) == len(files(cli.folder / "pulled")) - 1
    judged = cli("judge", "pulled", "--format", "json")
    assert (judged.status, judged.json["score"]) == (0, 0.75)


def test_show_prints_what_the_run_was(cli: Any, signed: SignedRun) -> None:
    found = cli("evidence", "show", signed.path, "--key", signed.public_key, "--format", "json")
    assert found.status == 0
    assert (found.json["verdict"], found.json["score"], found.json["digest"]) == ("pass", 0.75, signed.digest)
    assert found.json["model_digest"] == f"sha256:{'d' * 64}"
    assert found.json["signed"]["by"].startswith("sha256:")
    table = cli("evidence", "show", signed.path).out
    assert table.startswith("PASS\n")
    for words in ("trial@1", "demo-model at http://", "2 benchmarks, ", "yes (--key FILE tells whether by that key)"):
        assert words in table


# registries


def test_evidence_in_a_registry_verifies_by_tag_and_by_digest(
    cli: Any, signed: SignedRun, pushed: str, plain_registry: RunningRegistry
) -> None:
    place = f"{plain_registry.host}/{REPOSITORY}"
    done = cli("verify", f"{pushed}:{tag(signed)}", "--key", signed.public_key, "--format", "json")
    assert (done.status, done.json["digest"]) == (0, signed.digest)
    assert done.json["reference"] == f"http://{place}:{tag(signed)}@{signed.digest}"
    assert done.json["pinned"] == f"http://{place}@{signed.digest}"
    assert verify(done.json["reference"]).status == 0
    states = {each["check"]: each["state"] for each in done.json["checks"]}
    assert states["pinned"] == "note"
    assert {states[name] for name in ("manifests", "tag", "blobs", "checksums", "signature", "attestations")} == {"ok"}
    pinned = verify(f"{pushed}:{tag(signed)}@{signed.digest}", "--key", signed.public_key)
    assert (pinned.status, pinned.check("pinned")[:3]) == (0, "ok:")


def test_a_registry_behind_a_password_and_its_own_ca(
    cli: Any, signed: SignedRun, tls_registry: RunningRegistry, tmp_path: Path
) -> None:
    reference = f"{push_to(signed, tls_registry)}@{signed.digest}"
    assert tls_registry.secret
    assert tls_registry.login
    shutil.copytree(tls_registry.secret, tmp_path / "secrets" / "registry")
    cli.environ["EVALHUB_SECRETS"] = str(tmp_path / "secrets")
    trusted = ["--ca", tls_registry.ca, "--registry-secret", "registry"]
    for command in (["verify"], ["evidence", "show"]):
        assert cli(*command, reference, *trusted).status == 0
    assert cli("pull", reference, "pulled", *trusted).status == 0
    for arguments in (["--ca", tls_registry.ca], ["--registry-secret", "registry"]):
        done = cli("verify", reference, *arguments)
        assert done.status == 2
        assert tls_registry.login[1] not in done.out + done.err


def test_pulled_files_are_the_same_from_layout_and_registry(cli: Any, signed: SignedRun, pushed: str) -> None:
    assert cli("pull", f"{pushed}@{signed.digest}", "one").status == 0
    assert cli("pull", signed.pinned, "other").status == 0
    assert files(cli.folder / "one") == files(cli.folder / "other")


def test_a_pulled_layout_verifies_when_the_registry_is_gone(
    cli: Any, signed: SignedRun, pushed: str, plain_registry: RunningRegistry
) -> None:
    assert cli("pull", f"{pushed}:{tag(signed)}", "kept", "--layout").status == 0
    plain_registry.stop()
    done = cli("verify", f"kept@{signed.digest}", "--key", signed.public_key, "--format", "json")
    assert done.status == 0
    assert all(each["state"] in ("ok", "not checked") for each in done.json["checks"])
    assert cli("verify", "kept", "--key", signed.public_key).status == 0


def edited(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def deleted(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "status", "said"),
    [(edited, 1, "has other content"), (truncated, 1, "bytes long instead of"), (deleted, 2, "")],
    ids=["edited", "truncated", "deleted"],
)
def test_a_blob_spoiled_in_the_registrys_storage_is_named(
    signed: SignedRun,
    pushed: str,
    plain_registry: RunningRegistry,
    spoil: Callable[[Path], None],
    status: int,
    said: str,
    tmp_path: Path,
) -> None:
    title = "benchmarks/000-a/results.json"
    spoil(plain_registry.blob(signed.layer(title)))
    reference = f"{pushed}@{signed.digest}"
    done = verify(reference, "--key", signed.public_key)
    assert done.status == status
    assert f"{title}: " in done.check("blobs")
    assert signed.layer(title) in done.check("blobs")
    assert said in done.check("blobs")
    assert done.check("signature").startswith("ok")
    assert done.check("verdict") == f"not checked: {title} could not be read"
    pulled = invoke(commands.pull, reference, tmp_path / "pulled")
    assert (pulled.status, signed.layer(title) in pulled.error) == (status, True)
    assert not (tmp_path / "pulled").exists()


@pytest.mark.parametrize("position", [0, 1, 2], ids=["index", "run", "benchmark"])
def test_a_manifest_rewritten_in_the_registrys_storage_is_seen(
    signed: SignedRun, pushed: str, plain_registry: RunningRegistry, position: int
) -> None:
    digest = [signed.digest, *signed.manifests][position]
    path = plain_registry.blob(digest)
    path.write_bytes(
        path.read_bytes().replace(b'"io.github.eval-hub.verdict":"pass"', b'"io.github.eval-hub.verdict":"fail"')
    )
    done = verify(f"{pushed}@{signed.digest}", "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["manifests"])
    assert digest in done.check("manifests")


@pytest.mark.parametrize("position", [0, 1, 2], ids=["index", "run", "benchmark"])
def test_a_manifest_deleted_in_the_registrys_storage_is_named(
    signed: SignedRun, pushed: str, plain_registry: RunningRegistry, position: int
) -> None:
    digest = [signed.digest, *signed.manifests][position]
    plain_registry.blob(digest).unlink()
    done = verify(f"{pushed}@{signed.digest}", "--key", signed.public_key)
    assert (done.status, done.failed) == (2, [])
    assert digest in done.check("manifests")


def test_a_tag_that_was_moved_fails_by_its_name_and_is_noted_by_digest(
    signed: SignedRun, pushed: str, tmp_path: Path
) -> None:
    shutil.copytree(signed.path, tmp_path / "forged")
    set_score(tmp_path / "forged", "000-a", 1.0)
    forged = build(tmp_path / "forged", None)
    push.push(forged.layout, Registry(Reference.parse(pushed)))
    by_tag = verify(f"{pushed}:{tag(signed)}", "--key", signed.public_key)
    assert (by_tag.status, by_tag.failed) == (1, ["signature", "attestations"])
    pinned = verify(f"{pushed}:{tag(signed)}@{signed.digest}", "--key", signed.public_key)
    assert (pinned.status, pinned.failed) == (0, [])
    assert pinned.check("tag") == f"note: {tag(signed)} has moved on to {forged.digest}"


def test_a_registry_that_is_not_there_exits_2(signed: SignedRun, pushed: str, plain_registry: RunningRegistry) -> None:
    assert verify(f"{pushed}:nightly").status == 2
    assert verify(f"{plain_registry.address}/team/nothing:x").status == 2
    assert verify(f"{plain_registry.host}/{REPOSITORY}@{signed.digest}").status == 2  # TLS, unless http:// is asked for


# MLflow


@pytest.mark.filterwarnings("ignore")
def test_mlflow_that_names_other_evidence_fails(signed: SignedRun, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    run_id = load(signed.path).record.run_id
    tags = {"evalhub.run_id": run_id, "evalhub.verdict": "pass", "evalhub.evidence_digest": signed.digest}
    run = client.create_run(client.create_experiment("trial"), tags=tags)
    done = verify(signed.pinned, "--mlflow-uri", uri)
    assert (done.status, done.check("mlflow")) == (0, f"ok: run {run_id} names this digest and this verdict")
    client.set_tag(run.info.run_id, "evalhub.verdict", "fail")
    done = verify(signed.pinned, "--mlflow-uri", uri)
    assert (done.status, done.failed) == (1, ["mlflow"])
    assert "evalhub.verdict is fail, not pass" in done.check("mlflow")
    client.delete_run(run.info.run_id)
    done = verify(signed.pinned, "--mlflow-uri", uri)
    assert (done.status, done.check("mlflow")[:15]) == (2, "could not check")
