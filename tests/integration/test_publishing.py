"""A local run whose evidence goes to a real registry, signed, from an eval.yaml or from options."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registries import LOGIN, RunningRegistry, plain_registry, tls_registry

from evalhub_pipelines.demo_model import DemoModelServer

__all__ = ["plain_registry", "tls_registry"]

SKOPEO = "/usr/bin/skopeo"


@pytest.fixture
def secrets(cli: Any, tmp_path: Path) -> Path:
    """The folder with the secrets of the command line; `signer` is there."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    cli.environ["EVALHUB_SECRETS"] = str(folder)
    made = cli("keys", "generate", folder / "signer")
    assert made.status == 0, made.err
    return folder


def publication(cli: Any) -> Any:
    return json.loads((cli.run_directory() / "publication.json").read_text())


def raw_bytes(reference: str) -> bytes:
    done = subprocess.run(
        [SKOPEO, "inspect", "--raw", "--tls-verify=false", f"docker://{reference}"], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def raw(reference: str) -> Any:
    return json.loads(raw_bytes(reference))


def tags(registry: RunningRegistry, repository: str) -> set[str]:
    folder = registry.repository(repository) / "_manifests" / "tags"
    return {entry.name for entry in folder.iterdir()} if folder.exists() else set()


def eval_yaml(model: DemoModelServer, coordinates: dict[str, Any], **exports: Any) -> dict[str, Any]:
    return {
        "model": {"url": model.base_url, "name": "demo-model"},
        "benchmarks": [{"id": "a", "provider_id": "obedient"}, {"id": "b", "provider_id": "other"}],
        "exports": {"oci": {"coordinates": coordinates}, **exports},
    }


def test_a_run_is_pushed_signed_verified_and_logged(
    cli: Any, model: DemoModelServer, secrets: Path, plain_registry: RunningRegistry, write: Callable[..., Path]
) -> None:
    coordinates = {
        "oci_host": plain_registry.address,
        "oci_repository": "team/evals",
        "oci_tag": "nightly",
        "annotations": {"org.opencontainers.image.revision": "abc123"},
    }
    source = write("eval.yaml", eval_yaml(model, coordinates, signing={"type": "key-pair", "secret_ref": "signer"}))
    done = cli("run", source, "--catalog", cli.catalog)
    assert done.status == 0, done.err
    said = publication(cli)
    run_id, digest = cli.run_directory().name, said["evidence_digest"]
    assert said["evidence_reference"] == f"{plain_registry.host}/team/evals:nightly@{digest}"
    assert said["evidence_reference"] in done.out
    assert said["evidence_address"] == f"http://{plain_registry.host}/team/evals@{digest}"

    hex_digest = digest.removeprefix("sha256:")
    assert {"nightly", "nightly-000-a", "nightly-001-b", f"run-{run_id}", f"evidence-{hex_digest}"} <= tags(
        plain_registry, "team/evals"
    )
    index = raw(f"{plain_registry.host}/team/evals:nightly")
    assert index == raw(f"{plain_registry.host}/team/evals@{digest}")
    assert index["annotations"]["org.opencontainers.image.revision"] == "abc123"
    assert index["annotations"]["io.github.eval-hub.verdict"] == "pass"

    verified = cli("verify", said["evidence_address"], "--key", secrets / "signer" / "public.key")
    assert verified.status == 0, verified.out + verified.err
    logged = cli("verify", said["evidence_address"], "--mlflow-uri", f"sqlite:///{cli.folder / 'mlflow.db'}")
    assert logged.status == 0, logged.out + logged.err
    report = (cli.run_directory() / "report.md").read_text()
    assert f"evalhub-kfp verify {said['evidence_address']} --key public.key" in report
    key = (secrets / "signer" / "private.key").read_text().splitlines()[1]
    for path in cli.run_directory().rglob("*"):
        assert not path.is_file() or key not in path.read_text(errors="replace"), path


def test_options_push_without_an_eval_yaml(
    cli: Any,
    model: DemoModelServer,
    secrets: Path,
    tls_registry: RunningRegistry,
    collection: Callable[..., Path],
) -> None:
    assert tls_registry.secret is not None
    assert tls_registry.ca is not None
    shutil.copytree(tls_registry.secret, secrets / "registry")
    (cli.folder / "ca").mkdir()
    shutil.copy(tls_registry.ca, cli.folder / "ca" / "ca-bundle.crt")
    cli.environ["EVALHUB_CA"] = str(cli.folder / "ca")
    where = ("--push-to", f"{tls_registry.host}/evals:latest", "--registry-secret", "registry")
    done = cli.run(collection(("a", {})), model, *where, "--signing-secret", "signer")
    assert done.status == 0, done.err
    digest = publication(cli)["evidence_digest"]
    assert f"{tls_registry.host}/evals:latest@{digest}" in done.out
    assert {"latest", "latest-000-a"} <= tags(tls_registry, "evals")
    password = LOGIN[1]
    assert password not in done.out + done.err
    for path in cli.run_directory().rglob("*"):
        assert not path.is_file() or password not in path.read_text(errors="replace"), path


def test_a_wrong_password_is_found_before_any_benchmark_runs(
    cli: Any,
    model: DemoModelServer,
    secrets: Path,
    tls_registry: RunningRegistry,
    collection: Callable[..., Path],
    starts: Callable[[], list[list[str]]],
) -> None:
    assert tls_registry.ca is not None
    shutil.copytree(tls_registry.secret_of("writer", "wrong-donkey-9", "wrong"), secrets / "registry")
    (cli.folder / "ca").mkdir()
    shutil.copy(tls_registry.ca, cli.folder / "ca" / "ca-bundle.crt")
    cli.environ["EVALHUB_CA"] = str(cli.folder / "ca")
    where = ("--push-to", f"{tls_registry.host}/evals", "--registry-secret", "registry")
    done = cli.run(collection(("a", {})), model, *where)
    assert done.status == 2
    assert tls_registry.host in done.err
    assert "wrong-donkey-9" not in done.err
    assert starts() == []
    assert cli.run_directories() == []


@pytest.mark.parametrize(
    ("option", "words"),
    [("--signing-secret", "exports.signing.secret_ref"), ("--registry-secret", "exports.oci.k8s.connection")],
)
def test_a_secret_that_is_not_there_is_found_before_any_benchmark_runs(
    option: str,
    words: str,
    cli: Any,
    model: DemoModelServer,
    secrets: Path,
    plain_registry: RunningRegistry,
    collection: Callable[..., Path],
    starts: Callable[[], list[list[str]]],
) -> None:
    where = ("--push-to", f"{plain_registry.address}/evals")
    done = cli.run(collection(("a", {})), model, *where, option, "gone")
    assert done.status == 2
    assert words in done.err
    assert starts() == []


def test_a_run_is_signed_where_it_lies_without_any_registry(
    cli: Any, model: DemoModelServer, secrets: Path, collection: Callable[..., Path]
) -> None:
    done = cli.run(collection(("a", {})), model, "--signing-secret", "signer")
    assert done.status == 0, done.err
    address = publication(cli)["evidence_address"]
    verified = cli("verify", address, "--key", secrets / "signer" / "public.key")
    assert verified.status == 0, verified.out
    other = cli("keys", "generate", cli.folder / "other")
    assert other.status == 0
    assert cli("verify", address, "--key", cli.folder / "other" / "public.key").status == 1


def test_runs_of_one_configuration_are_pushed_at_once_to_one_tag(
    cli: Any, model: DemoModelServer, secrets: Path, plain_registry: RunningRegistry, collection: Callable[..., Path]
) -> None:
    arguments = cli.arguments(collection(("a", {"score": 0.5}), ("b", {})), model)
    where = ("--push-to", f"{plain_registry.address}/evals:same", "--signing-secret", "signer")
    done = [cli.ended(process) for process in [cli.start(*arguments, *where) for _ in range(3)]]
    assert [one.status for one in done] == [0, 0, 0], "\n".join(one.err for one in done)
    published = [
        json.loads((directory / "publication.json").read_text()) for directory in (cli.folder / "runs").iterdir()
    ]
    assert f"sha256:{hashlib.sha256(raw_bytes(f'{plain_registry.host}/evals:same')).hexdigest()}" in [
        said["evidence_digest"] for said in published
    ]
    for said in published:
        verified = cli("verify", said["evidence_address"], "--key", secrets / "signer" / "public.key")
        assert verified.status == 0, verified.out


def test_a_run_that_was_resumed_is_published_beside_what_it_was_before(
    cli: Any, model: DemoModelServer, plain_registry: RunningRegistry, collection: Callable[..., Path]
) -> None:
    path = collection(("a", {}), ("b", {"raise": "boom", "unless": str(cli.folder / "mended")}))
    assert cli.run(path, model, "--push-to", f"{plain_registry.address}/evals").status == 2
    before, directory = publication(cli), cli.run_directory()
    assert before["evidence_pushed"]
    (cli.folder / "mended").touch()
    assert cli.resume(directory).status == 0
    after = publication(cli)
    named = raw(f"{plain_registry.host}/evals:run-{directory.name}")
    assert named == raw(f"{plain_registry.host}/evals@{after['evidence_digest']}")
    assert named["annotations"]["io.github.eval-hub.verdict"] == "pass"
    for said in (before, after):
        assert f"evidence-{said['evidence_digest'].removeprefix('sha256:')}" in tags(plain_registry, "evals")
        assert cli("verify", said["evidence_address"]).status == 0
    moved = cli("verify", before["evidence_address"])
    assert f"run-{directory.name} has moved on to {after['evidence_digest']}" in moved.out


def test_a_registry_that_is_away_when_the_run_ends_is_waited_for(
    cli: Any,
    model: DemoModelServer,
    plain_registry: RunningRegistry,
    collection: Callable[..., Path],
    starts: Callable[[], list[list[str]]],
    eventually: Callable[[Any], Any],
) -> None:
    release = cli.folder / "release"
    where = ("--push-to", f"{plain_registry.address}/evals")
    process = cli.start(*cli.arguments(collection(("a", {"wait_for": str(release)})), model), *where)
    eventually(lambda: len(starts()) == 1)
    plain_registry.stop()
    release.touch()
    eventually(lambda: (cli.run_directory() / "evidence" / "index.json").exists())
    time.sleep(2)  # some tries
    plain_registry.start()
    done = cli.ended(process)
    assert done.status == 0, done.err
    assert f"run-{cli.run_directory().name}" in tags(plain_registry, "evals")


def test_a_push_that_fails_loses_nothing_and_a_resumed_run_makes_up_for_it(
    cli: Any,
    model: DemoModelServer,
    plain_registry: RunningRegistry,
    collection: Callable[..., Path],
    starts: Callable[[], list[list[str]]],
    eventually: Callable[[Any], Any],
) -> None:
    cli.environ["EVALHUB_REGISTRY_TIMEOUT"] = "1"
    release = cli.folder / "release"
    where = ("--push-to", f"{plain_registry.address}/evals")
    process = cli.start(*cli.arguments(collection(("a", {"wait_for": str(release)})), model), *where)
    eventually(lambda: len(starts()) == 1)
    plain_registry.stop()
    release.touch()
    done = cli.ended(process)
    assert done.status == 2
    assert f"{plain_registry.host}" in done.err
    assert "--resume" in done.err
    # the verdict is there, and so is what people read
    assert "PASS" in done.out.splitlines()
    assert "report.html" in done.out
    directory = cli.run_directory()
    assert json.loads((directory / "verdict.json").read_text())["verdict"] == "pass"
    assert "not pushed" in (directory / "report.md").read_text()
    digest = publication(cli)["evidence_digest"]

    plain_registry.start()
    again = cli.resume(directory)
    assert again.status == 0, again.err
    assert len(starts()) == 1
    assert publication(cli)["evidence_digest"] == digest
    assert f"run-{directory.name}" in tags(plain_registry, "evals")


def test_evidence_refers_to_the_model_in_the_same_repository(
    cli: Any, model: DemoModelServer, plain_registry: RunningRegistry, write: Callable[..., Path], tmp_path: Path
) -> None:
    digest = push_a_model_image(plain_registry, tmp_path)
    coordinates = {"oci_host": plain_registry.address, "oci_repository": "models/tiny", "oci_subject": "v1"}
    done = cli("run", write("eval.yaml", eval_yaml(model, coordinates)), "--catalog", cli.catalog, "--no-mlflow")
    assert done.status == 0, done.err
    said = publication(cli)
    index = raw(f"{plain_registry.host}/models/tiny@{said['evidence_digest']}")
    assert index["subject"]["digest"] == digest
    assert index["annotations"]["io.github.eval-hub.model_digest"] == digest
    # docker-registry has no referrers API: clients look for this tag
    referrers = raw(f"{plain_registry.host}/models/tiny:{digest.replace(':', '-')}")
    assert [entry["digest"] for entry in referrers["manifests"]] == [said["evidence_digest"]]
    assert cli("verify", said["evidence_address"], "--model-digest", digest).status == 0
    other = cli("verify", said["evidence_address"], "--model-digest", "sha256:" + "0" * 64)
    assert other.status == 1
    assert "model" in other.out


def test_a_subject_that_is_not_there_is_found_before_any_benchmark_runs(
    cli: Any, model: DemoModelServer, plain_registry: RunningRegistry, write: Callable[..., Path]
) -> None:
    coordinates = {"oci_host": plain_registry.address, "oci_repository": "models/tiny", "oci_subject": "gone"}
    done = cli("run", write("eval.yaml", eval_yaml(model, coordinates)), "--catalog", cli.catalog, "--no-mlflow")
    assert done.status == 2
    assert "oci_subject" in done.err
    assert cli.run_directories() == []


def push_a_model_image(registry: RunningRegistry, folder: Path) -> str:
    """Push a one-layer image, as a ModelCar is, to `models/tiny:v1` with an independent client; return its digest."""
    image = folder / "model-image"
    image.mkdir()
    (image / "version").write_text("Directory Transport Version: 1.1\n")
    layer = b"weights"

    def blob(content: bytes) -> dict[str, Any]:
        name = hashlib.sha256(content).hexdigest()
        (image / name).write_bytes(content)
        return {"digest": f"sha256:{name}", "size": len(content)}

    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **blob(json.dumps(config).encode())},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob(layer)}],
    }
    content = json.dumps(manifest).encode()
    (image / "manifest.json").write_bytes(content)
    done = subprocess.run(
        [
            SKOPEO,
            "--insecure-policy",
            "copy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            f"dir:{image}",
            f"docker://{registry.host}/models/tiny:v1",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return "sha256:" + hashlib.sha256(content).hexdigest()
