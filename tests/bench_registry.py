"""Figures of pushing evidence to a real registry on this machine, beside those of skopeo for the same layout."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench_figures import figure, wall

sys.path.insert(0, str(Path(__file__).parent / "integration"))

from registries import RunningRegistry, running_registry
from report_runs import Entry, write_run

from evalhub_components import atomic, canonical
from evalhub_components.evidence import layout
from evalhub_components.evidence.building import artifact
from evalhub_components.evidence.building.bundle import Bundle, KeptFile
from evalhub_components.evidence.layout import Blob, LayoutWriter, TaggedManifest
from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry.push import push
from evalhub_components.evidence.registry.registry import Registry
from evalhub_components.evidence.signing import keys
from evalhub_pipelines.verification import verify

MIB = 2**20
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_ROUNDS = 3
_PUSH = """\
import sys, time
from pathlib import Path
from evalhub_components.evidence.registry.push import push
from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry.registry import Registry
started = time.perf_counter()
push(Path(sys.argv[1]), Registry(Reference.parse(sys.argv[2])))
seconds = time.perf_counter() - started
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(seconds, int(peak) * 1024)
"""


class Push(NamedTuple):
    """What a push took: seconds of the whole process, of the push alone, and its peak memory in bytes."""

    process: float
    push: float
    memory: int


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        large_file(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        many_files(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        small_run(Path(folder))


def large_file(folder: Path) -> None:
    """Memory and wall time of pushing 1 GiB, against skopeo in turns, each time to an empty registry."""
    writer = LayoutWriter(folder / "layout")
    commit(writer, [writer.add(os.urandom(MIB) for _ in range(1024))])
    pairs = []
    for number in range(_ROUNDS):
        with running_registry(folder / f"ours-{number}") as registry:
            ours = pushed(folder / "layout", registry)
        shutil.rmtree(folder / f"ours-{number}")
        if shutil.which("skopeo"):
            with running_registry(folder / f"skopeo-{number}") as registry:
                theirs = by_skopeo(folder / "layout", registry)
            shutil.rmtree(folder / f"skopeo-{number}")
        else:
            theirs = float("nan")
        pairs.append((ours, theirs))
    peak = max(ours.memory for ours, _ in pairs)
    figure("push of a 1 GiB file, peak memory", f"{peak / MIB:.0f} MiB", "at most 100")
    figure("    wall", f"{statistics.median(ours.process for ours, _ in pairs):.2f} s")
    figure("    skopeo copy of the same layout", f"{statistics.median(theirs for _, theirs in pairs):.2f} s")
    ratio = statistics.median(ours.process / theirs for ours, theirs in pairs)
    figure("    ratio", f"{ratio:.2f}", "at most 1.3")


def many_files(folder: Path) -> None:
    """Wall time of bundling and pushing 2,000 files of 10 kB, of pushing them one by one, and of doing so again."""
    (folder / "files").mkdir()
    files = []
    for number in range(2000):
        path = folder / "files" / f"{number}.bin"
        path.write_bytes(os.urandom(10_000))
        files.append(KeptFile(path, f"benchmarks/000-b/raw/{path.name}", 10_000))
    started = time.perf_counter()
    writer = LayoutWriter(folder / "bundled")
    commit(writer, [writer.add(Bundle("benchmarks/000-b/raw", files).chunks())])
    building = time.perf_counter() - started
    writer = LayoutWriter(folder / "single")
    commit(writer, [writer.add(layout.read_chunks(file.path)) for file in files])
    with running_registry(folder / "registry") as registry:
        bundled = pushed(folder / "bundled", registry)
        figure("2,000 files of 10 kB, bundled and pushed", f"{building + bundled.push:.2f} s", "at most 5")
        figure("    the same files one by one", f"{pushed(folder / 'single', registry).push:.2f} s")
        figure("    again, when all of them are there", f"{pushed(folder / 'single', registry).push:.2f} s")


def small_run(folder: Path) -> None:
    """Wall time of verifying a small signed run once everything is imported, from its layout and from a registry."""
    run = write_run(folder / "run", [Entry(name, 80) for name in ("arc", "gsm8k", "mmlu")])
    verdict = run.judge()
    for name, document in (("verdict", verdict.as_json()), ("environment", {"schema_version": 1})):
        atomic.write_json(run.path / f"{name}.json", document)
    keys.generate(folder / "key")
    with running_registry(folder / "registry") as registry:
        reference = Reference.parse(f"{registry.address}/bench")
        artifact.build(run, verdict, keys.SigningKey.load(folder / "key"), f"{registry.host}/bench")
        push(run.path / "evidence", Registry(reference))
        for place, evidence in (
            ("a layout", str(run.path)),
            ("a registry", f"{reference.address}:run-{run.record.run_id}"),
        ):
            verified = partial(verify, evidence, key=folder / "key" / "public.key")
            assert verified().exit_status == 0
            seconds = wall(verified)
            figure(f"verify of a small signed run in {place}", f"{seconds:.3f} s", "at most 0.2")


def pushed(source: Path, registry: RunningRegistry) -> Push:
    """Push a layout in a process of its own."""
    started = time.perf_counter()
    argv = [sys.executable, "-c", _PUSH, str(source), f"{registry.address}/bench"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    seconds, memory = done.stdout.split()
    return Push(time.perf_counter() - started, float(seconds), int(memory))


def by_skopeo(source: Path, registry: RunningRegistry) -> float:
    """Return the seconds that skopeo takes."""
    target = f"docker://{registry.host}/bench:run-1"
    started = time.perf_counter()
    argv = ["skopeo", "copy", "--all", "--quiet", "--dest-tls-verify=false", f"oci:{source}:run-1", target]
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - started


def commit(writer: LayoutWriter, blobs: Sequence[Blob]) -> None:
    """Name the blobs by one manifest in an index."""
    config = writer.add([b"{}"])
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/octet-stream", blob) for blob in blobs],
    }
    child = writer.add([canonical.dumps(manifest)])
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [_descriptor(_MANIFEST, child)]}
    writer.commit([TaggedManifest(_INDEX, writer.add([canonical.dumps(index)]), ("run-1",))])


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


if __name__ == "__main__":
    main()
