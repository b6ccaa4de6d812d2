"""Each way to tamper with evidence, and the check that says what happened."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from evidence_runs import REF_NAME, SignedRun, build, edit, finished_run, key, set_score, signed, verify

from evalhub_components import canonical
from evalhub_components.evidence.layout import LayoutWriter
from evalhub_components.evidence.signing import keys
from evalhub_components.run_directory import load

__all__ = ["finished_run", "key", "signed"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")

RESULTS = "benchmarks/000-a/results.json"


@pytest.fixture
def forged(signed: SignedRun, tmp_path: Path) -> SignedRun:
    """The same run with worse results that were made better, by somebody without the key."""
    path = tmp_path / "forged"
    shutil.copytree(signed.path, path)
    set_score(path, "000-a", 1.0)
    return build(path, None)


def signature_tag(digest: str) -> str:
    return f"sha256-{digest.removeprefix('sha256:')}.sig"


def attestation_tag(digest: str) -> str:
    return f"sha256-{digest.removeprefix('sha256:')}.att"


def run_tag(run: SignedRun) -> str:
    return f"run-{load(run.path).record.run_id}"


def add_tag(run: SignedRun, tag: str, digest: str) -> None:
    """Add a tag beside those that are there."""
    media_type = "application/vnd.oci.image.manifest.v1+json"
    size = run.blob(digest).stat().st_size
    entry = {"mediaType": media_type, "digest": digest, "size": size, "annotations": {REF_NAME: tag}}
    edit(run.layout / "index.json", lambda index: index["manifests"].append(entry))


def write_blob(run: SignedRun, content: bytes) -> dict[str, Any]:
    """Write a blob as whoever may write to a registry does, and return its descriptor's digest and size."""
    blob = LayoutWriter(run.layout).add([content])
    return {"digest": blob.digest, "size": blob.size}


def test_untouched_evidence_holds(signed: SignedRun) -> None:
    done = verify(signed.pinned, "--key", signed.public_key)
    assert done.status == 0
    states = {each["check"]: each["state"] for each in done.json["checks"]}
    asked = ("pinned", "manifests", "tag", "blobs", "checksums", "signature", "attestations", "verdict")
    assert {states[name] for name in asked} == {"ok"}
    assert done.json["verdict"] == "pass"


@pytest.mark.parametrize("title", [RESULTS, "benchmarks/001-b/log.txt", "plan.json", "SHA256SUMS", "report.md"])
def test_an_edited_blob_of_the_same_size_is_named(signed: SignedRun, title: str) -> None:
    digest = signed.layer(title)
    content = signed.blob(digest).read_bytes()
    signed.blob(digest).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["blobs"])
    assert f"{title}: " in done.check("blobs")
    assert f"{digest}: has other content" in done.check("blobs")
    assert done.check("checksums").startswith("not checked")
    # what is judged without that file is still judged
    judged = title in (RESULTS, "plan.json")
    assert done.check("verdict").startswith("not checked" if judged else "ok")
    assert done.json["statements"] == ["Do not rely on this evidence: see blobs."]


def test_a_truncated_blob_is_named(signed: SignedRun) -> None:
    digest = signed.layer(RESULTS)
    content = signed.blob(digest).read_bytes()
    signed.blob(digest).write_bytes(content[:-1])
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["blobs"])
    assert f"{RESULTS}: " in done.check("blobs")
    assert f"is {len(content) - 1} bytes long instead of {len(content)}" in done.check("blobs")


def test_an_index_rewritten_on_disk_is_seen(signed: SignedRun) -> None:
    edit(signed.blob(signed.digest), lambda index: index["annotations"].update({"io.github.eval-hub.verdict": "fail"}))
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["manifests"])
    assert f"manifest {signed.digest}: has other content (it hashes to sha256:" in done.check("manifests")
    assert done.check("verdict") == "not checked: the index could not be read"


def test_a_benchmarks_manifest_rewritten_on_disk_is_seen(signed: SignedRun) -> None:
    digest = signed.manifests[1]
    edit(signed.blob(digest), lambda manifest: manifest["layers"].pop())
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["manifests"])
    assert f"manifest {digest}: has other content" in done.check("manifests")
    assert done.check("verdict") == f"not checked: manifest {digest} could not be read"


def test_a_tag_moved_to_forged_unsigned_evidence_fails_by_its_name_alone(signed: SignedRun, forged: SignedRun) -> None:
    signed.take_over(forged)
    signed.point(run_tag(signed), forged.digest)
    by_tag = verify(f"{signed.layout}@{forged.digest}", "--key", signed.public_key)
    assert (by_tag.status, by_tag.failed) == (1, ["signature", "attestations"])
    assert by_tag.check("signature").startswith("failed: the evidence is unsigned")
    pinned = verify(signed.pinned, "--key", signed.public_key)
    assert (pinned.status, pinned.failed) == (0, [])
    assert pinned.check("tag") == f"note: {run_tag(signed)} has moved on to {forged.digest}"


