"""The registry client against real registries, an independent client, and a registry that fails in every way."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from container_engine import missing
from faulty_registry import (
    PASSWORD,
    FaultyRegistry,
    breaks_off,
    drops,
    faulty_registry,
    floods,
    says,
    trickles,
    with_headers,
)
from registries import (
    LOGIN,
    READER,
    RunningRegistry,
    docker_secret,
    free_port,
    plain_registry,
    running_registry,
    tls_registry,
    token_registry,
    write_certificates,
)
from stub_http import Behaviour, StubApi, StubRequest, answers, served
from token_server import Asked

from evalhub_components.errors import EvalHubError, NotFound, Tampered
from evalhub_components.evidence.layout import Blob, Layout, LayoutWriter, TaggedManifest
from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry.client import WORKERS
from evalhub_components.evidence.registry.push import Pushed, push
from evalhub_components.evidence.registry.referrers import Referrer
from evalhub_components.evidence.registry.registry import Registry
from evalhub_components.evidence.store import Descriptor

__all__ = ["plain_registry", "tls_registry", "token_registry"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
REPOSITORY = "team/evals"
KINDS = ["plain_registry", "tls_registry", "token_registry"]
PATIENCE = 60


@pytest.fixture(autouse=True)
def no_login_of_the_developers_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker-config"))


@pytest.fixture(params=KINDS)
def running(request: pytest.FixtureRequest) -> RunningRegistry:
    """Each kind of registry."""
    found: RunningRegistry = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def faulty() -> Iterator[FaultyRegistry]:
    with faulty_registry() as registry:
        yield registry


def open_registry(running: RunningRegistry, repository: str = REPOSITORY, **keys: Any) -> Registry:
    """Open with the writer's login, unless told otherwise."""
    reference = Reference.parse(f"{running.address}/{repository}")
    return Registry(reference, **{"secret": running.secret, "ca": running.ca, "deadline": PATIENCE, **keys})


def client(faulty: FaultyRegistry, **keys: Any) -> Registry:
    return Registry(Reference.parse(f"{faulty.address}/{REPOSITORY}"), **{"deadline": PATIENCE, **keys})


def with_tokens(faulty: FaultyRegistry, tmp_path: Path, password: str = PASSWORD) -> Path:
    """Let the registry want tokens; returns a secret with a login for them."""
    faulty.realm = f"{faulty.address}/token"
    return docker_secret(tmp_path / "login", faulty.host, "writer", password)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def entry(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def write_layout(folder: Path, contents: Sequence[bytes] = (b"one", b"two"), subject: Blob | None = None) -> str:
    """Write a layout as evidence has it, with a manifest for each content; returns the index's digest."""
    writer = LayoutWriter(folder)
    manifests = []
    for number, content in enumerate(contents):
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": entry("application/vnd.evalhub.test+json", writer.add([json.dumps({"n": number}).encode()])),
            "layers": [entry("application/octet-stream", writer.add([content]))],
        }
        manifests.append(tagged(writer, document, f"evalhub-{number}"))
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "artifactType": "application/vnd.evalhub.test",
        "manifests": [entry(manifest.media_type, manifest.blob) for manifest in manifests],
        **({"subject": entry(MANIFEST, subject)} if subject else {}),
    }
    index = tagged(writer, document, "run-1")
    signature = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": entry("application/vnd.oci.image.config.v1+json", writer.add([b"{}"])),
        "layers": [entry("application/vnd.test.signature", writer.add([index.blob.digest.encode()]))],
    }
    attached = TaggedManifest(
        MANIFEST, writer.add([json.dumps(signature).encode()]), (f"{index.blob.digest.replace(':', '-')}.sig",)
    )
    writer.commit([index, *manifests, attached])
    return index.blob.digest


def tagged(writer: LayoutWriter, document: dict[str, Any], tag: str) -> TaggedManifest:
    blob = writer.add([json.dumps(document).encode()])
    return TaggedManifest(document["mediaType"], blob, (tag, f"evidence-{blob.digest.removeprefix('sha256:')}"))


def blobs_of(folder: Path) -> dict[str, bytes]:
    """The blobs of a layout by digest, its manifests among them."""
    return {f"sha256:{path.name}": path.read_bytes() for path in (folder / "blobs/sha256").iterdir()}


def read_all(store: Registry, name: str) -> dict[str, bytes]:
    """Everything that a manifest names, itself among it, as our client reads it."""
    content = store.manifest(store.resolve(name).digest)
    found, document = {digest_of(content): content}, json.loads(content)
    for child in document.get("manifests", []):
        found |= read_all(store, child["digest"])
    for blob in [*document.get("layers", []), *([document["config"]] if "config" in document else [])]:
        found[blob["digest"]] = b"".join(store.blob(blob["digest"], blob["size"]))
    return found


