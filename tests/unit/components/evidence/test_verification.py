"""What `verify` makes of evidence that hashes rightly and yet is not what it should be."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evalhub_components import atomic
from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.evidence.building import artifact
from evalhub_components.evidence.layout import Layout
from evalhub_components.evidence.reading.tree import Named
from evalhub_components.evidence.verification import contents
from evalhub_components.evidence.verification.outcome import Verification
from evalhub_components.evidence.verification.verifier import Expected, verify
from evalhub_components.evidence.vocabulary import BUNDLE_TYPE, INDEX_TYPE
from evalhub_components.run_directory import load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")
TITLE = "org.opencontainers.image.title"
EVALHUB = "io.github.eval-hub."
NOW = datetime(2026, 1, 2, 4, 4, 1, tzinfo=UTC)  # an hour after the results were complete


@dataclass
class Forger:
    """Whoever can write a layout: changes documents and files, and mends every digest above them.

    Attributes:
        index, parts, configs: the documents, to be changed in place.
    """

    layout: Path
    index: Any
    parts: list[Any]
    configs: list[Any]

    @classmethod
    def of(cls, layout: Path, digest: str) -> Forger:
        def read(digest: str) -> Any:
            return json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())

        index = read(digest)
        parts = [read(entry["digest"]) for entry in index["manifests"]]
        return cls(layout, index, parts, [read(part["config"]["digest"]) for part in parts])

    def add(self, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (self.layout / "blobs/sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    def file(self, title: str, content: bytes, part: int = 0, **annotations: str) -> None:
        """Put a file in place of the one with this title, or beside the others."""
        layers = self.parts[part]["layers"]
        found = [layer for layer in layers if layer["annotations"][TITLE] == title]
        if not found:
            media_type = BUNDLE_TYPE if annotations else "text/plain"
            found = [{"mediaType": media_type, "annotations": {TITLE: title, **annotations}}]
            layers += found
        found[0].update(self.add(content))

    def read(self, title: str) -> bytes:
        layers = [layer for part in self.parts for layer in part["layers"]]
        digest = next(layer["digest"] for layer in layers if layer["annotations"][TITLE] == title)
        return (self.layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def edit(self, title: str, change: Callable[[Any], None]) -> None:
        document = json.loads(self.read(title))
        change(document)
        part = next(n for n, p in enumerate(self.parts) if title in [x["annotations"][TITLE] for x in p["layers"]])
        self.file(title, json.dumps(document).encode(), part)

    def sums(self, files: Mapping[str, str] | None = None) -> None:
        """Write SHA256SUMS over all files; `files` are those in bundles."""
        plain = {
            layer["annotations"][TITLE]: layer["digest"].removeprefix("sha256:")
            for part in self.parts
            for layer in part["layers"]
            if layer["mediaType"] != BUNDLE_TYPE
        }
        plain.pop("SHA256SUMS", None)
        lines = [f"{digest}  {title}\n" for title, digest in sorted({**plain, **(files or {})}.items())]
        self.file("SHA256SUMS", "".join(lines).encode())

    def digest(self) -> str:
        """Return the digest of the whole as it is now."""
        for part, config in zip(self.parts, self.configs, strict=True):
            if config is not None:
                part["config"].update(self.add(json.dumps(config).encode()))
        for entry, part in zip(self.index["manifests"], self.parts, strict=False):
            if isinstance(entry, dict) and part is not None:
                entry.update(self.add(json.dumps(part).encode()))
        return str(self.add(json.dumps(self.index).encode())["digest"])

    def verify(self, **expected: Any) -> Verification:
        return check(self.layout, self.digest(), **expected)


def check(layout: Path, digest: str, **expected: Any) -> Verification:
    return verify(Layout(layout), Named(digest=digest), Expected(**expected), now=NOW)


def detail(done: Verification, name: str) -> str:
    (found,) = [each for each in done.checks if each.name == name]
    return f"{found.state}: {found.detail}"


def failed(done: Verification) -> list[str]:
    return [each.name for each in done.checks if each.state == "failed"]


def build(path: Path) -> Forger:
    run = load(path)
    verdict = run.judge()
    atomic.write_json(path / "verdict.json", verdict.as_json())
    atomic.write_json(path / "environment.json", {"schema_version": 1})
    return Forger.of(path / "evidence", artifact.build(run, verdict).digest)


@pytest.fixture
def forger(tmp_path: Path, write_run: Callable[..., Path]) -> Forger:
    return build(write_run(tmp_path / "run", benchmarks=("arc", "mmlu")))


def test_a_forger_who_changes_nothing_is_not_noticed(forger: Forger) -> None:
    done = forger.verify()
    assert (done.exit_status, failed(done), done.verdict) == (0, [], "pass")
    assert detail(done, "verdict").endswith("samples confirm 2 of 2 scores")
    assert any("anybody can make evidence" in statement for statement in done.statements)


def test_a_benchmark_that_left_an_empty_folder_leaves_evidence_that_verifies(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    path = write_run(tmp_path / "run", benchmarks=("arc", "mmlu"))
    folder = next((path / "benchmarks").glob("*arc*"))
    shutil.rmtree(folder)
    (folder / "raw").mkdir(parents=True)
    (folder / ".results.json.x.part").write_text("{")
    done = build(path).verify()
    assert (done.exit_status, failed(done), done.verdict) == (0, [], "error")


def test_every_check_is_there_once_and_in_order(forger: Forger) -> None:
    integrity = ["pinned", "manifests", "tag", "blobs", "checksums"]
    content = ["signature", "attestations", "verdict", "pass", "model", "age", "mlflow"]
    assert [each.name for each in forger.verify(require_pass=True).checks] == [*integrity, *content]


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.index.update(artifactType="application/x"), "its artifactType is 'application/x'"),
        (lambda f: f.index.pop("artifactType"), "it has no artifactType"),
        (lambda f: f.index.update(artifactType=["x"]), "it has no artifactType"),
        (lambda f: f.index.update(manifests={}), "manifests: must be a list"),
        (lambda f: f.index.update(manifests=[1]), "manifests[0]: is no descriptor"),
        (lambda f: f.index.update(manifests=f.index["manifests"][:1] * 2), "lists a manifest twice"),
        (lambda f: f.index["manifests"][1].update(mediaType=INDEX_TYPE), "which is no manifest"),
        (lambda f: f.index.update(layers=[]), "is an index and a manifest at once"),
        (lambda f: f.index.update(annotations={"a": 1}), "annotations: must be texts"),
        (lambda f: f.index.update(annotations=[1]), "annotations: must be texts"),
        (lambda f: f.index.update(schemaVersion=1), "is no application/vnd.oci.image.index"),
        (lambda f: f.index.update(schemaVersion=2, mediaType=MANIFEST), "is no application/vnd.oci.image.index"),
        (lambda f: f.index.update(extra=json.loads("[" * 70 + "]" * 70)), "is nested too deeply"),
        (lambda f: f.index.update(extra=float("nan")), "it holds NaN"),
        (lambda f: f.parts[1].update(manifests=[]), "is an index and a manifest at once"),
        (lambda f: f.parts[1].update(config=None), "config: is no descriptor"),
        (lambda f: f.parts[1]["config"].update(mediaType="application/json"), "its config is no evidence.json"),
        (lambda f: f.parts[1].update(layers="x"), "layers: must be a list"),
        (lambda f: f.parts[1]["layers"][0].update(digest="sha512:" + "0" * 128), "a sha256 digest"),
        (lambda f: f.parts[1]["layers"][0].update(digest="sha256:" + "A" * 64), "a sha256 digest"),
        (lambda f: f.parts[1]["layers"][0].update(digest=DIGEST + "/../../../etc/passwd"), "a sha256 digest"),
        (lambda f: f.parts[1]["layers"][0].update(size=True), "must have a size"),
        (lambda f: f.parts[1]["layers"][0].update(size=-1), "must have a size"),
        (lambda f: f.parts[1]["layers"][0].update(size=10**30), "must have a size"),
        (lambda f: f.parts[1]["layers"][0].update(size=1.5), "must have a size"),
        (lambda f: f.parts[1]["layers"][0].update(annotations=None), f"layers[0]: has no {TITLE}"),
        (lambda f: f.parts[1]["layers"][0]["annotations"].update({TITLE: 7}), "annotations: must be texts"),
    ],
)
def test_what_is_no_manifest_of_evidence_fails(forger: Forger, change: Callable[[Forger], Any], said: str) -> None:
    forger.configs = [None] * len(forger.configs)
    change(forger)
    done = forger.verify()
    assert (done.exit_status, failed(done)) == (1, ["manifests"])
    assert said in detail(done, "manifests")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"schemaVersion": 2, "schemaVersion": 2}', "it says 'schemaVersion' twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is no JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"\xff\xfe", "is no JSON"),
        (b"", "is no JSON"),
        (b"[]", "is no evidence of a run"),
        (b"null", "is no evidence of a run"),
        (b"{}" + b" " * (4 * 2**20), "is larger than any manifest"),
    ],
    ids=["twice", "integer", "deep", "encoding", "empty", "list", "null", "large"],
)
def test_an_index_that_is_no_document_fails(forger: Forger, content: bytes, said: str) -> None:
    done = check(forger.layout, forger.add(content)["digest"])
    assert (done.exit_status, failed(done)) == (1, ["manifests"])
    assert said in detail(done, "manifests")


def test_an_index_that_lists_itself_is_not_followed(forger: Forger) -> None:
    digest = forger.digest()
    forger.index["manifests"].append({"mediaType": INDEX_TYPE, "digest": digest, "size": 1})
    done = forger.verify()
    assert failed(done) == ["manifests"]
    assert f"lists {digest}, which is no manifest" in detail(done, "manifests")


def test_a_manifest_of_another_size_than_its_index_says_fails(forger: Forger) -> None:
    forger.digest()
    forger.index["manifests"][1]["size"] += 1
    forger.parts, forger.configs = [None] * 3, [None] * 3
    done = forger.verify()
    assert failed(done) == ["manifests"]
    assert "and the index says" in detail(done, "manifests")


@pytest.mark.parametrize(
    ("titles", "said"),
    [
        (["../../etc/passwd"], "is no path of a file inside the run"),
        (["/etc/passwd"], "is no path of a file inside the run"),
        (["benchmarks/../../x"], "is no path of a file inside the run"),
        (["benchmarks//x"], "is no path of a file inside the run"),
        (["benchmarks/./x"], "is no path of a file inside the run"),
        (["x/"], "is no path of a file inside the run"),
        ([""], "is no path of a file inside the run"),
        (["a\nb"], "control characters"),
        (["a\0b"], "control characters"),
        (["a\x1b[31mb"], "control characters"),
        (["a\ud800"], "control characters"),
        (["a" * 300], "is too long"),
        (["a/" * 100 + "b"], "is too long"),
        (["a/" * 3000 + "b"], "is too long"),
        (["Run.json"], "one name"),
        (["x", "X"], "one name"),
        (["x/a", "X/b"], "one name"),
        (["é", "e\u0301"], "one name"),
        (["run.json/x"], "is a file, and a folder"),
    ],
)
def test_files_that_could_not_be_written_safely_fail_and_are_not_judged(
    forger: Forger, titles: list[str], said: str
) -> None:
    for number, title in enumerate(titles):
        forger.file(title, str(number).encode())
    done = forger.verify()
    assert (done.exit_status, failed(done)) == (1, ["blobs"])
    assert said in detail(done, "blobs")
    assert detail(done, "verdict") == "not checked: its files cannot be told apart"


def test_two_files_of_one_name_fail(forger: Forger) -> None:
    forger.parts[1]["layers"].append(forger.parts[0]["layers"][0])
    done = forger.verify()
    assert failed(done) == ["blobs"]
    assert "two files have this name" in detail(done, "blobs")


def test_a_size_larger_than_the_blob_fails(forger: Forger) -> None:
    forger.parts[1]["layers"][0]["size"] += 1
    done = forger.verify()
    assert failed(done) == ["blobs"]
    assert "instead of" in detail(done, "blobs")


def test_more_bytes_than_any_run_has_are_not_even_begun(forger: Forger) -> None:
    forger.parts[1]["layers"][0]["size"] = 60 * 2**30
    forger.parts[1]["layers"][1]["size"] = 60 * 2**30
    done = forger.verify()
    assert failed(done) == ["blobs"]
    assert "has more than 64 GiB" in detail(done, "blobs")


# bundles


def tar(*members: tuple[str, bytes | None], **changes: Any) -> bytes:
    """A tar of files; folders have no content."""
    page = io.BytesIO()
    for name, content in members:
        info = tarfile.TarInfo(name)
        info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
        info.size = len(content or b"")
        for key, value in changes.items():
            if content is not None:
                setattr(info, key, value)
        page.write(info.tobuf(tarfile.PAX_FORMAT))
        page.write((content or b"") + bytes(-len(content or b"") % 512))
    return page.getvalue() + bytes(1024)


def stored(content: bytes) -> bytes:
    return gzip.compress(content, 0, mtime=0)


RAW = "benchmarks/000-arc/more"


def put_bundle(forger: Forger, layer: bytes, inside: bytes, files: Mapping[str, bytes]) -> None:
    unpacking = {
        "io.deis.oras.content.unpack": "true",
        "io.deis.oras.content.digest": f"sha256:{hashlib.sha256(inside).hexdigest()}",
    }
    forger.file(RAW, layer, 1, **unpacking)
    forger.sums({title: hashlib.sha256(content).hexdigest() for title, content in files.items()})


FILES = {f"{RAW}/a.txt": b"a" * 700, f"{RAW}/{'deep/' * 30}ü.txt": b"", f"{RAW}/b": b"b" * 512}


def test_a_bundle_is_its_files(forger: Forger) -> None:
    inside = tar((RAW, None), *FILES.items())
    put_bundle(forger, stored(inside), inside, FILES)
    done = forger.verify()
    assert (done.exit_status, failed(done)) == (0, [])


def test_a_bundled_file_that_sha256sums_does_not_know_fails(forger: Forger) -> None:
    inside = tar((RAW, None), *FILES.items(), (f"{RAW}/extra", b"x"))
    put_bundle(forger, stored(inside), inside, FILES)
    done = forger.verify()
    assert failed(done) == ["checksums"]
    assert f"{RAW}/extra: is not in SHA256SUMS" in detail(done, "checksums")


def test_a_bundled_file_that_was_edited_fails(forger: Forger) -> None:
    inside = tar((RAW, None), *{**FILES, f"{RAW}/b": b"c" * 512}.items())
    put_bundle(forger, stored(inside), inside, FILES)
    done = forger.verify()
    assert failed(done) == ["checksums"]
    assert f"{RAW}/b: is not the file that SHA256SUMS lists" in detail(done, "checksums")


ONE = {f"{RAW}/a": b"a"}
PLAIN = tar(*ONE.items())


@pytest.mark.parametrize(
    ("layer", "inside", "said"),
    [
        (gzip.compress(tar((f"{RAW}/a", bytes(10_000_000)))), None, "unpacks to more than its"),
        (stored(PLAIN)[:-9], PLAIN, "its gzip stream has no end"),
        (stored(PLAIN) + b"more", PLAIN, "something behind its gzip stream"),
        (stored(PLAIN) + stored(PLAIN), PLAIN, "something behind its gzip stream"),
        (PLAIN, PLAIN, "is no gzip stream"),
        (b"", b"", "its gzip stream has no end"),
        (stored(b""), b"", "its tar ends early"),
        (stored(PLAIN[:-1024]), PLAIN[:-1024], "its tar ends early"),
        (stored(PLAIN[:700]), PLAIN[:700], "its tar ends early"),
        (stored(PLAIN + bytes(512)), PLAIN + bytes(512), "something behind the end of its tar"),
        (stored(PLAIN), b"other", "the tar inside is not sha256:"),
        (stored(b"x" * 2048), b"x" * 2048, "is no tar"),
        (stored(tar((f"{RAW}/../../x", b"a"))), None, "outside of its folder"),
        (stored(tar(("/etc/passwd", b"a"))), None, "outside of its folder"),
        (stored(tar(("benchmarks/000-arc/results.json", b"a"))), None, "outside of its folder"),
        (stored(tar((f"{RAW}/../x", None))), None, "outside of its folder"),
        (stored(tar((f"{RAW}/a", b""), type=tarfile.SYMTYPE, linkname="/etc/passwd")), None, "is no plain file"),
        (stored(tar((f"{RAW}/a", b""), type=tarfile.LNKTYPE, linkname="/etc/passwd")), None, "is no plain file"),
        (stored(tar((f"{RAW}/a", b""), type=tarfile.CHRTYPE)), None, "is no plain file"),
        (stored(tar((f"{RAW}/a", b""), type=tarfile.FIFOTYPE)), None, "is no plain file"),
        (stored(tar((f"{RAW}/a", b""), type=tarfile.GNUTYPE_SPARSE)), None, "is no plain file"),
        (stored(tar((f"{RAW}/a", b"a"), pax_headers={"mtime": "1.5"})), None, "a header that no bundle made here has"),
        (stored(tar((f"{RAW}/a", b"a"), pax_headers={"path": "/etc/passwd"})), None, "outside of its folder"),
        (stored(tar((f"{RAW}/a", b"a"), pax_headers={"size": "-1"})), None, "has no proper size"),
        (stored(tar((f"{RAW}/a", b"a"), pax_headers={"size": "9" * 17})), None, "its tar ends early"),
        (stored(tar((f"{RAW}/a", b"a"), pax_headers={"path": "x" * 70_000})), None, "a name that is too long"),
        (stored(tar((f"{RAW}/a", b"a"), (f"{RAW}/a", b"b"))), None, "twice, or more than"),
    ],
)
def test_a_bundle_that_is_none_of_ours_fails(forger: Forger, layer: bytes, inside: bytes | None, said: str) -> None:
    put_bundle(forger, layer, gzip.decompress(layer) if inside is None else inside, ONE)
    done = forger.verify()
    assert (done.exit_status, failed(done)) == (1, ["blobs"])
    assert f"{RAW}: " in detail(done, "blobs")
    assert said in detail(done, "blobs")


def test_a_bundle_that_was_edited_on_disk_says_so_rather_than_what_is_wrong_inside(forger: Forger) -> None:
    put_bundle(forger, stored(PLAIN), PLAIN, ONE)
    digest = hashlib.sha256(stored(PLAIN)).hexdigest()
    broken = bytearray(stored(PLAIN))
    broken[40] ^= 1
    (forger.layout / "blobs/sha256" / digest).write_bytes(broken)
    done = forger.verify()
    assert failed(done) == ["blobs"]
    assert "has other content" in detail(done, "blobs")


# checksums


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.file("SHA256SUMS", b"x\n"), "line 1: must be a SHA-256 and a name"),
        (lambda f: f.file("SHA256SUMS", b""), "line 1: must be a SHA-256 and a name"),
        (lambda f: f.file("SHA256SUMS", b"\xff"), "is no UTF-8"),
        (lambda f: f.file("SHA256SUMS", f.read("SHA256SUMS") * 2), "two files have this name"),
        (
            lambda f: f.file("SHA256SUMS", f.read("SHA256SUMS") + b"0" * 64 + b"  ../x\n"),
            "is no path of a file inside the run",
        ),
        (lambda f: f.file("SHA256SUMS", f.read("SHA256SUMS") + b"0" * 64 + b"  x\n"), "lists x, which is not there"),
        (lambda f: f.file("extra.txt", b""), "extra.txt: is not in SHA256SUMS"),
        (lambda f: f.file("report.md", b"PASS"), "report.md: is not the file that SHA256SUMS lists"),
        (lambda f: f.parts[0]["layers"].pop(0), "there is no SHA256SUMS"),
    ],
    ids=["line", "empty", "encoding", "twice", "path", "missing", "extra", "other", "none"],
)
def test_sums_that_are_not_those_of_the_files_fail(forger: Forger, change: Callable[[Forger], Any], said: str) -> None:
    assert forger.parts[0]["layers"][0]["annotations"][TITLE] == "SHA256SUMS"
    change(forger)
    done = forger.verify()
    assert (done.exit_status, failed(done)) == (1, ["checksums"])
    assert said in detail(done, "checksums")


# the verdict


@pytest.mark.parametrize(
    ("title", "content", "said"),
    [
        ("verdict.json", b"[]", "verdict.json says None"),
        ("verdict.json", b"pass", "verdict.json: is no JSON"),
        ("verdict.json", b'{"verdict": "pass"}', "verdict.json: benchmarks says None"),
        ("verdict.json", b'{"verdict": "pass", "reasons": 1, "benchmarks": 7}', "verdict.json: benchmarks says 7"),
        ("verdict.json", b"[" * 100_000, "verdict.json: is nested too deeply"),
        ("plan.json", b"[]", "cannot be judged"),
        ("plan.json", b"[" * 100_000, "plan.json: is nested too deeply"),
        ("plan.json", b'{"header": {}, "tasks": []}', "cannot be judged: plan.json: "),
        ("run.json", b"7", "cannot be judged: run.json: "),
        ("run.json", b"", "cannot be judged"),
    ],
)
def test_documents_that_are_none_fail_the_verdict(forger: Forger, title: str, content: bytes, said: str) -> None:
    forger.file(title, content)
    forger.sums()
    done = forger.verify()
    assert (done.exit_status, failed(done)) == (1, ["verdict"])
    assert said in detail(done, "verdict")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.index["annotations"].update({f"{EVALHUB}verdict": "fail"}), "annotations: verdict says fail"),
        (lambda f: f.parts[2]["annotations"].update({f"{EVALHUB}verdict": "fail"}), "annotations: verdict says fail"),
        (lambda f: f.index["annotations"].pop(f"{EVALHUB}verdict"), "annotations: verdict says None"),
        (lambda f: f.index["annotations"].update({f"{EVALHUB}model": "gpt"}), "annotations: model says gpt"),
        (lambda f: f.index["annotations"].update({f"{EVALHUB}run_id": "x"}), "annotations: run_id says x"),
        (lambda f: f.configs[0]["verdict"].update(score=0.9), "evidence.json: verdict.score says 0.9"),
        (lambda f: f.configs[0].update(verdict=None), "evidence.json: verdict says None"),
        (lambda f: f.configs[0].update(fingerprint=DIGEST), "evidence.json: fingerprint says"),
        (lambda f: f.configs[0].update(judge={"name": "gpt"}), "evidence.json: judge says"),
        (lambda f: f.configs[0]["model"].update(name="gpt"), "evidence.json: model.name says gpt"),
        (lambda f: f.configs[1]["test"].update(score=1), "evidence.json: test.score says 1"),
        (lambda f: f.configs[1].update(test=[]), "names no benchmark of the plan, or one twice"),
        (lambda f: f.configs[1]["test"].update(benchmark_index=1), "evidence.json: test.benchmark_id says arc"),
        (lambda f: f.configs[2].update(f.configs[1]), "names no benchmark of the plan, or one twice"),
        (lambda f: f.configs[1]["test"].update(benchmark_index=9), "names no benchmark of the plan, or one twice"),
        (lambda f: f.configs[1].update(kind="run"), "must be one of the run"),
        (lambda f: f.configs[1].update(kind={}), "must be one of the run"),
        (lambda f: f.configs[2].update(run_id="other"), "evidence.json: run_id says other"),
    ],
)
def test_whatever_tells_another_verdict_or_run_than_the_files_fails(
    forger: Forger, change: Callable[[Forger], Any], said: str
) -> None:
    change(forger)
    done = forger.verify()
    assert (done.exit_status, failed(done)) == (1, ["verdict"])
    assert said in detail(done, "verdict")


def test_a_config_that_is_no_object_fails(forger: Forger) -> None:
    forger.configs[1] = []
    done = forger.verify()
    assert "blobs" in failed(done)
    assert "is no JSON object" in detail(done, "blobs")


def test_a_benchmark_that_was_left_out_changes_the_verdict(forger: Forger) -> None:
    for documents in (forger.index["manifests"], forger.parts, forger.configs):
        del documents[1]
    forger.sums()
    done = forger.verify()
    assert (failed(done), done.verdict) == (["verdict"], "error")
    assert "results and criteria come to error (000-arc has" in detail(done, "verdict")


def test_reasons_in_the_words_of_another_version_are_mentioned(forger: Forger) -> None:
    forger.edit("verdict.json", lambda verdict: verdict.update(reasons=["in other words"]))
    forger.sums()
    done = forger.verify()
    assert (done.exit_status, failed(done)) == (0, [])
    assert "its reasons were worded by another version" in detail(done, "verdict")


def test_the_last_digits_of_a_score_may_be_those_of_another_machine(forger: Forger) -> None:
    forger.edit("verdict.json", lambda verdict: verdict.update(probability=verdict["probability"] * (1 + 1e-12)))
    forger.sums()
    assert forger.verify().exit_status == 0


def test_scores_that_no_samples_confirm_are_named(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run")
    (path / "benchmarks/001-gsm8k/samples.jsonl").unlink()
    done = build(path).verify()
    assert detail(done, "verdict").endswith("samples confirm 2 of 3 scores, not 001-gsm8k")


def test_more_samples_than_are_judged_leave_the_question_open(forger: Forger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_MAX_SAMPLES", 7)
    done = forger.verify()
    assert (done.exit_status, failed(done), done.verdict) == (2, [], None)
    said = "could not check: more results than are judged here: benchmarks/00"
    assert detail(done, "verdict").startswith(said)


# what the user expects


def test_a_verdict_that_is_not_pass_fails_only_when_pass_is_required(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    forger = build(write_run(tmp_path / "run", results={0: {"status": "failed", "metrics": {}, "reason": "crashed"}}))
    assert (forger.verify().exit_status, forger.verify().verdict) == (0, "error")
    done = forger.verify(require_pass=True)
    assert (done.exit_status, failed(done)) == (1, ["pass"])
    assert detail(done, "pass") == "failed: the verdict is error"


def test_a_pass_on_fewer_examples_than_its_collection_asks_for_is_not_the_pass_that_is_required(
    tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    forger = build(write_run(tmp_path / "run", record={"num_examples": 2}))
    assert (forger.verify().exit_status, forger.verify().verdict) == (0, "pass")
    done = forger.verify(require_pass=True)
    assert (done.exit_status, failed(done)) == (1, ["pass"])
    assert detail(done, "pass").startswith("failed: the verdict is pass, limited: on fewer examples")


@pytest.mark.parametrize(
    ("max_age", "state"), [(3600, "ok"), (3599, "failed"), (None, "not checked")], ids=["within", "too old", "no limit"]
)
def test_the_age_is_that_of_the_results(forger: Forger, max_age: int | None, state: str) -> None:
    done = forger.verify(max_age=max_age)
    assert detail(done, "age").startswith(f"{state}: ")
    assert "complete at 2026-01-02T03:04:01Z, 60 minutes ago" in detail(done, "age")


def test_results_of_the_future_are_not_young(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    path = write_run(tmp_path / "run", results={0: {"completed_at": "2026-01-02T05:04:02Z"}})
    done = build(path).verify(max_age=3600)
    assert failed(done) == ["age"]
    assert "yet to come" in detail(done, "age")


def test_a_date_that_is_not_that_of_the_results_fails(forger: Forger) -> None:
    forger.index["annotations"]["org.opencontainers.image.created"] = "2026-01-02T04:00:00Z"
    done = forger.verify(max_age=3600)
    assert failed(done) == ["age"]
    assert "org.opencontainers.image.created says 2026-01-02T04:00:00Z" in detail(done, "age")


def test_places_that_name_different_models_fail(tmp_path: Path, write_run: Callable[..., Path]) -> None:
    forger = build(write_run(tmp_path / "run", record={"model_digest": DIGEST}))
    assert forger.verify(model_digest=DIGEST).state("model") == "ok"
    other = f"sha256:{'1' * 64}"
    forger.configs[0]["model"]["digest"] = other
    done = forger.verify(model_digest=DIGEST)
    assert "model" in failed(done)
    assert f"run.json says {DIGEST}, evidence.json says {other}" in detail(done, "model")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({}, "ok: run r-20260102 names this digest and this verdict"),
        ({"evalhub.verdict": "fail"}, "failed: run r-20260102: evalhub.verdict is fail, not pass"),
        ({"evalhub.evidence_digest": DIGEST}, f"failed: run r-20260102: evalhub.evidence_digest is {DIGEST}, not"),
        ({"evalhub.evidence_digest": None}, "failed: run r-20260102: evalhub.evidence_digest is missing, not"),
        (NotFound("MLflow: has no such run"), "could not check: MLflow: has no such run"),
    ],
    ids=["agree", "verdict", "digest", "missing", "no run"],
)
def test_mlflow_is_to_name_this_evidence(forger: Forger, tags: Any, said: str) -> None:
    digest = forger.digest()

    def tags_of(run_id: str) -> dict[str, str]:
        assert run_id == "r-20260102"
        if isinstance(tags, EvalHubError):
            raise tags
        found = {"evalhub.verdict": "pass", "evalhub.evidence_digest": digest, "mlflow.user": "x", **tags}
        return {name: value for name, value in found.items() if value is not None}

    assert detail(check(forger.layout, digest, mlflow_tags=tags_of), "mlflow").startswith(said)


def test_a_run_id_that_no_tag_can_have_is_asked_of_nobody(forger: Forger) -> None:
    forger.index["annotations"][f"{EVALHUB}run_id"] = "../../v2/x"
    assert detail(forger.verify(), "tag") == "not checked: no tag is known"


def test_nothing_under_the_name_is_said_once(forger: Forger) -> None:
    done = verify(Layout(forger.layout), Named(tag="nightly"), Expected(), now=NOW)
    assert (done.exit_status, [each.name for each in done.checks]) == (2, ["found"])
    assert "has no manifest nightly" in detail(done, "found")


class Silent(Layout):
    """A layout that stops answering at the first blob."""

    def blob(self, digest: str, size: int) -> Any:
        raise EvalHubError("registry.example: does not answer")


def test_a_registry_that_stops_answering_leaves_the_question_open(forger: Forger) -> None:
    done = verify(Silent(forger.layout), Named(digest=forger.digest()), Expected(), now=NOW)
    assert (done.exit_status, failed(done)) == (2, [])
    assert "registry.example: does not answer; " in detail(done, "blobs")
    assert "more" in detail(done, "blobs")
