"""Figures of the reports: what a large run takes from its directory to everything that people read."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_figures import figure

sys.path.insert(0, str(Path(__file__).parent / "integration"))

from report_runs import Entry, write_run

MIB = 2**20
_BENCHMARKS = 200
_SAMPLES = 1000
_REPORTS = """\
import json, sys, time
from pathlib import Path
from evalhub_components.records import html, report
from evalhub_components.records.ci import junit, tekton
from evalhub_components.run_directory import load
started = time.perf_counter()
run = load(Path(sys.argv[1]))
verdict = run.judge()
loaded = time.perf_counter()
page = html.render(run, verdict).encode()
rendered = time.perf_counter()
report.render(run, verdict), junit.render(run, verdict), tekton.render(run, verdict)
ended = time.perf_counter()
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
seconds = {"all": ended - started, "judged": loaded - started, "html": rendered - loaded}
print(json.dumps({**seconds, "bytes": len(page), "memory": int(peak) * 1024}))
"""


def main() -> None:
    """Every report of 200 benchmarks with 1,000 samples and 10 metrics each, the loading of the run included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        metrics = {f"metric_{n}": {"value": n / 10, "stderr": 0.01} for n in range(8)}
        entries = [
            Entry(f"benchmark_{n:03d}", 400 + n, _SAMPLES, metrics=metrics, task={"required": n % 40 == 0})
            for n in range(_BENCHMARKS)
        ]
        write_run(path, entries)
        done = subprocess.run([sys.executable, "-c", _REPORTS, str(path)], capture_output=True, text=True, check=True)
    took = json.loads(done.stdout)
    name = f"reports of {_BENCHMARKS} benchmarks with {_SAMPLES:,} samples each"
    figure(f"{name}: all, from the run directory", f"{took['all']:.2f} s", "at most 5")
    figure("  of it, loading and judging", f"{took['judged']:.2f} s")
    figure("  of it, report.html", f"{took['html']:.2f} s")
    figure("  peak memory", f"{took['memory'] / MIB:.0f} MiB", "at most 300")
    figure("  size of report.html", f"{took['bytes'] / 1000:.0f} kB", "at most 1,000")


if __name__ == "__main__":
    main()