def skopeo(running: RunningRegistry, *arguments: str, side: str = "") -> bytes:
    """What skopeo says; `side` is the end of a copy that is the registry: `src` or `dest`."""
    command = shutil.which("skopeo")
    if command is None:
        missing("skopeo (Debian: apt-get install skopeo)")
    prefix = f"--{side}-" if side else "--"
    options = []
    if running.ca:
        certificates = running.folder / "certificates"
        certificates.mkdir(exist_ok=True)
        shutil.copy(running.ca, certificates / "ca.crt")
        options.append(f"{prefix}cert-dir={certificates}")
    else:
        options.append(f"{prefix}tls-verify=false")
    if running.secret:
        options.append(f"{prefix}{'auth' if side else 'auth'}file={running.secret / '.dockerconfigjson'}")  # noqa: RUF034
    verb, *rest = arguments
    done = subprocess.run([str(command), verb, *options, *rest], capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def waits(store: Registry) -> list[float]:
    """Let the client wait no longer; returns the list of what it would have waited."""
    found: list[float] = []

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            found.append(timeout or 0)
            return False

    store.client.patience.given_up = Impatient()
    return found


def test_an_independent_client_reads_what_was_pushed(running: RunningRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout")
    sent = push(tmp_path / "layout", open_registry(running))
    # two contents, their configs, the signature's layer and config; each manifest by its digest and its tags, but the
    # signature by its tag alone
    assert (sent.digest, sent.blobs, sent.manifests) == (digest, 6, 10)
    raw = skopeo(running, "inspect", "--raw", f"docker://{running.host}/{REPOSITORY}:run-1")
    assert digest_of(raw) == digest
    skopeo(
        running,
        "copy",
        "--all",
        f"docker://{running.host}/{REPOSITORY}@{digest}",
        f"oci:{tmp_path / 'copy'}",
        side="src",
    )
    written, copied = blobs_of(tmp_path / "layout"), blobs_of(tmp_path / "copy")
    assert digest in copied
    assert copied.items() <= written.items()
    assert {"evalhub-0", "evalhub-1", "run-1"} <= set(open_registry(running).tags())


def test_what_an_independent_client_wrote_is_read(running: RunningRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout", [b"x" * 300_000, b""])
    target = f"docker://{running.host}/{REPOSITORY}:by-skopeo"
    skopeo(running, "copy", "--all", f"oci:{tmp_path / 'layout'}:run-1", target, side="dest")
    store = open_registry(running)
    found = read_all(store, "by-skopeo")
    assert found.items() <= blobs_of(tmp_path / "layout").items()
    assert len(found) == 7
    assert store.resolve("by-skopeo") == Descriptor(INDEX, digest, len(found[digest]))
    assert store.resolve(digest) == store.resolve("by-skopeo")
    assert store.tags() == ["by-skopeo"]


def test_a_second_push_sends_nothing(running: RunningRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout")
    push(tmp_path / "layout", open_registry(running))
    assert push(tmp_path / "layout", open_registry(running)) == Pushed(digest, 0, 0, 0)


def test_garbage_collection_loses_nothing(plain_registry: RunningRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout", [b"one", b"two", b"three"])
    push(tmp_path / "layout", open_registry(plain_registry))
    # a later run takes the tags that move
    write_layout(tmp_path / "later", [b"four"])
    push(tmp_path / "later", open_registry(plain_registry))
    plain_registry.garbage_collect()
    store = open_registry(plain_registry)
    found = {**read_all(store, digest), **read_all(store, f"{digest.replace(':', '-')}.sig")}
    assert found == blobs_of(tmp_path / "layout")
    assert store.resolve("run-1").digest != digest


@pytest.mark.parametrize("kind", ["tls_registry", "token_registry"])
@pytest.mark.parametrize("doing", ["push", "read"])
def test_a_wrong_password_fails_at_once(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, kind: str, doing: str
) -> None:
    running: RunningRegistry = request.getfixturevalue(kind)
    secret = running.secret_of("writer", "wr0ng-hunter2", "wrong")
    store = open_registry(running, secret=secret)
    with caplog.at_level(logging.DEBUG), pytest.raises(EvalHubError, match="user name or password is wrong") as error:
        store.check_push() if doing == "push" else store.resolve("x")
    assert str(secret / ".dockerconfigjson") in str(error.value)
    encoded = base64.b64encode(b"writer:wr0ng-hunter2").decode()
    for text in ("hunter2", encoded, LOGIN[1]):
        assert text not in str(error.value) + caplog.text
    if running.tokens:
        assert len(running.tokens.asked) == 1


@pytest.mark.parametrize("kind", ["tls_registry", "token_registry"])
def test_who_has_no_login_is_told_where_it_was_looked_for(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> None:
    running: RunningRegistry = request.getfixturevalue(kind)
    with pytest.raises(EvalHubError, match="only who is logged in may push to it") as error:
        open_registry(running, secret=None).check_push()
    assert str(tmp_path / "no-docker-config" / "config.json") in str(error.value)


def test_the_docker_configuration_has_the_login(tls_registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tls_registry.secret
    (tls_registry.secret / ".dockerconfigjson").rename(tls_registry.secret / "config.json")
    monkeypatch.setenv("DOCKER_CONFIG", str(tls_registry.secret))
    open_registry(tls_registry, secret=None).check_push()


def test_a_login_for_reading_may_not_push(token_registry: RunningRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout")
    push(tmp_path / "layout", open_registry(token_registry))
    store = open_registry(token_registry, secret=token_registry.secret_of(*READER, "reader"))
    assert "run-1" in store.tags()
    with pytest.raises(EvalHubError, match="'reader' may not push to it"):
        store.check_push()
    with pytest.raises(EvalHubError, match="'reader' may not push to it"):
        store.put_manifest(b"{}", MANIFEST, "x")


def test_a_token_for_reading_is_not_used_for_a_push(token_registry: RunningRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout")
    store = open_registry(token_registry)
    assert store.tags() == []
    push(tmp_path / "layout", store)
    assert token_registry.tokens
    assert token_registry.tokens.asked == [
        Asked("writer", f"repository:{REPOSITORY}:pull", False),
        Asked("writer", f"repository:{REPOSITORY}:pull,push", False),
    ]


def test_everybody_reads_a_public_repository_and_nobody_pushes_to_it(
    token_registry: RunningRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "layout")
    push(tmp_path / "layout", open_registry(token_registry, "public/evals"))
    store = open_registry(token_registry, "public/evals", secret=None)
    assert "run-1" in store.tags()
    assert token_registry.tokens
    assert token_registry.tokens.asked[-1] == Asked(None, "repository:public/evals:pull", False)
    with pytest.raises(EvalHubError, match="only who is logged in may push"):
        store.check_push()


def test_an_expired_token_is_replaced(token_registry: RunningRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout")
    assert token_registry.tokens
    token_registry.tokens.lifetime = 2
    store = open_registry(token_registry)
    push(tmp_path / "layout", store)
    before = len(token_registry.tokens.asked)
    time.sleep(4)  # past the lifetime
    store.check_push()
    assert len(token_registry.tokens.asked) == before + 1


def test_an_identity_token_is_exchanged_for_tokens(token_registry: RunningRegistry, tmp_path: Path) -> None:
    assert token_registry.tokens
    token_registry.tokens.refresh_tokens["id3ntity"] = "writer"
    for name, token in (("right", "id3ntity"), ("wrong", "id3ntity-of-nobody")):
        (tmp_path / name).mkdir()
        config = {"auths": {token_registry.host: {"identitytoken": token}}}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    open_registry(token_registry, secret=tmp_path / "right").check_push()
    assert token_registry.tokens.asked == [Asked("writer", f"repository:{REPOSITORY}:pull,push", True)]
    with pytest.raises(EvalHubError, match="the identity token is wrong") as error:
        open_registry(token_registry, secret=tmp_path / "wrong").check_push()
    assert "id3ntity" not in str(error.value)


def test_a_token_server_without_tls_gets_no_password(tmp_path: Path) -> None:
    certificate, _ = write_certificates(tmp_path / "registry" / "tls")
    with served(StubApi(), StubRequest) as eavesdropper:
        realm = f"{eavesdropper.address}/token"
        auth = {"token": {"realm": realm, "service": "s", "issuer": "i", "rootcertbundle": str(certificate)}}
        with running_registry(tmp_path / "registry", auth=auth, tls=True, login=LOGIN) as running:  # noqa: SIM117
            with pytest.raises(EvalHubError, match="token server without TLS"):
                open_registry(running).check_push()
    assert eavesdropper.seen == []


def test_an_unknown_certificate_is_refused_with_the_cure(tls_registry: RunningRegistry, tmp_path: Path) -> None:
    write_certificates(tmp_path / "others")
    for ca in (None, tmp_path / "others" / "ca.crt"):
        with pytest.raises(EvalHubError, match="certificate is not trusted.*give that of its CA"):  # noqa: RUF043
            open_registry(tls_registry, ca=ca).tags()


def test_a_certificate_for_another_name_is_refused(tls_registry: RunningRegistry) -> None:
    address = tls_registry.host.replace("127.0.0.1", "localhost")
    with pytest.raises(EvalHubError, match="certificate is not trusted.*use a name that is in the certificate"):  # noqa: RUF043
        Registry(Reference.parse(f"{address}/x"), ca=tls_registry.ca, deadline=PATIENCE).tags()


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), ("no PEM", "holds no certificate")])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    if content:
        (tmp_path / "ca.crt").write_text(content)
    with pytest.raises(EvalHubError, match=f"ca.crt: {words}"):
        Registry(Reference.parse("registry.example/x"), ca=tmp_path / "ca.crt")


def test_plain_http_is_never_a_silent_fallback(plain_registry: RunningRegistry) -> None:
    with pytest.raises(EvalHubError, match=f"does not speak TLS .*http://{plain_registry.host}/"):
        Registry(Reference.parse(f"{plain_registry.host}/x"), deadline=PATIENCE).tags()


def test_plain_http_to_a_registry_with_tls_is_told_to_leave_it_out(tls_registry: RunningRegistry) -> None:
    with pytest.raises(EvalHubError, match=r"wants TLS \(leave out http://\)"):
        Registry(Reference.parse(f"http://{tls_registry.host}/x"), deadline=PATIENCE).check_push()


def test_a_host_where_nothing_listens_fails_at_once() -> None:
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(EvalHubError, match=f"{host}: the connection is refused"):
        Registry(Reference.parse(f"http://{host}/x"), deadline=3600).tags()


def test_a_host_that_nobody_knows_fails_at_once() -> None:
    with pytest.raises(EvalHubError, match=r"nowhere\.invalid: the name cannot be resolved"):
        Registry(Reference.parse("nowhere.invalid/x"), deadline=3600).tags()


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("doing", ["push", "resolve", "tags"])
def test_a_web_server_is_no_registry(faulty: FaultyRegistry, status: int, doing: str) -> None:
    page = answers(status, "<html>welcome</html>", Content_Type="text/html; charset=utf-8")
    for method in ("GET", "POST"):
        faulty.fail(method, "", page, times=99)
    store = client(faulty)
    calls: dict[str, Callable[[], object]] = {
        "push": store.check_push,
        "resolve": lambda: store.resolve("x"),
        "tags": store.tags,
    }
    with pytest.raises(EvalHubError, match="no OCI registry|is it a registry"):  # noqa: RUF043
        calls[doing]()


def test_a_read_only_registry_is_said_to_be_one(plain_registry: RunningRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout")
    plain_registry.restart(maintenance={"readonly": {"enabled": True}})
    with pytest.raises(EvalHubError, match="read-only"):
        open_registry(plain_registry).check_push()
    with pytest.raises(EvalHubError, match="read-only"):
        push(tmp_path / "layout", open_registry(plain_registry))


def test_what_is_not_there_is_not_found(running: RunningRegistry, tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    store = open_registry(running)
    assert store.tags() == []
    assert store.referrers(digest) == []
    assert store.named_by("x") is None
    write_layout(tmp_path / "layout")
    push(tmp_path / "layout", store)
    for call in (
        lambda: store.resolve("never-pushed"),
        lambda: store.resolve(digest),
        lambda: store.manifest(digest),
        lambda: store.manifest("sha512:" + "0" * 128),
        lambda: list(store.blob(digest, 7)),
        lambda: list(store.blob("../../x", 7)),
    ):
        with pytest.raises(NotFound, match=running.host):
            call()


def test_blobs_that_were_changed_in_the_storage_are_found_out(plain_registry: RunningRegistry) -> None:
    content = b"0123456789" * 100_000
    digest, store = digest_of(content), open_registry(plain_registry)
    store.upload(digest, len(content), lambda: [content])
    file = plain_registry.blob(digest)
    for changed, words in (
        (b"X" + content[1:], "has other content"),
        (content[:-1], "is 999999 bytes long instead of 1000000"),
        (content + b"x", "has more than the 1000000 bytes"),
        (b"", "is 0 bytes long"),
    ):
        file.write_bytes(changed)
        received = 0
        with pytest.raises(Tampered, match=words):  # noqa: PT012
            for piece in store.blob(digest, len(content)):
                received += len(piece)
        assert received <= len(content)
    file.write_bytes(content)
    assert b"".join(store.blob(digest, len(content))) == content


def test_a_manifest_that_was_changed_in_the_storage_is_found_out(
    plain_registry: RunningRegistry, tmp_path: Path
) -> None:
    digest = write_layout(tmp_path / "layout")
    store = open_registry(plain_registry)
    push(tmp_path / "layout", store)
    file = plain_registry.blob(digest)
    file.write_bytes(file.read_bytes().replace(b"vnd.evalhub", b"vnd.someone"))
    for call in (lambda: store.manifest(digest), lambda: store.resolve("run-1"), lambda: store.resolve(digest)):
        with pytest.raises(Tampered, match="has other content"):
            call()


def test_referrers_are_kept_under_a_tag_where_there_is_no_api(plain_registry: RunningRegistry, tmp_path: Path) -> None:
    store = open_registry(plain_registry)
    model = store.put_manifest(
        json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode(), INDEX, "model"
    )
    subject = Blob(model.digest, model.size)
    digests = [write_layout(tmp_path / name, [name.encode()], subject) for name in ("first", "second")]
    for name in ("first", "second"):
        push(tmp_path / name, store)
    found = store.referrers(model.digest)
    assert [one.descriptor.digest for one in found] == sorted(digests)
    assert {one.artifact_type for one in found} == {"application/vnd.evalhub.test"}
    # what somebody else has entered stays, and nothing is written again
    tag = model.digest.replace(":", "-")
    index = json.loads(store.manifest(store.resolve(tag).digest))
    own = next(one for one in index["manifests"] if one["digest"] == digests[0])
    foreign = {**own, "digest": store.resolve("evalhub-0").digest, "size": store.resolve("evalhub-0").size}
    foreign |= {"mediaType": MANIFEST, "platform": {"os": "plan9", "architecture": "x"}}
    index["manifests"] = [foreign, own]
    kept = store.put_manifest(json.dumps(index).encode(), INDEX, tag)
    assert push(tmp_path / "first", store).manifests == 2  # the tags that move
    assert store.resolve(tag).digest == kept.digest
    push(tmp_path / "second", store)
    after = json.loads(store.manifest(store.resolve(tag).digest))["manifests"]
    assert foreign in after
    assert [one["digest"] for one in after] == sorted([*digests, foreign["digest"]])


@pytest.mark.parametrize(
    "content",
    [b"[]", b'{"manifests": {}}', b'{"manifests": [7]}', b'{"manifests": [{"digest": "x", "size": 1}]}'],
)
def test_a_list_of_referrers_that_is_none_is_not_overwritten(faulty: FaultyRegistry, content: bytes) -> None:
    faulty.referrers_api = False
    faulty.fail("GET", "manifests/sha256-", answers(200, content, Content_Type=INDEX), times=9)
    subject = Descriptor(MANIFEST, "sha256:" + "1" * 64, 7)
    with pytest.raises(EvalHubError, match="is no list of referrers"):
        client(faulty).add_referrer(subject, Descriptor(INDEX, "sha256:" + "2" * 64, 7), "t", {})
    assert faulty.asked("PUT", "") == []


def test_a_list_of_referrers_that_another_overwrote_meanwhile_is_written_again(faulty: FaultyRegistry) -> None:
    faulty.referrers_api = False
    other, own = ({"mediaType": INDEX, "digest": "sha256:" + letter * 64, "size": 7} for letter in "ab")
    theirs = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other]}).encode()
    subject = Descriptor(MANIFEST, "sha256:" + "1" * 64, 7)
    tag = subject.digest.replace(":", "-")

    def overtaken(request: Any) -> None:
        request.serve()
        faulty.manifests[digest_of(theirs)] = (INDEX, theirs)
        faulty.tags[tag] = digest_of(theirs)

    faulty.fail("PUT", f"manifests/{tag}", overtaken)
    client(faulty).add_referrer(subject, Descriptor(INDEX, own["digest"], 7), "", {})
    assert json.loads(faulty.manifests[faulty.tags[tag]][1])["manifests"] == [other, own]


def test_a_registry_with_the_referrers_api_gets_no_list(faulty: FaultyRegistry, tmp_path: Path) -> None:
    model = client(faulty).put_manifest(b'{"schemaVersion":2}', MANIFEST, "model")
    digests = [write_layout(tmp_path / name, [name.encode()], Blob(model.digest, model.size)) for name in "abc"]
    faulty.pages = 1
    for name in "abc":
        push(tmp_path / name, client(faulty))
    assert faulty.asked("GET", "/referrers/") == []  # it said so itself when it got them
    found = client(faulty).referrers(model.digest)
    assert [one.descriptor.digest for one in found] == sorted(digests)
    assert all(isinstance(one, Referrer) and one.artifact_type == "application/vnd.evalhub.test" for one in found)
    assert model.digest.replace(":", "-") not in faulty.tags


@pytest.mark.parametrize(
    "behaviour",
    [
        answers(502),
        answers(503, "<html>busy</html>"),
        answers(504),
        says(429, "TOOMANYREQUESTS", "slow down", Retry_After="0"),
        drops(),
        drops(5000),
    ],
    ids=["502", "503", "504", "429", "drop", "drop in the middle"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/blobs/sha256"),
        ("POST", "/blobs/uploads/"),
        ("PUT", "/blobs/uploads/"),
        ("PUT", "/manifests/"),
        ("GET", "/manifests/"),
        ("GET", "/tags/"),
        ("GET", "/token"),
    ],
)
def test_a_failure_that_passes_is_outlasted(
    faulty: FaultyRegistry, tmp_path: Path, method: str, path: str, behaviour: Behaviour
) -> None:
    secret = with_tokens(faulty, tmp_path)
    contents = [bytes([number]) * 50_000 for number in range(4)]
    digest = write_layout(tmp_path / "layout", contents)
    faulty.fail(method, path, behaviour, times=2)
    store = client(faulty, secret=secret)
    waited = waits(store)
    assert push(tmp_path / "layout", store).digest == digest
    assert "run-1" in store.tags()
    assert len(waited) == 2
    assert {digest_of(content) for content in faulty.blobs.values()} == set(faulty.blobs)
    assert {digest_of(content) for content in contents} <= set(faulty.blobs)


def test_a_registry_that_asks_to_wait_is_waited_for(faulty: FaultyRegistry) -> None:
    faulty.fail("GET", "/tags/", answers(429, Retry_After="7"))
    faulty.fail("GET", "/tags/", answers(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"))
    faulty.fail("GET", "/tags/", answers(503, Retry_After="soon"))
    store = client(faulty)
    waited = waits(store)
    assert store.tags() == []
    assert waited[0] == 7
    assert all(0 < one < 5 for one in waited[1:])
    assert len(waited) == 3


def test_a_registry_that_asks_to_wait_for_too_long_is_not_waited_for(faulty: FaultyRegistry) -> None:
    faulty.fail("GET", "/tags/", says(429, "TOOMANYREQUESTS", "monthly limit", Retry_After="3600"))
    store = client(faulty)
    waited = waits(store)
    with pytest.raises(EvalHubError, match="busy, 429 too many requests.*monthly limit.*asks to wait 3600 s"):  # noqa: RUF043
        store.tags()
    assert waited == []


def test_a_registry_that_goes_away_before_a_push_is_waited_for(plain_registry: RunningRegistry, tmp_path: Path) -> None:
    open_registry(plain_registry).check_push()
    plain_registry.stop()
    store, tries = open_registry(plain_registry), []

    class ComesBack(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            tries.append(timeout)
            if len(tries) == WORKERS:
                plain_registry.start()
            return super().wait(timeout)

    store.client.patience.given_up = ComesBack()
    digest = write_layout(tmp_path / "layout")
    assert push(tmp_path / "layout", store).digest == digest
    assert store.resolve("run-1").digest == digest


def test_a_registry_that_stays_away_from_a_push_is_given_up_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALHUB_REGISTRY_TIMEOUT", "2")
    write_layout(tmp_path / "layout")
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(EvalHubError, match=rf"{host}: the connection is refused .*, \d+ times"):
        push(tmp_path / "layout", Registry(Reference.parse(f"http://{host}/x")))


def test_a_registry_that_was_never_there_fails_at_once_when_it_is_tried() -> None:
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(EvalHubError, match=f"{host}: the connection is refused") as error:
        Registry(Reference.parse(f"http://{host}/x"), deadline=3600).check_push()
    assert "times" not in str(error.value)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1.5", "9" * 5000])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EVALHUB_REGISTRY_TIMEOUT", text)
    with pytest.raises(EvalHubError, match="EVALHUB_REGISTRY_TIMEOUT: must be a whole number of seconds"):
        Registry(Reference.parse("registry.example/x"))


def test_a_registry_that_stays_away_is_given_up_at_the_deadline(faulty: FaultyRegistry) -> None:
    faulty.fail("GET", "/tags/", answers(503), times=9999)
    with pytest.raises(EvalHubError, match=r"the registry is busy, 503 not available .*, \d+ times"):
        client(faulty, deadline=1.5).tags()
    assert 2 <= len(faulty.asked("GET", "/tags/")) < 20


@pytest.mark.parametrize("ranges", [True, False], ids=["in parts", "from the beginning"])
def test_a_download_that_breaks_off_is_continued(faulty: FaultyRegistry, ranges: bool) -> None:
    content = bytes(range(256)) * 4000
    digest = digest_of(content)
    faulty.blobs[digest], faulty.ranges = content, ranges
    for after in (0, 300_000, 700_000 if not ranges else 400_000):
        faulty.fail("GET", digest, breaks_off(after))
    assert b"".join(client(faulty).blob(digest, len(content))) == content
    continued = [seen.headers.get("Range") for seen in faulty.asked("GET", digest)]
    assert continued == [None, None, "bytes=300000-", "bytes=700000-"]


def test_a_download_that_always_breaks_off_ends(faulty: FaultyRegistry) -> None:
    content = bytes(1000)
    faulty.blobs[digest_of(content)] = content
    faulty.fail("GET", "", breaks_off(0), times=9999)
    with pytest.raises(EvalHubError, match="breaks off"):
        list(client(faulty, deadline=1.5).blob(digest_of(content), 1000))


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("GET", "/manifests/", lambda store: store.resolve("x")),
        ("GET", "/tags/", lambda store: store.tags()),
        ("GET", "/blobs/", lambda store: list(store.blob("sha256:" + "0" * 64, 1_000_000))),
        ("POST", "/uploads/", lambda store: store.check_push()),
    ],
    ids=["manifest", "tags", "blob", "upload"],
)
def test_an_answer_that_trickles_is_not_waited_for(
    faulty: FaultyRegistry, monkeypatch: pytest.MonkeyPatch, method: str, path: str, call: Callable[[Registry], object]
) -> None:
    monkeypatch.setattr("evalhub_components.evidence.registry.patience._SLOWEST", 10**6)
    faulty.fail(method, path, trickles)
    with pytest.raises(EvalHubError, match="too slow"):
        call(client(faulty, deadline=1))


@pytest.mark.parametrize(
    ("path", "call", "kind"),
    [
        ("/manifests/", lambda store: store.resolve("x"), Tampered),
        ("/manifests/", lambda store: store.manifest("sha256:" + "0" * 64), Tampered),
        ("/tags/", lambda store: store.tags(), EvalHubError),
        ("/referrers/", lambda store: store.referrers("sha256:" + "0" * 64), EvalHubError),
        ("/blobs/", lambda store: list(store.blob("sha256:" + "0" * 64, 100_000)), Tampered),
        ("/token", lambda store: store.tags(), EvalHubError),
    ],
    ids=["tag", "manifest", "tags", "referrers", "blob", "token"],
)
def test_an_answer_without_end_is_cut_off(
    faulty: FaultyRegistry, tmp_path: Path, path: str, call: Callable[[Registry], object], kind: type[EvalHubError]
) -> None:
    secret = with_tokens(faulty, tmp_path)
    faulty.fail("GET", path, floods(200))
    with pytest.raises(kind, match="more than|larger than"):  # noqa: RUF043
        call(client(faulty, secret=secret))


def test_an_explanation_without_end_is_cut_off(faulty: FaultyRegistry) -> None:
    faulty.fail("GET", "/tags/", floods(500), times=9)
    with pytest.raises(EvalHubError, match="answered 500"):
        client(faulty).tags()


WRONG = "sha256:" + "f" * 64


def test_a_blob_that_is_stored_under_another_digest_is_found_out(faulty: FaultyRegistry) -> None:
    faulty.fail("PUT", "/uploads/", with_headers(Docker_Content_Digest=WRONG))
    with pytest.raises(Tampered, match=f"the registry stored it as {WRONG}"):
        client(faulty).upload(digest_of(b"x"), 1, lambda: [b"x"])


def test_a_manifest_that_is_stored_under_another_digest_is_found_out(faulty: FaultyRegistry) -> None:
    faulty.fail("PUT", "/manifests/", with_headers(Docker_Content_Digest=WRONG))
    with pytest.raises(Tampered, match=f"the registry stored it as {WRONG}"):
        client(faulty).put_manifest(b"{}", MANIFEST, "x")


@pytest.mark.parametrize("may_move", [True, False], ids=["a tag that moves", "a tag that does not"])
def test_a_manifest_that_reads_otherwise_than_it_was_stored_is_found_out(
    faulty: FaultyRegistry, may_move: bool
) -> None:
    faulty.fail("GET", "/manifests/", answers(200, b"[]", Content_Type=MANIFEST), times=99)
    with pytest.raises(Tampered, match="has other content"):
        client(faulty).put_manifest(b"{}", MANIFEST, "x", may_move=may_move)


def moved_on(faulty: FaultyRegistry, content: bytes) -> Behaviour:
    """Take a manifest, and let another push move its tag before anybody can look."""

    def behaviour(request: Any) -> None:
        request.serve()
        faulty.manifests[digest_of(content)] = (MANIFEST, content)
        faulty.tags[request.path.rpartition("/")[2]] = digest_of(content)

    return behaviour


def test_a_tag_that_another_push_moved_meanwhile_is_theirs(faulty: FaultyRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout")
    theirs = b'{"schemaVersion":2,"of":"another run"}'
    for tag in ("run-1", "evalhub-1"):
        faulty.fail("PUT", f"/manifests/{tag}", moved_on(faulty, theirs))
    assert push(tmp_path / "layout", client(faulty)).digest == digest
    assert faulty.tags["run-1"] == faulty.tags["evalhub-1"] == digest_of(theirs)
    assert faulty.tags[f"evidence-{digest.removeprefix('sha256:')}"] == digest
    assert read_all(client(faulty), digest).items() <= blobs_of(tmp_path / "layout").items()


def test_a_tag_that_never_moves_and_did_is_found_out(faulty: FaultyRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout")
    tag = f"evidence-{digest.removeprefix('sha256:')}"
    faulty.fail("PUT", f"/manifests/{tag}", moved_on(faulty, b"{}"))
    with pytest.raises(Tampered, match=f"{tag} was made to name {digest}, and does not"):
        push(tmp_path / "layout", client(faulty))


def test_a_tag_that_is_being_written_is_read_once_it_is(faulty: FaultyRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout")
    push(tmp_path / "layout", client(faulty))
    for method in ("HEAD", "GET"):
        faulty.fail(method, "/manifests/run-1", says(500, "UNKNOWN", "unknown error"), times=2)
    assert client(faulty).named_by("run-1") == client(faulty).resolve("run-1").digest == digest


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("HEAD", "/blobs/sha256:", answers(500)),
        ("GET", "/blobs/sha256:", answers(500)),
        ("PUT", "/manifests/", answers(500)),
        # its blobs or manifests were pushed before it, and are being linked anew by whoever pushes the same ones
        ("PUT", "/manifests/", says(400, "DIGEST_INVALID", "provided digest did not match uploaded content")),
        ("PUT", "/manifests/", says(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")),
    ],
    ids=["look for blob", "read blob", "manifest", "digest", "blob of manifest"],
)
def test_what_another_push_is_writing_at_this_moment_is_asked_for_again(
    faulty: FaultyRegistry, tmp_path: Path, method: str, path: str, answer: Behaviour
) -> None:
    digest = write_layout(tmp_path / "layout")
    faulty.fail(method, path, answer, times=2)
    assert push(tmp_path / "layout", client(faulty)).digest == digest
    assert read_all(client(faulty), digest).items() <= blobs_of(tmp_path / "layout").items()


def test_runs_that_are_pushed_at_once_to_the_same_tags_all_arrive(
    plain_registry: RunningRegistry, tmp_path: Path
) -> None:
    digests = [write_layout(tmp_path / str(number), [str(number).encode()]) for number in range(20)]
    with ThreadPoolExecutor(5) as pool:
        sent = list(pool.map(lambda number: push(tmp_path / str(number), open_registry(plain_registry)), range(20)))
    assert [one.digest for one in sent] == digests
    store = open_registry(plain_registry)
    assert store.resolve("run-1").digest in digests
    for digest in digests:
        assert read_all(store, f"evidence-{digest.removeprefix('sha256:')}")


def signature_manifest(*signers: str, payload: bytes = b"payload", **more: Any) -> tuple[bytes, dict[str, bytes]]:
    """A manifest of signatures as cosign writes it, and its blobs. Everybody signs the same payload."""
    config = json.dumps({"by": signers}).encode()
    layer = entry("application/vnd.dev.cosign.simplesigning.v1+json", Blob(digest_of(payload), len(payload)))
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": entry("application/vnd.oci.image.config.v1+json", Blob(digest_of(config), len(config))),
        "layers": [{**layer, "annotations": {"dev.cosignproject.cosign/signature": signer}} for signer in signers],
        **more,
    }
    return json.dumps(document).encode(), {digest_of(payload): payload, digest_of(config): config}


def add_signatures(store: Registry, tag: str, *signers: str, **more: Any) -> bool:
    content, blobs = signature_manifest(*signers, **more)
    for digest, blob in blobs.items():
        store.upload(digest, len(blob), lambda blob=blob: [blob])
    return store.add_layers(tag, content, MANIFEST)


def signed_by(store: Registry, tag: str) -> list[str]:
    """Who signed, in order; the config has as many layers as the manifest, and everything is there."""
    content = store.manifest(store.resolve(tag).digest)
    found = json.loads(content)
    config = json.loads(read_all(store, tag)[found["config"]["digest"]])
    if "rootfs" in config:
        assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in found["layers"]]
    return [layer["annotations"]["dev.cosignproject.cosign/signature"] for layer in found["layers"]]


SIGNATURES = f"sha256-{'5' * 64}.sig"


@pytest.mark.parametrize(
    ("present", "expected", "is_written"),
    [
        ((), ["ours"], True),
        (("ours",), ["ours"], False),
        (("theirs",), ["theirs", "ours"], True),
        (("ours", "theirs"), ["ours", "theirs"], False),
        (("second", "first"), ["second", "first", "ours"], True),
    ],
    ids=["none", "ours", "theirs", "both", "several"],
)
def test_a_signature_is_added_to_those_of_others(
    running: RunningRegistry, present: tuple[str, ...], expected: list[str], is_written: bool
) -> None:
    store = open_registry(running)
    if present:
        add_signatures(store, SIGNATURES, *present, annotations={"kept": "as it is"})
    assert add_signatures(store, SIGNATURES, "ours") == is_written
    assert signed_by(store, SIGNATURES) == expected
    digest = store.resolve(SIGNATURES).digest
    assert json.loads(store.manifest(digest)).get("annotations") == ({"kept": "as it is"} if present else None)
    assert not add_signatures(store, SIGNATURES, "ours")
    assert store.resolve(SIGNATURES).digest == digest


def test_the_same_signatures_give_the_same_manifest(faulty: FaultyRegistry) -> None:
    for tag in (SIGNATURES, SIGNATURES.replace("5", "6")):
        add_signatures(client(faulty), tag, "theirs")
        add_signatures(client(faulty), tag, "ours")
    assert len({faulty.tags[tag] for tag in faulty.tags}) == 1


def test_signatures_that_another_overwrote_meanwhile_are_added_again(faulty: FaultyRegistry) -> None:
    store = client(faulty)
    theirs, blobs = signature_manifest("theirs")
    faulty.blobs |= blobs
    faulty.fail("PUT", f"/manifests/{SIGNATURES}", moved_on(faulty, theirs))
    assert add_signatures(store, SIGNATURES, "ours")
    assert signed_by(store, SIGNATURES) == ["theirs", "ours"]


def test_signatures_that_others_keep_overwriting_are_given_up(faulty: FaultyRegistry) -> None:
    theirs, blobs = signature_manifest("theirs")
    faulty.blobs |= blobs
    faulty.fail("PUT", f"/manifests/{SIGNATURES}", moved_on(faulty, theirs), times=99)
    with pytest.raises(EvalHubError, match="others keep overwriting this manifest of signatures"):
        add_signatures(client(faulty), SIGNATURES, "ours")


@pytest.mark.parametrize(
    "content",
    [b"[]", b"no JSON", b'{"manifests": []}', b'{"layers": {}}', b'{"layers": [7]}', b'{"layers": [{}]}'],
)
def test_what_is_no_manifest_of_signatures_is_not_overwritten(faulty: FaultyRegistry, content: bytes) -> None:
    faulty.manifests[digest_of(content)] = (MANIFEST, content)
    faulty.tags[SIGNATURES] = digest_of(content)
    with pytest.raises(EvalHubError, match=f"{SIGNATURES}: is no manifest of signatures .*delete this tag"):
        add_signatures(client(faulty), SIGNATURES, "ours")
    assert faulty.tags[SIGNATURES] == digest_of(content)


def test_a_second_push_keeps_what_others_attached(running: RunningRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout")
    store, tag = open_registry(running), f"{digest.replace(':', '-')}.sig"
    push(tmp_path / "layout", store)
    # as `cosign sign` does it: what is there, and one more
    present = json.loads(store.manifest(store.resolve(tag).digest))
    theirs = {**present["layers"][0], "annotations": {"dev.cosignproject.cosign/signature": "theirs"}}
    for layers in ([*present["layers"], theirs], [theirs]):
        changed = json.dumps({**present, "layers": layers}).encode()
        store.put_manifest(changed, MANIFEST, tag)
        push(tmp_path / "layout", open_registry(running))
        after = json.loads(store.manifest(store.resolve(tag).digest))["layers"]
        assert theirs in after
        assert present["layers"][0] in after
        assert len(after) == 2
    assert push(tmp_path / "layout", open_registry(running)) == Pushed(digest, 0, 0, 0)


def test_a_tag_whose_digest_is_not_that_of_its_bytes_is_found_out(faulty: FaultyRegistry) -> None:
    client(faulty).put_manifest(b"{}", MANIFEST, "x")
    faulty.fail("GET", "/manifests/", with_headers(Docker_Content_Digest=WRONG))
    with pytest.raises(Tampered, match="has other content"):
        client(faulty).resolve("x")


def test_a_manifest_whose_bytes_are_not_what_its_digest_says_is_found_out(faulty: FaultyRegistry) -> None:
    faulty.fail("GET", "/manifests/", answers(200, b"[]", Content_Type=MANIFEST))
    with pytest.raises(Tampered, match="has other content"):
        client(faulty).manifest(digest_of(b"{}"))


def test_a_blob_of_another_size_counts_as_missing(faulty: FaultyRegistry) -> None:
    faulty.blobs[digest_of(b"abc")] = b"ab"
    assert client(faulty).upload(digest_of(b"abc"), 3, lambda: [b"abc"])
    assert faulty.blobs[digest_of(b"abc")] == b"abc"
    assert not client(faulty).upload(digest_of(b"abc"), 3, lambda: [b"abc"])


@pytest.mark.parametrize("size", [0, 1, 64 * 2**10, 64 * 2**10 + 1, 3_000_000])
def test_a_blob_of_any_size_arrives(plain_registry: RunningRegistry, size: int) -> None:
    content = bytes(size)
    store = open_registry(plain_registry)
    assert store.upload(digest_of(content), size, lambda: [content])
    assert plain_registry.blob(digest_of(content)).stat().st_size == size
    assert b"".join(store.blob(digest_of(content), size)) == content


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (says(507, "", ""), "full or over quota"),
        (says(500, "UNKNOWN", "write /data: no space left on device"), "full or over quota"),
        (says(403, "DENIED", "quota exceeded: 10 GiB"), "full or over quota"),
        (says(403, "DENIED", "requested access is denied"), "denies it .*requested access"),
        (says(405, "UNSUPPORTED", "the operation is unsupported"), "read-only"),
        (says(404, "NAME_UNKNOWN", "no such repository"), "no such repository"),
        (says(400, "NAME_INVALID", "bad name"), "does not take that repository's name"),
        (answers(413, "<html>nginx</html>"), "too large for the registry"),
        (says(500, "UNKNOWN", "panic"), "answered 500 .*panic"),
        (answers(418, "teapot"), "answered 418 .*teapot"),
    ],
    ids=["507", "no space", "quota", "denied", "read-only", "unknown", "invalid", "large", "500", "other"],
)
@pytest.mark.parametrize("path", ["POST /uploads/", "PUT /uploads/", "PUT /manifests/"])
def test_a_refused_push_says_why(
    faulty: FaultyRegistry, tmp_path: Path, path: str, behaviour: Behaviour, words: str
) -> None:
    write_layout(tmp_path / "layout")
    method, _, path = path.partition(" ")
    faulty.fail(method, path, behaviour, times=99)
    if words == "no such repository" and (method, path) == ("PUT", "/uploads/"):
        return  # an upload that is gone begins anew
    with pytest.raises(EvalHubError, match=f"^{faulty.host}/{REPOSITORY}: cannot push .*{words}"):
        push(tmp_path / "layout", client(faulty))


def test_a_refusal_in_the_middle_of_a_large_upload_says_why(faulty: FaultyRegistry) -> None:
    content = bytes(40_000_000)

    def refuse(request: Any) -> None:
        request.rfile.read(100_000)
        request.wfile.write(b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        request.close_connection = True

    faulty.fail("PUT", "/uploads/", refuse, times=99)
    with pytest.raises(EvalHubError, match="full or over quota"):
        client(faulty).upload(digest_of(content), len(content), lambda: [content])


HOSTILE = "\x1b[31m" + "A" * 5000 + "\r\nroot: all is well\u202e"


@pytest.mark.parametrize(
    ("behaviour", "call"),
    [
        (says(500, HOSTILE, HOSTILE), lambda store: store.tags()),
        (says(403, "DENIED", HOSTILE), lambda store: store.check_push()),
        (answers(400, HOSTILE), lambda store: store.check_push()),
        (answers(429, HOSTILE, Retry_After="9" * 5000), lambda store: store.tags()),
        (answers(200, "[" * 100_000), lambda store: store.tags()),
        (answers(200, '{"tags": ["\\u001b[31m"]}'), lambda store: store.tags()),
        (answers(200, "{}", Docker_Content_Digest="\x1b[31m"), lambda store: store.resolve("x") and store.tags()),
        (answers(201, Docker_Content_Digest="\x1b[31m"), lambda store: store.put_manifest(b"{}", MANIFEST, "x")),
        (answers(202, Location="http://[::1/\x1b"), lambda store: store.check_push()),
        (answers(202, Location="file:///etc/passwd"), lambda store: store.check_push()),
        (answers(202, Location="http://user:word@127.0.0.1:1/"), lambda store: store.check_push()),
        (answers(202, Location="http://..:x/"), lambda store: store.check_push()),
        (answers(202), lambda store: store.check_push()),
        (answers(401, WWW_Authenticate="Bearer realm=\x1b"), lambda store: store.tags()),
        (answers(401, WWW_Authenticate='Bearer realm="http://[x/",service="y"'), lambda store: store.tags()),
        (answers(401, WWW_Authenticate='Bearer realm="file:///etc/passwd"'), lambda store: store.tags()),
        (answers(401, WWW_Authenticate="Negotiate"), lambda store: store.tags()),
        (answers(401), lambda store: store.tags()),
        (answers(200, '{"tags": []}', Link='<http://127.0.0.1:1/x>; rel="next"'), lambda store: store.tags()),
        (answers(200, '{"tags": []}', Link='</v2/x/tags/list>; rel="next"'), lambda store: store.tags()),
        (answers(307, Location="/v2/again"), lambda store: store.tags()),
        (answers(301, Location="https://127.0.0.1/x"), lambda store: store.tags()),
        (answers(308, Location="http://elsewhere.example/x"), lambda store: store.check_push()),
    ],
)
def test_what_a_hostile_registry_says_is_refused_in_one_short_line(
    faulty: FaultyRegistry, behaviour: Behaviour, call: Callable[[Registry], object]
) -> None:
    for method in ("GET", "POST", "PUT"):
        faulty.fail(method, "", behaviour, times=99_999)
    with pytest.raises(EvalHubError) as error:
        call(client(faulty, deadline=20))
    text = str(error.value)
    assert text.isprintable(), text
    assert len(text) < 800
    assert faulty.host in text


def test_a_registry_that_repeats_our_secrets_is_not_quoted(
    faulty: FaultyRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = with_tokens(faulty, tmp_path)

    def repeat(request: Any) -> None:
        says(500, "UNKNOWN", f"{PASSWORD} {request.headers['Authorization']}")(request)

    faulty.fail("POST", "/uploads/", lambda request: request.serve())  # so that a token is had
    faulty.fail("POST", "/uploads/", repeat)
    with caplog.at_level(logging.DEBUG), pytest.raises(EvalHubError, match=r"answered 500 .*\*\*\*") as error:
        client(faulty, secret=secret).check_push()
    (token,) = faulty.tokens
    for text in (PASSWORD, token, base64.b64encode(f"writer:{PASSWORD}".encode()).decode()):
        assert text not in str(error.value) + caplog.text


@pytest.mark.parametrize("what", ["download", "upload"])
def test_the_login_goes_to_no_other_host(faulty: FaultyRegistry, tmp_path: Path, what: str) -> None:
    content = b"elsewhere"
    digest = digest_of(content)
    with faulty_registry() as elsewhere:
        secret = with_tokens(faulty, tmp_path)
        faulty.elsewhere = elsewhere.address
        if what == "download":
            faulty.blobs[digest] = elsewhere.blobs[digest] = content
            assert b"".join(client(faulty, secret=secret).blob(digest, len(content))) == content
            assert faulty.asked("GET", "/blobs/")[-1].headers["Authorization"].startswith("Bearer token-")
        else:
            client(faulty, secret=secret).upload(digest, len(content), lambda: [content])
            assert elsewhere.blobs[digest] == content
        assert elsewhere.seen
        assert [seen.headers.get("Authorization") for seen in elsewhere.seen] == [None] * len(elsewhere.seen)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: list(store.blob(digest_of(b"private"), 7)),
        lambda store: store.upload(digest_of(b"more"), 4, lambda: [b"more"]),
    ],
    ids=["download", "upload"],
)
def test_nothing_goes_from_tls_to_plain_http(
    faulty: FaultyRegistry, tmp_path: Path, call: Callable[[Registry], object]
) -> None:
    content = b"private"
    with faulty_registry(write_certificates(tmp_path / "tls")) as registry:
        registry.elsewhere = faulty.address
        registry.blobs[digest_of(content)] = faulty.blobs[digest_of(content)] = content
        store = Registry(Reference.parse(f"{registry.host}/x"), ca=tmp_path / "tls" / "ca.crt", deadline=PATIENCE)
        with pytest.raises(EvalHubError, match="from TLS to plain HTTP"):
            call(store)
    assert faulty.seen == []


def test_another_host_that_asks_for_a_login_gets_none(faulty: FaultyRegistry, tmp_path: Path) -> None:
    with faulty_registry() as elsewhere:
        secret = with_tokens(faulty, tmp_path)
        faulty.blobs["sha256:" + "0" * 64] = b""
        faulty.elsewhere = elsewhere.address
        elsewhere.realm = f"{elsewhere.address}/token"
        with pytest.raises(EvalHubError, match="answered 401"):
            list(client(faulty, secret=secret).blob("sha256:" + "0" * 64, 0))
        assert elsewhere.asked("GET", "/token") == []


def test_a_netrc_file_is_no_login(faulty: FaultyRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client(faulty).tags()
    assert "Authorization" not in faulty.seen[-1].headers


def test_threads_that_meet_an_expired_token_share_the_new_one(faulty: FaultyRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", [bytes([number]) for number in range(20)])
    store = client(faulty, secret=with_tokens(faulty, tmp_path))
    store.check_push()
    store.tags()
    before = len(faulty.asked("GET", "/token"))
    faulty.tokens.clear()

    def all_refused() -> None:
        faulty.barrier = None

    faulty.barrier = threading.Barrier(WORKERS, all_refused, timeout=PATIENCE)
    push(tmp_path / "layout", store)
    scopes = [seen.query["scope"] for seen in faulty.asked("GET", "/token")][before:]
    assert sorted(scopes) == [f"repository:{REPOSITORY}:pull", f"repository:{REPOSITORY}:pull,push"]


def test_a_token_that_is_refused_again_is_no_reason_to_go_on_asking(faulty: FaultyRegistry, tmp_path: Path) -> None:
    secret = with_tokens(faulty, tmp_path)
    challenge = f'Bearer realm="{faulty.realm}"'
    faulty.fail("GET", "/tags/", answers(401, WWW_Authenticate=challenge), times=9999)
    with pytest.raises(EvalHubError, match="'writer' may not read it"):
        client(faulty, secret=secret).tags()
    assert len(faulty.asked("GET", "/token")) == 1


def test_blobs_are_sent_by_several_threads(faulty: FaultyRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", [bytes([number]) for number in range(WORKERS)])
    together = threading.Barrier(WORKERS)

    def rendezvous(request: Any) -> None:
        together.wait(PATIENCE)
        request.serve()

    faulty.fail("PUT", "/uploads/", rendezvous, times=WORKERS)
    push(tmp_path / "layout", client(faulty))


def test_one_failure_ends_the_push(faulty: FaultyRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", [bytes([number]) for number in range(60)])
    faulty.fail("POST", "/uploads/", says(403, "DENIED", "no"))
    # the others would be tried again for an hour
    faulty.fail("POST", "/uploads/", answers(503, Retry_After="50"), times=9999)
    with pytest.raises(EvalHubError, match="denies it"):
        push(tmp_path / "layout", client(faulty, deadline=3600))


@pytest.mark.parametrize(
    ("method", "path", "tags"),
    [
        ("PUT", "/blobs/uploads/", set()),
        ("PUT", "/manifests/run-1", {"evalhub-0", "evalhub-1", "evidence", "sha256"}),
        ("PUT", "/manifests/evalhub-1", {"evalhub-0", "evidence", "sha256"}),
        ("PUT", "/manifests/sha256-", {"evidence"}),
    ],
    ids=["blob", "tag of the index", "tag of a manifest", "signature"],
)
def test_a_push_that_fails_leaves_no_tag_that_names_something_incomplete(
    faulty: FaultyRegistry, tmp_path: Path, method: str, path: str, tags: set[str]
) -> None:
    digest = write_layout(tmp_path / "layout")
    faulty.fail(method, path, answers(500), times=9)
    with pytest.raises(EvalHubError, match="answered 500"):
        push(tmp_path / "layout", client(faulty))
    faulty.faults.clear()
    shown = {tag.partition("-")[0] if tag.startswith(("evidence-", "sha256-")) else tag for tag in faulty.tags}
    assert shown <= tags
    for name in faulty.tags:
        assert read_all(client(faulty), name)
    again = push(tmp_path / "layout", client(faulty))
    assert again.digest == digest
    assert {"run-1", "evalhub-0", "evalhub-1", f"{digest.replace(':', '-')}.sig"} <= set(faulty.tags)
    assert set(faulty.blobs) | set(faulty.manifests) == set(blobs_of(tmp_path / "layout"))


def test_moving_tags_come_last_and_that_of_the_index_at_the_end(faulty: FaultyRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout")
    push(tmp_path / "layout", client(faulty))
    names = [seen.path.rpartition("/")[2] for seen in faulty.asked("PUT", "/manifests/")]
    assert names[-1] == "run-1"
    assert sorted(names[-3:-1]) == ["evalhub-0", "evalhub-1"]
    assert names[-4] == f"{digest.replace(':', '-')}.sig"
    assert names.index(digest) < names.index(f"evidence-{digest.removeprefix('sha256:')}")
    last_blob = max(faulty.seen.index(seen) for seen in faulty.asked("PUT", "/uploads/"))
    assert last_blob < faulty.seen.index(faulty.asked("PUT", "/manifests/")[0])


def test_a_layout_that_was_tampered_with_is_not_pushed(faulty: FaultyRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", [b"0123456789"])
    path = tmp_path / "layout" / "blobs" / "sha256" / hashlib.sha256(b"0123456789").hexdigest()
    path.write_bytes(b"X123456789")
    with pytest.raises(Tampered, match="has other content"):
        push(tmp_path / "layout", client(faulty))
    assert faulty.tags == {}


def test_a_layout_without_a_single_index_is_refused(faulty: FaultyRegistry, tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path / "layout")
    config = entry("application/json", writer.add([b"{}"]))
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    writer.commit([tagged(writer, document, "x")])
    with pytest.raises(EvalHubError, match="must hold one index, got 0"):
        push(tmp_path / "layout", client(faulty))
    assert faulty.seen == []


def test_all_pages_of_tags_are_read(faulty: FaultyRegistry) -> None:
    store = client(faulty)
    for number in range(7):
        store.put_manifest(b"{}", MANIFEST, f"t{number}")
    faulty.pages = 3
    assert store.tags() == [f"t{number}" for number in range(7)]
    assert len(faulty.asked("GET", "/tags/")) == 3


def test_check_push_leaves_no_upload_behind(plain_registry: RunningRegistry) -> None:
    store = open_registry(plain_registry)
    store.check_push()
    assert list(plain_registry.repository(REPOSITORY).rglob("startedat")) == []
    assert store.tags() == []


def test_the_layout_and_the_registry_answer_alike(plain_registry: RunningRegistry, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout")
    push(tmp_path / "layout", open_registry(plain_registry))
    layout, registry = Layout(tmp_path / "layout"), open_registry(plain_registry)
    assert layout.tags() == registry.tags()
    assert layout.manifest(digest) == registry.manifest(digest)
    for tag in layout.tags():
        assert layout.resolve(tag) == registry.resolve(tag)
