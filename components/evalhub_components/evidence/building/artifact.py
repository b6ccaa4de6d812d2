"""The evidence of a run as one OCI artifact: an index over the run's own manifest and one manifest per benchmark.

The same finished run directory gives the same bytes and the same digest on any machine: nothing of the clock, the user,
the path or the locale of the publishing step enters them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from evalhub_components.errors import EvalHubError
from evalhub_components.evidence import layout
from evalhub_components.evidence.building import manifests
from evalhub_components.evidence.building.bundle import Bundle, KeptFile
from evalhub_components.evidence.building.description import Description
from evalhub_components.evidence.building.kept_files import check_unique, kept_file, kept_files
from evalhub_components.evidence.layout import Blob, LayoutWriter, TaggedManifest
from evalhub_components.records import report
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.plan import BenchmarkTask
from evalhub_components.schema.verdict import BenchmarkTest, Verdict

if TYPE_CHECKING:
    from olot.oci.oci_image_manifest import ContentDescriptor

    from evalhub_components.evidence.signing.keys import SigningKey

RUN_FILES = ("environment.json", "eval-card.json", "fingerprint.json", "plan.json", "run.json", "verdict.json")
BUNDLE_ABOVE = 256


@dataclass(frozen=True)
class Evidence:
    """The evidence in a layout.

    Attributes:
        digest: of the index; it stands for the whole run.
        manifests: the index first, then the run's own manifest, then one per benchmark in the plan's order, then the
            signature and the attestations.
    """

    digest: str
    manifests: Sequence[TaggedManifest]


def build(run: LoadedRun, verdict: Verdict, key: SigningKey | None = None, repository: str = "") -> Evidence:
    """Write the evidence of a judged run to its `evidence/` folder, in place of what was there.

    Args:
        run: as loaded; its record says how the evidence is called and which model it belongs to.
        verdict: of this run.
        key: signs the evidence; None leaves it unsigned.
        repository: `host/repository` that the signature is for; empty when the evidence goes nowhere.

    Raises:
        EvalHubError: a file cannot be kept, or cannot be read or written; the message names it.
        MissingExtra: the OCI libraries are not installed.
    """
    layout.require_libraries()
    try:
        return _Builder(run, verdict).build(key, repository)
    except OSError as error:
        raise EvalHubError(f"{run.path / 'evidence'}: the evidence cannot be written ({error})") from error


class _Builder:
    def __init__(self, run: LoadedRun, verdict: Verdict) -> None:
        self._run = run
        self._verdict = verdict
        self._writer = LayoutWriter(run.path / "evidence")
        self._sums: dict[str, str] = {}
        self._says = Description(run, verdict)

    def build(self, key: SigningKey | None, repository: str) -> Evidence:
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
        subject, annotations, tags = run.record.subject, self._says.annotations(), self._says.tags()
        index = manifests.index(self._writer, [own, *benchmarks], annotations, tags, subject)
        signed = self._signed(index, key, repository) if key else []
        written = (index, own, *benchmarks, *signed)
        self._writer.commit(written)
        return Evidence(index.blob.digest, written)

    def _signed(self, index: TaggedManifest, key: SigningKey, repository: str) -> list[TaggedManifest]:
        from evalhub_components.evidence.signing import signatures, statements

        facts = statements.Facts(self._run, self._verdict, index.blob.digest, self._sums)
        said = [statements.test_result(facts), statements.provenance(facts)]
        return [
            signatures.signature(self._writer, key, index.blob, repository),
            signatures.attestations(self._writer, key, index.blob, said),
        ]

    def _benchmark(self, task: BenchmarkTask, test: BenchmarkTest, files: Sequence[KeptFile]) -> TaggedManifest:
        config, annotations = self._says.benchmark_config(task, test), self._says.benchmark_annotations(task)
        tags = self._says.benchmark_tags(task)
        return manifests.manifest(self._writer, config, self._layers(files), annotations, tags)

    def _run_manifest(self) -> TaggedManifest:
        run, verdict = self._run, self._verdict
        layers = [
            self._file_layer(kept_file(run.path, run.path / name)) for name in RUN_FILES if (run.path / name).exists()
        ]
        layers.append(self._text_layer("report.md", report.render(run, verdict)))
        sums = "".join(_sum_line(title, self._sums[title]) for title in sorted(self._sums, key=str.encode))
        layers.append(self._text_layer("SHA256SUMS", sums))
        return manifests.manifest(self._writer, self._says.config(), layers, self._says.annotations())

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
        return manifests.file_layer(title, blob)

    def _bundle_layer(self, bundle: Bundle) -> ContentDescriptor:
        blob = self._writer.add(bundle.chunks())
        self._sums.update(bundle.file_digests)
        return manifests.bundle_layer(bundle, blob)


def _sum_line(title: str, digest: str) -> str:
    """Return a line as `sha256sum` writes it; it marks a name with a backslash by one at the start of the line."""
    if "\\" in title:
        escaped = title.replace("\\", "\\\\")
        return f"\\{digest}  {escaped}\n"
    return f"{digest}  {title}\n"
