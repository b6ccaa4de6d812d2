"""Evidence from whoever means harm: it is refused in words, and nothing is written outside of the target folder."""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from evidence_runs import TITLE, SignedRun, build, finished_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.evidence.reading import pull
from evalhub_components.evidence.reading.summary import summarise
from evalhub_components.evidence.reading.tree import Named
from evalhub_components.evidence.signing import keys
from evalhub_components.evidence.store import Descriptor, check_digest, checked
from evalhub_components.evidence.verification.outcome import Verification
from evalhub_components.evidence.verification.verifier import Expected, verify
from evalhub_pipelines import evidence_store

__all__ = ["finished_run"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")

fuzzing = settings(
    deadline=None, max_examples=150, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@dataclass
class Memory:
    """A registry of a stranger: tags and blobs, all of which hash to their digests."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    place: str = "registry.example/team/evals"

    def add(self, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return {"digest": digest, "size": len(content)}

    def resolve(self, name: str) -> Descriptor:
        digest = self.names.get(name, name)
        return Descriptor("", digest, len(self.manifest(digest)))

    def manifest(self, digest: str) -> bytes:
        content = self._read(digest)
        check_digest(hashlib.sha256(content).hexdigest(), digest, "manifest")
        return content

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        content = self._read(digest)
        pieces = (content[start : start + 1000] for start in range(0, len(content), 1000))
        return checked(pieces, digest, size, self.place)

    def tags(self) -> list[str]:
        return sorted(self.names)

    def _read(self, digest: str) -> bytes:
        if digest not in self.blobs:
            raise NotFound(f"{self.place}: has no {digest}")
        return self.blobs[digest]


@dataclass(frozen=True, repr=False)
class Honest:
    """Signed evidence, read apart.

    Attributes:
        documents: the index, the manifests and their configs, by what they are.
        files: the files of the run, by their titles.
    """

    blobs: dict[str, bytes]
    names: dict[str, str]
    documents: dict[str, Any]
    files: dict[str, bytes]
    digest: str
    key: keys.PublicKey
    folder: Path

    def store(self, documents: dict[str, Any], files: dict[str, bytes]) -> tuple[Memory, str]:
        """Return a store with other documents and files, every digest mended, and the digest of the index."""
        store = Memory(dict(self.blobs), dict(self.names))
        documents = copy.deepcopy(documents)
        for name, part in documents.items():
            if not name.startswith("part"):
                continue
            for layer in listed(part, "layers"):
                annotations = layer.get("annotations") if isinstance(layer, dict) else None
                title = annotations.get(TITLE) if isinstance(annotations, dict) else None
                if isinstance(title, str) and files.get(title) != self.files.get(title):
                    layer.update(store.add(files[title]))
            config = documents[name.replace("part", "config")]
            if isinstance(part, dict) and isinstance(part.get("config"), dict) and config is not None:
                part["config"].update(store.add(dumped(config)))
        for number, entry in enumerate(listed(documents["index"], "manifests")):
            if isinstance(entry, dict) and documents.get(f"part {number}") is not None:
                entry.update(store.add(dumped(documents[f"part {number}"])))
        digest = str(store.add(dumped(documents["index"]))["digest"])
        store.names["run"] = digest
        for kind in ("sig", "att"):
            manifest = documents[kind]
            for number, layer in enumerate(listed(manifest, "layers")):
                if isinstance(layer, dict) and documents.get(f"{kind} {number}") is not None:
                    layer.update(store.add(dumped(documents[f"{kind} {number}"])))
            store.names[f"{digest.replace(':', '-')}.{kind}"] = str(store.add(dumped(manifest))["digest"])
        return store, digest


def listed(document: Any, key: str) -> list[Any]:
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, list) else []


def dumped(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture(scope="module")
def signed_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> SignedRun:
    folder = tmp_path_factory.mktemp("hostile")
    keys.generate(folder / "key")
    shutil.copytree(finished_run, folder / "run")
    return build(folder / "run", folder / "key")


@pytest.fixture(scope="module")
def honest(signed_run: SignedRun) -> Honest:
    blobs = {f"sha256:{path.name}": path.read_bytes() for path in (signed_run.layout / "blobs/sha256").iterdir()}
    documents = {"index": json.loads(blobs[signed_run.digest])}
    files = {}
    for number, digest in enumerate(signed_run.manifests):
        part = json.loads(blobs[digest])
        documents[f"part {number}"] = part
        documents[f"config {number}"] = json.loads(blobs[part["config"]["digest"]])
        files |= {layer["annotations"][TITLE]: blobs[layer["digest"]] for layer in part["layers"]}
    names = signed_run.tags()
    for kind in ("sig", "att"):
        documents[kind] = json.loads(blobs[names[f"{signed_run.digest.replace(':', '-')}.{kind}"]])
        for number, layer in enumerate(documents[kind]["layers"]):
            documents[f"{kind} {number}"] = json.loads(blobs[layer["digest"]])
    key = keys.PublicKey.load(signed_run.public_key)
    return Honest(blobs, names, documents, files, signed_run.digest, key, signed_run.layout)


def look(honest: Honest, store: Memory, named: Named) -> Verification:
    """Look at evidence in every way there is, and return what `verify` says."""
    everything = Expected(
        key=honest.key,
        model_digest=f"sha256:{'d' * 64}",
        max_age=10**9,
        require_pass=True,
        mlflow_tags=lambda run_id: {"evalhub.verdict": "pass", "evalhub.evidence_digest": str(named.digest)},
    )
    done = verify(store, named, everything)
    json.dumps(done.as_json())
    with tempfile.TemporaryDirectory() as folder:
        beside, target = Path(folder) / "beside", Path(folder) / "in" / "target"
        beside.write_text("mine")
        for number, write in enumerate((pull.pull, pull.copy)):
            refused = refusal(partial(write, store, named, target / str(number)))
            assert refused is None or not (target / str(number)).exists()
        assert not any(path.is_symlink() for path in target.rglob("*"))
        assert sorted(path.name for path in Path(folder).iterdir()) in (["beside"], ["beside", "in"])
        assert beside.read_text() == "mine"
        assert not target.exists() or {path.name for path in target.iterdir()} <= {"0", "1"}
    refusal(lambda: json.dumps(summarise(store, named, honest.key).as_json()))
    return done


def refusal(work: Callable[[], object]) -> EvalHubError | None:
    """Return the error for people that `work` raises; any other goes on its way."""
    try:
        work()
    except EvalHubError as error:
        return error
    return None


def test_the_honest_evidence_passes_every_look(honest: Honest) -> None:
    done = look(honest, Memory(honest.blobs, honest.names), Named(digest=honest.digest))
    assert {each.state for each in done.checks} == {"ok"}
    store, digest = honest.store(honest.documents, honest.files)
    assert [each.name for each in look(honest, store, Named(digest=digest)).checks if each.state == "failed"] == [
        "signature",
        "attestations",
    ]


# fuzzing

paths = st.sampled_from(
    ["../x", "/tmp/x", "a/../../x", "a\0b", "a\nb", "RUN.JSON", "run.json/x", "", ".", "\ud800", "x" * 300]
)
digests = st.sampled_from([f"sha256:{'0' * 64}", "sha256:", "sha512:00", "sha256:../../x", f"sha256:{'F' * 64}"])
numbers = st.sampled_from([-1, 0, 1, 2**63, 10**400, 1.5, float("nan"), float("inf"), 1e308, True])
scalars = st.one_of(st.none(), numbers, paths, digests, st.text(max_size=10), st.integers())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def change(data: st.DataObject, document: Any) -> Any:
    """Return the document with something in it replaced, removed, repeated or added."""
    if not isinstance(document, dict | list) or not document or data.draw(st.integers(0, 9)) == 0:
        return data.draw(values)
    document = copy.copy(document)
    places: list[Any] = list(document) if isinstance(document, dict) else list(range(len(document)))
    place = data.draw(st.sampled_from(places))
    action = data.draw(st.sampled_from(["in it", "in it", "in it", "replace", "remove", "repeat"]))
    if action == "in it":
        document[place] = change(data, document[place])
    elif action == "replace":
        document[place] = data.draw(values)
    elif action == "remove":
        del document[place]
    elif isinstance(document, list):
        document.append(document[place])
    else:
        document[data.draw(st.text(max_size=8))] = document[place]
    return document


@fuzzing
@given(data=st.data())
def test_whatever_the_documents_say_there_is_an_answer(honest: Honest, data: st.DataObject) -> None:
    documents = dict(honest.documents)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(documents)))
        documents[name] = change(data, documents[name])
    store, digest = honest.store(documents, honest.files)
    assert look(honest, store, Named(digest=digest)).exit_status in (0, 1, 2)


@fuzzing
@given(data=st.data())
def test_whatever_the_files_say_there_is_an_answer(honest: Honest, data: st.DataObject) -> None:
    files = dict(honest.files)
    title = data.draw(st.sampled_from(sorted(title for title in files if not title.endswith((".md", ".txt")))))
    content = files[title]
    if title.endswith(".json"):
        files[title] = dumped(change(data, json.loads(content)))
    else:
        start = data.draw(st.integers(0, len(content)))
        files[title] = content[:start] + data.draw(st.binary(max_size=40)) + content[start:]
    if title != "SHA256SUMS" and data.draw(st.booleans()):
        before, after = (hashlib.sha256(each).hexdigest().encode() for each in (content, files[title]))
        files["SHA256SUMS"] = files["SHA256SUMS"].replace(before, after)
    store, digest = honest.store(honest.documents, files)
    done = look(honest, store, Named(digest=digest))
    assert done.exit_status == (0 if digest == honest.digest else 1)


@fuzzing
@given(data=st.data(), content=st.binary(max_size=300))
def test_whatever_bytes_there_are_there_is_an_answer(honest: Honest, data: st.DataObject, content: bytes) -> None:
    documents = {**honest.documents, data.draw(st.sampled_from(sorted(honest.documents))): content}
    store, digest = honest.store(documents, honest.files)
    assert look(honest, store, Named(digest=digest)).exit_status in (0, 1)


@fuzzing
@given(data=st.data())
def test_no_signature_holds_but_the_one_that_was_made(honest: Honest, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["sig", "att"]))
    names = [name for name in honest.documents if name.startswith(kind)]
    documents = {name: honest.documents[name] for name in names}
    name = data.draw(st.sampled_from(sorted(documents)))
    documents[name] = change(data, documents[name])
    store = Memory(dict(honest.blobs), dict(honest.names))
    manifest = copy.deepcopy(documents[kind])
    for number, layer in enumerate(listed(manifest, "layers")):
        if isinstance(layer, dict) and name == f"{kind} {number}":
            layer.update(store.add(dumped(documents[name])))
    store.names[f"{honest.digest.replace(':', '-')}.{kind}"] = str(store.add(dumped(manifest))["digest"])
    done = look(honest, store, Named(digest=honest.digest))
    check = {"sig": "signature", "att": "attestations"}[kind]
    assert {each.name for each in done.checks if each.state == "failed"} <= {check}
    if name == "sig 0" and documents[name] != honest.documents[name]:
        assert done.state(check) == "failed"


entries = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": values,
        "digest": st.one_of(values, digests),
        "size": values,
        "annotations": st.one_of(values, st.dictionaries(st.just("org.opencontainers.image.ref.name"), values)),
    },
)
indexes = st.one_of(
    st.binary(max_size=200),
    st.one_of(values, st.fixed_dictionaries({"manifests": st.one_of(values, st.lists(entries, max_size=3))})),
)


@fuzzing
@given(index=indexes, honest_too=st.booleans())
def test_whatever_a_layout_says_there_is_an_answer(honest: Honest, index: Any, honest_too: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layout"
        path.mkdir()
        (path / "blobs").symlink_to(honest.folder / "blobs")
        if honest_too and isinstance(index, dict):
            own = json.loads((honest.folder / "index.json").read_bytes())["manifests"]
            index = {**index, "manifests": [*listed(index, "manifests"), *own]}
        (path / "index.json").write_bytes(dumped(index))

        def opened_and_verified() -> None:
            found = evidence_store.opened(str(path))
            assert verify(found.store, found.named, Expected()).exit_status in (0, 1, 2)

        refusal(opened_and_verified)


# what is worth a name


def test_a_layout_of_links_gives_nothing_away(honest: Honest, tmp_path: Path) -> None:
    shutil.copytree(honest.folder, tmp_path / "layout")
    (tmp_path / "secret").write_text("the password")
    blob = tmp_path / "layout/blobs/sha256" / hashlib.sha256(honest.files["plan.json"]).hexdigest()
    blob.unlink()
    blob.symlink_to(tmp_path / "secret")
    found = evidence_store.opened(f"{tmp_path / 'layout'}@{honest.digest}")
    done = verify(found.store, found.named, Expected())
    assert done.exit_status == 2
    assert "the password" not in json.dumps(done.as_json())
    with pytest.raises(EvalHubError, match="cannot be read"):
        pull.pull(found.store, found.named, tmp_path / "pulled")


def test_a_pipe_in_a_layout_is_not_waited_for(honest: Honest, tmp_path: Path) -> None:
    shutil.copytree(honest.folder, tmp_path / "layout")
    blob = tmp_path / "layout/blobs/sha256" / hashlib.sha256(honest.files["plan.json"]).hexdigest()
    blob.unlink()
    os.mkfifo(blob)
    found = evidence_store.opened(f"{tmp_path / 'layout'}@{honest.digest}")
    assert verify(found.store, found.named, Expected()).exit_status == 2


def with_layer(honest: Honest, content: bytes, title: str, **annotations: str) -> tuple[Memory, str]:
    """Return a store with one more layer in the run's manifest."""
    documents = copy.deepcopy(honest.documents)
    media_type = "application/vnd.oci.image.layer.v1.tar+gzip" if annotations else "text/plain"
    layer = {"mediaType": media_type, "annotations": {TITLE: title, **annotations}}
    documents["part 0"]["layers"].append(layer)
    return honest.store(documents, {**honest.files, title: content})


def bomb(size: int) -> bytes:
    info = tarfile.TarInfo("bomb/zeros")
    info.size = size
    page = io.BytesIO()
    with gzip.GzipFile(fileobj=page, mode="wb", mtime=0) as stream:
        stream.write(info.tobuf(tarfile.PAX_FORMAT))
        for _ in range(size >> 20):
            stream.write(bytes(2**20))
    return page.getvalue()


def traced(work: Callable[[], Any]) -> int:
    """Return the most memory that Python held during `work`, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_does_not_go_off(honest: Honest, tmp_path: Path) -> None:
    unpacking = {"io.deis.oras.content.unpack": "true", "io.deis.oras.content.digest": f"sha256:{'0' * 64}"}
    store, digest = with_layer(honest, bomb(2**29), "bomb", **unpacking)
    found: list[Verification] = []
    held = traced(lambda: found.append(verify(store, Named(digest=digest), Expected())))
    assert held < 32 * 2**20
    (detail,) = [each.detail for each in found[0].checks if each.name == "blobs"]
    assert "bomb: bomb: unpacks to more than its" in detail
    with pytest.raises(EvalHubError, match="unpacks to more than its"):
        pull.pull(store, Named(digest=digest), tmp_path / "pulled")
    assert list(tmp_path.iterdir()) == []


@dataclass
class Endless(Memory):
    """A registry that never ends a blob."""

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        def pieces() -> Iterator[bytes]:
            while True:
                yield bytes(2**16)

        return checked(pieces(), digest, size, self.place)


def test_a_registry_that_never_ends_a_blob_is_cut_off(honest: Honest) -> None:
    store = Endless(dict(honest.blobs), dict(honest.names))
    done = verify(store, Named(digest=honest.digest), Expected())
    (detail,) = [each.detail for each in done.checks if each.name == "blobs"]
    assert (done.exit_status, done.state("blobs")) == (1, "failed")
    assert "bytes it should have" in detail


@dataclass
class Large(Memory):
    """A registry with one large file of zeros, which is made while it is read."""

    large: str = ""
    size: int = 0

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        if digest != self.large:
            return super().blob(digest, size)
        return checked((bytes(2**20) for _ in range(self.size >> 20)), digest, size, self.place)


def test_a_large_file_is_never_in_memory_as_a_whole(honest: Honest, tmp_path: Path) -> None:
    size = 2**28
    sha256 = hashlib.sha256()
    for _ in range(size >> 20):
        sha256.update(bytes(2**20))
    documents = copy.deepcopy(honest.documents)
    layer = {
        "mediaType": "x/y",
        "digest": f"sha256:{sha256.hexdigest()}",
        "size": size,
        "annotations": {TITLE: "large"},
    }
    documents["part 0"]["layers"].append(layer)
    sums = honest.files["SHA256SUMS"] + f"{sha256.hexdigest()}  large\n".encode()
    files = {**honest.files, "SHA256SUMS": sums}
    made, digest = honest.store(documents, {**files, "large": b""} if "large" in files else files)
    store = Large(made.blobs, made.names, large=f"sha256:{sha256.hexdigest()}", size=size)
    assert traced(lambda: verify(store, Named(digest=digest), Expected())) < 32 * 2**20
    assert traced(lambda: pull.pull(store, Named(digest=digest), tmp_path / "pulled")) < 32 * 2**20
    assert (tmp_path / "pulled/large").stat().st_size == size