def test_a_layout_whose_only_run_was_exchanged_fails_by_its_signature(signed: SignedRun, forged: SignedRun) -> None:
    signed.take_over(forged)
    for tag in (run_tag(signed), f"evidence-{signed.digest.removeprefix('sha256:')}"):
        signed.point(tag, forged.digest)
    done = verify(signed.path, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["signature", "attestations"])
    assert done.check("pinned").startswith("note: not named by its digest")
    assert done.json["digest"] == forged.digest


def test_evidence_signed_by_another_key_is_not_taken_for_ours(signed: SignedRun, tmp_path: Path) -> None:
    keys.generate(tmp_path / "other-key")
    shutil.copytree(signed.path, tmp_path / "forged")
    set_score(tmp_path / "forged", "000-a", 1.0)
    forged = build(tmp_path / "forged", tmp_path / "other-key")
    signed.take_over(forged)
    signed.point(run_tag(signed), forged.digest)
    for tag in (signature_tag(forged.digest), attestation_tag(forged.digest)):
        add_tag(signed, tag, forged.tags()[tag])
    done = verify(f"{signed.layout}@{forged.digest}", "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["signature", "attestations"])
    mine = keys.PublicKey.load(signed.public_key).key_id
    assert done.check("signature") == (
        f"failed: not signed by key {mine}: layer 1: is not signed by this key, or was changed since"
    )
    assert done.check("attestations").startswith("failed: no test-result and no provenance that key")


def test_a_replaced_signature_does_not_hold(signed: SignedRun, tmp_path: Path) -> None:
    keys.generate(tmp_path / "other-key")
    shutil.copytree(signed.path, tmp_path / "other")
    other = build(tmp_path / "other", tmp_path / "other-key")
    assert other.digest == signed.digest
    signed.take_over(other)
    tag = signature_tag(signed.digest)
    signed.point(tag, other.tags()[tag])
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["signature"])
    assert "is not signed by this key, or was changed since" in done.check("signature")


def test_a_signature_of_another_run_does_not_count(signed: SignedRun, tmp_path: Path) -> None:
    shutil.copytree(signed.path, tmp_path / "other")
    set_score(tmp_path / "other", "000-a", 1.0)
    other = build(tmp_path / "other", signed.key)
    signed.take_over(other)
    signed.point(signature_tag(signed.digest), other.tags()[signature_tag(other.digest)])
    signed.point(attestation_tag(signed.digest), other.tags()[attestation_tag(other.digest)])
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["signature", "attestations"])
    assert f"for '{other.digest}': it was taken from other evidence" in done.check("signature")
    assert "is about something else: it was taken from other evidence" in done.check("attestations")


@pytest.mark.parametrize(("tag_of", "name"), [(signature_tag, "signature"), (attestation_tag, "attestations")])
def test_what_was_deleted_beside_the_evidence_is_missed_when_a_key_is_given(
    signed: SignedRun, tag_of: Any, name: str
) -> None:
    signed.point(tag_of(signed.digest), None)
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, [name])
    assert f"(there is no tag {tag_of(signed.digest)})" in done.check(name)
    assert verify(signed.pinned).status == 0


def test_an_edited_attestation_does_not_hold(signed: SignedRun) -> None:
    tag = attestation_tag(signed.digest)
    manifest = signed.manifest(signed.tags()[tag])
    layer = manifest["layers"][0]
    envelope = json.loads(signed.blob(layer["digest"]).read_bytes())
    payload = base64.b64decode(envelope["payload"]).replace(b"PASSED", b"FAILED")
    envelope["payload"] = base64.b64encode(payload).decode()
    layer.update(write_blob(signed, canonical.dumps(envelope)))
    signed.point(tag, write_blob(signed, canonical.dumps(manifest))["digest"])
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["attestations"])
    assert "no test-result that key" in done.check("attestations")
    assert "layer 1: is not signed by this key, or was changed since" in done.check("attestations")


@pytest.mark.parametrize("position", [0, 1, 2], ids=["index", "run", "benchmark"])
def test_a_deleted_manifest_is_named_and_leaves_the_question_open(signed: SignedRun, position: int) -> None:
    digest = [signed.digest, *signed.manifests][position]
    signed.blob(digest).unlink()
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (2, [])
    assert done.check("manifests").startswith("could not check")
    assert digest.removeprefix("sha256:") in done.check("manifests")


def test_a_deleted_blob_is_named_and_leaves_the_question_open(signed: SignedRun) -> None:
    signed.blob(signed.layer("benchmarks/001-b/log.txt")).unlink()
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (2, [])
    assert done.check("blobs").startswith("could not check: benchmarks/001-b/log.txt: ")
    assert done.check("verdict").startswith("ok")


def test_a_deleted_blob_beside_an_edited_one_is_a_failure(signed: SignedRun) -> None:
    signed.blob(signed.layer("benchmarks/001-b/log.txt")).unlink()
    signed.blob(signed.layer(RESULTS)).write_bytes(b"{}")
    done = verify(signed.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["blobs"])
    assert "log.txt" in done.check("blobs")


