"""The evidence of a run as one OCI artifact: an index over the run's own manifest and one manifest per benchmark.

The same finished run directory gives the same bytes and the same digest on any machine: nothing of the clock, the user,
the path or the locale of the publishing step enters them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from evalhub_components import canonical
from evalhub_components.errors import EvalHubError
from evalhub_components.evidence import layout
from evalhub_components.evidence.bundle import Bundle, KeptFile
from evalhub_components.evidence.kept_files import check_unique, kept_file, kept_files
from evalhub_components.evidence.layout import Blob, LayoutWriter, TaggedManifest
from evalhub_components.records import report
from evalhub_components.run_directory import LoadedRun, instant
from evalhub_components.schema.plan import BenchmarkTask
from evalhub_components.schema.verdict import BenchmarkTest, Verdict

if TYPE_CHECKING:
    from olot.oci.oci_image_manifest import ContentDescriptor

ARTIFACT_TYPE = "application/vnd.evalhub.evidence.v1"
CONFIG_TYPE = "application/vnd.evalhub.evidence.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
BUNDLE_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
RUN_FILES = ("environment.json", "fingerprint.json", "plan.json", "run.json", "verdict.json")
BUNDLE_ABOVE = 256

_EVALHUB = "io.github.eval-hub."
_TITLE = "org.opencontainers.image.title"
_CREATED = "org.opencontainers.image.created"
# a table of our own: the standard library's depends on the machine's files
_MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".html": "text/html",
}


@dataclass(frozen=True)
class Evidence:
    """The evidence in a layout.

    Attributes:
        digest: of the index; it stands for the whole run.
        manifests: the index first, then the run's own manifest, then one per benchmark in the plan's order.
    """

    digest: str
    manifests: Sequence[TaggedManifest]


def build(run: LoadedRun, verdict: Verdict) -> Evidence:
    """Write the evidence of a judged run to its `evidence/` folder, in place of what was there.

    Raises:
        EvalHubError: a file cannot be kept, or cannot be read or written; the message names it.
        MissingExtra: the OCI libraries are not installed.
    """
    layout.require_libraries()
    try:
        return _Builder(run, verdict).build()
    except OSError as error:
        raise EvalHubError(f"{run.path / 'evidence'}: the evidence cannot be written ({error})") from error


def benchmark_tag(job_id: str, task: BenchmarkTask) -> str:
    """Return the tag of a benchmark's manifest: EvalHub's formula, the same for the same configuration."""
    key = f"{job_id}:{task.provider_id}:{task.benchmark_id}:{task.index}"
    return f"evalhub-{hashlib.sha256(key.encode()).hexdigest()}"


class _Builder:
    def __init__(self, run: LoadedRun, verdict: Verdict) -> None:
        self._run = run
        self._verdict = verdict
        self._writer = LayoutWriter(run.path / "evidence")
        self._sums: dict[str, str] = {}
        self._created = _created(run)

    def build(self) -> Evidence:
        run = self._run
        files = {index: kept_files(run.path, folder) for index, folder in run.folders.items()}
        titles = [file.title for kept in files.values() for file in kept]
        check_unique([*titles, *RUN_FILES, "report.md", "SHA256SUMS"])
        benchmarks = [
            self._benchmark(run.plan.tasks[index], test, files[index])
            for index, test in enumerate(self._verdict.benchmarks)
            if files.get(index)
        ]
        own = self._run_manifest()
        index = self._index(own, benchmarks)
        manifests = (index, own, *benchmarks)
        self._writer.commit(manifests)
        return Evidence(index.blob.digest, manifests)

    def _benchmark(self, task: BenchmarkTask, test: BenchmarkTest, files: Sequence[KeptFile]) -> TaggedManifest:
        config = {
            "schema_version": 1,
            "kind": "benchmark",
            "run_id": self._run.record.run_id,
            "job_id": self._run.record.job_id,
            "task_digest": self._run.plan.header.task_digests[task.index],
            "test": test.as_json(),
        }
        blob = self._manifest(config, self._layers(files), self._benchmark_annotations(task))
        return _tagged(MANIFEST_TYPE, blob, benchmark_tag(self._run.record.job_id, task))

    def _run_manifest(self) -> TaggedManifest:
        run, verdict = self._run, self._verdict
        layers = [
            self._file_layer(kept_file(run.path, run.path / name)) for name in RUN_FILES if (run.path / name).exists()
        ]
        layers.append(self._text_layer("report.md", report.render(run, verdict)))
        sums = "".join(_sum_line(title, self._sums[title]) for title in sorted(self._sums, key=str.encode))
        layers.append(self._text_layer("SHA256SUMS", sums))
        config = {
            "schema_version": 1,
            "kind": "run",
            "run_id": run.record.run_id,
            "job_id": run.record.job_id,
            "model": {"url": run.record.model_url, "name": run.record.model_name},
            "fingerprint": run.fingerprint.digest() if run.fingerprint else None,
            "verdict": verdict.model_copy(update={"benchmarks": []}).as_json(),
            "created": self._created,
        }
        return _tagged(MANIFEST_TYPE, self._manifest(config, layers, self._annotations()))

    def _index(self, own: TaggedManifest, benchmarks: Sequence[TaggedManifest]) -> TaggedManifest:
        from olot.oci.oci_image_index import Manifest, create_oci_image_index

        entries = [
            Manifest(
                mediaType=manifest.media_type,
                size=manifest.blob.size,
                digest=manifest.blob.digest,
                urls=None,
                data=None,
                artifactType=None,
            )
            for manifest in (own, *benchmarks)
        ]
        index = create_oci_image_index(artifactType=ARTIFACT_TYPE, manifests=entries, annotations=self._annotations())
        return _tagged(INDEX_TYPE, self._writer.add_model(index), f"run-{self._run.record.run_id}")

    def _manifest(
        self, config: Mapping[str, Any], layers: Sequence[ContentDescriptor], annotations: Mapping[str, str]
    ) -> Blob:
        from olot.oci.oci_image_manifest import create_oci_image_manifest

        manifest = create_oci_image_manifest(
            artifactType=ARTIFACT_TYPE,
            config=_descriptor(CONFIG_TYPE, self._writer.add([canonical.dumps(config)]), {}),
            layers=sorted(layers, key=lambda layer: str((layer.annotations or {})[_TITLE]).encode()),
            annotations=dict(annotations),
        )
        return self._writer.add_model(manifest)

    def _layers(self, files: Sequence[KeptFile]) -> list[ContentDescriptor]:
        """Return a layer for each file; the framework's own files become one layer when they are many."""
        raw = [file for file in files if PurePosixPath(file.title).parts[2] == "raw" and file.title.count("/") > 2]
        if len(raw) <= BUNDLE_ABOVE:
            return [self._file_layer(file) for file in files]
        bundle = Bundle("/".join(PurePosixPath(raw[0].title).parts[:3]), raw)
        bundled = self._bundle_layer(bundle)
        kept_apart = set(files) - set(raw)
        return [bundled, *(self._file_layer(file) for file in files if file in kept_apart)]

    def _file_layer(self, file: KeptFile) -> ContentDescriptor:
        blob = self._writer.add(layout.read_chunks(file.path))
        return self._titled(file.title, blob)

    def _text_layer(self, title: str, text: str) -> ContentDescriptor:
        return self._titled(title, self._writer.add([text.encode()]))

    def _titled(self, title: str, blob: Blob) -> ContentDescriptor:
        self._sums[title] = blob.digest.removeprefix("sha256:")
        media_type = _MEDIA_TYPES.get(PurePosixPath(title).suffix, "application/octet-stream")
        return _descriptor(media_type, blob, {_TITLE: title})

    def _bundle_layer(self, bundle: Bundle) -> ContentDescriptor:
        blob = self._writer.add(bundle.chunks())
        self._sums.update(bundle.file_digests)
        unpacking = {"io.deis.oras.content.unpack": "true", "io.deis.oras.content.digest": bundle.tar_digest}
        return _descriptor(BUNDLE_TYPE, blob, {_TITLE: bundle.folder, **unpacking})

    def _annotations(self) -> dict[str, str]:
        run, verdict = self._run, self._verdict
        return {
            f"{_EVALHUB}job_id": run.record.job_id,
            f"{_EVALHUB}job": run.record.job_id,
            f"{_EVALHUB}run_id": run.record.run_id,
            f"{_EVALHUB}collection_id": verdict.collection_id,
            f"{_EVALHUB}collection_version": verdict.collection_version,
            f"{_EVALHUB}model": run.record.model_name,
            f"{_EVALHUB}verdict": verdict.verdict,
            **({f"{_EVALHUB}limited": "true"} if verdict.limited else {}),
            _CREATED: self._created,
        }

    def _benchmark_annotations(self, task: BenchmarkTask) -> dict[str, str]:
        return {
            **self._annotations(),
            f"{_EVALHUB}benchmark_id": task.benchmark_id,
            f"{_EVALHUB}benchmark": task.benchmark_id,
            f"{_EVALHUB}benchmark_index": str(task.index),
            f"{_EVALHUB}provider_id": task.provider_id,
            f"{_EVALHUB}provider": task.provider_id,
        }


