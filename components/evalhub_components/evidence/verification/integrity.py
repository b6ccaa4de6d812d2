"""Whether the evidence is what its digest says, down to the last file."""

from __future__ import annotations

from evalhub_components.errors import EvalHubError, NotFound
from evalhub_components.evidence.reading import checksums
from evalhub_components.evidence.reading.tree import Named
from evalhub_components.evidence.reading.untrusted_json import NotEvidence
from evalhub_components.evidence.reference import is_tag
from evalhub_components.evidence.store import Store
from evalhub_components.evidence.verification.contents import Contents
from evalhub_components.evidence.verification.outcome import Check, of_errors

_RUN_ID = "io.github.eval-hub.run_id"


def pinned(named: Named, digest: str) -> Check:
    """Return whether the user named the evidence by its digest."""
    if named.digest:
        return Check("pinned", "ok", f"named by its digest {digest}")
    what = f"the tag {named.tag} names {digest} today" if named.tag else f"the layout holds {digest} today"
    return Check("pinned", "note", f"not named by its digest: {what}, and may name something else tomorrow")


def manifests(contents: Contents) -> Check:
    """Return whether the index and every manifest that it lists hash to their digests."""
    entries = contents.tree.index.entries if contents.tree else ()
    plural = "" if len(entries) == 1 else "s"
    return of_errors(
        "manifests",
        contents.manifest_errors,
        f"the index and its {len(entries)} manifest{plural} hash to their digests",
    )


def tag(store: Store, named: Named, digest: str, contents: Contents) -> Check:
    """Return whether the tag, that of the run unless another was named, still names the evidence."""
    wanted = named.tag
    if wanted is None and contents.tree is not None:
        wanted = f"run-{contents.tree.index.annotations.get(_RUN_ID, '')}"
    if wanted is None or not is_tag(wanted):
        return Check("tag", "not checked", "no tag is known")
    try:
        found = store.resolve(wanted).digest
    except NotFound:
        return Check("tag", "note", f"there is no tag {wanted} any more")
    except EvalHubError as error:
        return of_errors("tag", [error], "")
    if found == digest:
        return Check("tag", "ok", f"{wanted} names it")
    return Check("tag", "note", f"{wanted} has moved on to {found}")


def blobs(contents: Contents) -> Check:
    """Return whether every blob has the size and the digest that its manifest says."""
    if contents.tree is None:
        return Check("blobs", "not checked", "the index could not be read")
    found = list(contents.tree.blobs)
    size = sum(descriptor.size for _, descriptor in found)
    count = (
        f"{len(contents.files)} files in {len(found)} blobs, {size} bytes: each has its descriptor's size and digest"
    )
    return of_errors("blobs", contents.blob_errors, count)


def sums(contents: Contents) -> Check:
    """Return whether SHA256SUMS lists exactly the files that there are."""
    if not contents.is_complete:
        return Check("checksums", "not checked", "not every file could be read")
    try:
        if checksums.TITLE in contents.too_large or checksums.TITLE not in contents.files:
            raise NotEvidence(f"there is no {checksums.TITLE} of at most {checksums.MAX_BYTES >> 20} MiB")
        listed = checksums.read((contents.folder / checksums.TITLE).read_bytes())
        checksums.check(listed, contents.files)
    except NotEvidence as error:
        return of_errors("checksums", [error], "")
    return Check("checksums", "ok", f"{checksums.TITLE} lists exactly these files, with these digests")