def test_results_edited_and_rehashed_without_the_key_are_not_signed(signed: SignedRun) -> None:
    before = signed.tags()[signature_tag(signed.digest)]
    old = signed.blob(before).read_bytes(), signed.layout.parent / "old"
    shutil.copytree(signed.layout, old[1])
    set_score(signed.path, "000-a", 1.0)
    forged = build(signed.path, None)
    # the old signature under the new digest is the best that can be done
    shutil.copytree(old[1] / "blobs", forged.layout / "blobs", dirs_exist_ok=True)
    add_tag(forged, signature_tag(forged.digest), before)
    done = verify(forged.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["signature", "attestations"])
    assert f"for '{signed.digest}': it was taken from other evidence" in done.check("signature")
    # everything else is as if it had been measured
    assert done.check("verdict").startswith("ok: pass")


def rehash_with_threshold(path: Path, threshold: float) -> None:
    """Lower what a run directory's benchmarks must reach, and mend every digest that follows from it."""
    plan = json.loads((path / "plan.json").read_bytes())
    digests = {}
    for task in plan["tasks"]:
        before = canonical.digest(task)
        task["threshold"] = {"value": threshold, "source": "benchmark"}
        digests[before] = canonical.digest(task)
    plan["header"].update(threshold=threshold, task_digests=[digests[each] for each in plan["header"]["task_digests"]])
    (path / "plan.json").write_text(json.dumps(plan))
    edit(path / "run.json", lambda record: record.update(plan_digest=canonical.digest(plan["header"])))
    for results in path.glob("benchmarks/*/results.json"):
        edit(results, lambda content: content.update(task_digest=digests[content["task_digest"]]))


def test_thresholds_edited_and_rehashed_without_the_key_are_not_signed(signed: SignedRun, tmp_path: Path) -> None:
    for slug in ("000-a", "001-b"):
        set_score(signed.path, slug, 0.25)
    failed = build(signed.path, signed.key)
    assert verify(failed.pinned, "--key", signed.public_key).json["verdict"] == "fail"
    shutil.copytree(signed.path, tmp_path / "forged")
    rehash_with_threshold(tmp_path / "forged", 0.2)
    forged = build(tmp_path / "forged", None)
    done = verify(forged.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["signature", "attestations"])
    assert done.check("verdict").startswith("ok: pass")


def test_a_signed_verdict_that_does_not_follow_from_the_results_fails(signed: SignedRun) -> None:
    passed = load(signed.path).judge()
    set_score(signed.path, "000-a", 0.0)
    lying = build(signed.path, signed.key, verdict=passed)
    done = verify(lying.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["attestations", "verdict"])
    assert done.check("signature").startswith("ok")
    assert "verdict.json says pass, but results and criteria come to fail (" in done.check("verdict")
    assert "the test-result says result: PASSED, and the verdict comes to FAILED" in done.check("attestations")
    assert done.json["verdict"] == "fail"


def test_a_signed_score_that_was_rounded_up_fails(signed: SignedRun) -> None:
    honest = load(signed.path).judge()
    lying = build(signed.path, signed.key, verdict=honest.model_copy(update={"score": 0.9}))
    done = verify(lying.pinned, "--key", signed.public_key)
    assert (done.status, done.failed) == (1, ["verdict"])
    assert done.check("verdict") == "failed: verdict.json: score says 0.9, and it comes to 0.75"


def test_old_evidence_is_not_taken_for_that_of_a_new_model(signed: SignedRun) -> None:
    new = f"sha256:{'e' * 64}"
    done = verify(signed.pinned, "--key", signed.public_key, "--model-digest", new)
    assert (done.status, done.failed) == (1, ["model"])
    assert done.check("model") == (
        f"failed: the evidence is about the model sha256:{'d' * 64}, and {new} was asked for"
    )
    assert verify(signed.pinned, "--key", signed.public_key, "--model-digest", f"sha256:{'d' * 64}").status == 0


def test_evidence_without_a_models_digest_is_of_no_model_in_particular(signed: SignedRun) -> None:
    edit(signed.path / "run.json", lambda record: record.update(model_digest=None))
    anonymous = build(signed.path, signed.key)
    wanted = f"sha256:{'d' * 64}"
    done = verify(anonymous.pinned, "--key", signed.public_key, "--model-digest", wanted)
    assert (done.status, done.failed) == (1, ["model"])
    assert done.check("model") == f"failed: the evidence names no digest of its model, and {wanted} was asked for"


def test_old_evidence_is_too_old(signed: SignedRun) -> None:
    for results in signed.path.glob("benchmarks/*/results.json"):
        edit(results, lambda content: content.update(completed_at="2026-01-02T03:04:05Z"))
    old = build(signed.path, signed.key)
    done = verify(old.pinned, "--key", signed.public_key, "--max-age", "2d")
    assert (done.status, done.failed) == (1, ["age"])
    assert "complete at 2026-01-02T03:04:05Z, " in done.check("age")
    assert "more than the 2 days allowed" in done.check("age")