def _tagged(media_type: str, blob: Blob, *tags: str) -> TaggedManifest:
    # registries' garbage collection deletes untagged manifests, also those that only an index names
    return TaggedManifest(media_type, blob, (*tags, f"evidence-{blob.digest.removeprefix('sha256:')}"))


def _descriptor(media_type: str, blob: Blob, annotations: Mapping[str, str]) -> ContentDescriptor:
    from olot.oci.oci_image_manifest import ContentDescriptor

    return ContentDescriptor(
        mediaType=media_type,
        size=blob.size,
        digest=blob.digest,
        urls=None,
        data=None,
        artifactType=None,
        annotations=dict(annotations) or None,
    )


def _created(run: LoadedRun) -> str:
    """Return when the results were complete, as RFC 3339 asks: never the time of publishing."""
    for timestamp in (run.completed_at(), run.record.started_at):
        moment = instant(timestamp) if timestamp else None
        if moment:
            return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raise EvalHubError(f"{run.path / 'run.json'}: started_at: must be an ISO 8601 time, got {run.record.started_at!r}")


def _sum_line(title: str, digest: str) -> str:
    """Return a line as `sha256sum` writes it; it marks a name with a backslash by one at the start of the line."""
    if "\\" in title:
        escaped = title.replace("\\", "\\\\")
        return f"\\{digest}  {escaped}\n"
    return f"{digest}  {title}\n"
