"""An adapter that does what its parameters say: `do` names what happens before it returns its results."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalhub_components.adapter import (
    EvaluationResult,
    FrameworkAdapter,
    JobCallbacks,
    JobPhase,
    JobResults,
    JobSpec,
    JobStatusUpdate,
    OCIArtifactSpec,
)
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.results import Sample

FOREVER = 3600.0


def results(config: JobSpec, value: Any = 0.5, **changes: Any) -> JobResults:
    """Return results with `acc` as the one metric."""
    fields: dict[str, Any] = {
        "id": config.id,
        "benchmark_id": config.benchmark_id,
        "benchmark_index": config.benchmark_index,
        "model_name": config.model.name,
        "results": [EvaluationResult("acc", value, stderr=0.25)],
        "num_examples_evaluated": 10,
    }
    return JobResults(**fields | changes)


class Scripted(FrameworkAdapter):
    """Runs the method that the parameter `do` names."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        parameters = dict(config.parameters)
        found = getattr(self, parameters.pop("do", "nothing"))(config, callbacks)
        return found if found is not None else results(config, **parameters)

    def nothing(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        pass

    # ---- ways to fail

    def fail(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        print("about to fail")
        raise ValueError("the dataset\n  is gone")

    def fail_at_length(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        raise ValueError("x" * 10_000_000)

    def fail_with_half_a_character(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        raise ValueError("cannot open caf\udce9")

    def leave(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        sys.exit("usage: framework --task TASK")

    def exit_3(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        print("printed before the end")
        os._exit(3)

    def exit_0(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        os._exit(0)

    def die(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(FOREVER)

    def die_of_a_nameless_signal(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        os.kill(os.getpid(), signal.SIGRTMIN + 5)
        time.sleep(FOREVER)

    def hang(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        print("hanging now")
        time.sleep(FOREVER)

    def hang_deaf(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        """Hang, ignore every signal that can be ignored, and have closed every file."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.closerange(3, 1024)
        time.sleep(FOREVER)

    def return_nothing(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return "done"  # type: ignore[return-value]

    def return_another(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(config, benchmark_index=999)

    def die_while_samples_are_written(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        def samples() -> Iterator[Sample]:
            yield Sample(id="first", score=1)
            os._exit(5)

        return results(config, samples=samples())

    # ---- values

    def nan(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(config, float("nan"))

    def infinite(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(config, float("-inf"))

    def enormous(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(config, 10**400)

    def another_metric(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(config, results=[EvaluationResult("f1", 0.5), EvaluationResult("bleu", 3)])

    def no_metric(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(config, results=[])

    def nan_beside(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        beside = [EvaluationResult("ppl", float("nan"), stderr=float("inf")), EvaluationResult("name", "N/A")]
        return results(config, results=[EvaluationResult("acc", 0.75, stderr=float("nan")), *beside])

    def many_facts(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        return results(
            config,
            samples=[
                Sample(id="b", score=1, cluster="passage", details={"z": [1.0, 2.5], "a": "é"}),
                Sample(id="a", score=0.25),
            ],
            num_examples_requested=10,
            usage={"prompt_tokens": 12, "requests": 2, "broken": float("nan")},
            data_digests={"data.jsonl": "sha256:" + "0" * 64},
            environment={
                "framework": {"name": "scripted", "version": "1.2.3"},
                "path": Path("/somewhere"),
                "not a number": float("nan"),
                "set": {1},
                1: "number as key",
                "half": "caf\udce9",
                "large": 2**60,
            },
            evaluation_metadata={"git": None, "shots": 0},
        )

    # ---- talking

    def progress(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        callbacks.report_status(JobStatusUpdate(phase="loading_data"))
        for done in range(1, 4):
            callbacks.report_status(
                JobStatusUpdate(phase=JobPhase.RUNNING_EVALUATION, completed_steps=done, total_steps=3)
            )
        callbacks.report_status(JobStatusUpdate(phase=JobPhase.POST_PROCESSING, progress=0.5))

    def talk_from_threads(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        def report() -> None:
            for done in range(100):
                callbacks.report_status(JobStatusUpdate(phase="p" * 9000, completed_steps=done, total_steps=100))

        threads = [threading.Thread(target=report) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def report_and_go_on(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Hand the results in first, then write more, then return other results."""
        callbacks.report_results(results(config, 0.5, samples=[Sample(id="first", score=0.5)]))
        time.sleep(0.5)
        print("said after reporting")
        (config.raw_dir / "late.txt").write_text("written after reporting")
        return results(config, 0.9, samples=[Sample(id="second", score=0.9)])

    def report_and_fail(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        callbacks.report_results(results(config))
        raise ValueError("after the results")

    def report_and_hang(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        callbacks.report_results(results(config))
        time.sleep(FOREVER)

    # ---- files

    def empty_work_dir(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        assert Path.cwd() == config.work_dir
        assert not os.listdir(), os.listdir()
        (config.work_dir / "cache.bin").write_text("of an earlier run")

    def artifact(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        outside = config.work_dir / "report"
        outside.mkdir()
        (outside / "page.html").write_text("<p>a report</p>")
        (config.work_dir / "table.csv").write_text("a,b")
        (config.raw_dir / "own.txt").write_text("already there")
        answers = [
            callbacks.create_oci_artifact(OCIArtifactSpec(files_path=path))
            for path in (outside, config.work_dir / "table.csv", config.raw_dir, config.raw_dir / "own.txt")
        ]
        assert all(answer.reference.startswith("pending") for answer in answers)

    def odd_files(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        (config.raw_dir / "plain.txt").write_text("plain")
        (config.raw_dir / "folder").mkdir()
        (config.raw_dir / "folder" / "deep.txt").write_text("deep")
        (config.raw_dir / "link").symlink_to("/etc/passwd")
        (config.raw_dir / "folder-link").symlink_to("/etc")
        (config.raw_dir / "dangling").symlink_to("nowhere")
        os.mkfifo(config.raw_dir / "pipe")

    def name_files(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        for name in config.parameters["names"]:
            path = config.raw_dir / os.fsdecode(name.encode("latin-1"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("content")
        return results(config)

    def refuse(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        raise EvalHubError("2 of 15 requests failed (raise max_error_rate)")

    def locked_files(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        folder = config.raw_dir / "locked"
        folder.mkdir()
        (folder / "inner.txt").write_text(str(config.credentials.api_key))
        (config.raw_dir / "file.txt").write_text(str(config.credentials.api_key))
        (config.raw_dir / "file.txt").chmod(0)
        folder.chmod(0)

    def fill_the_disk(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        with (config.raw_dir / "big.bin").open("wb") as file:
            while True:
                file.write(b"x" * 65536)
                file.flush()

    def fill_the_disk_quietly(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        """Leave no byte for the results and return as if all were well."""
        with contextlib.suppress(OSError):
            self.fill_the_disk(config, callbacks)

    def fill_the_disk_by_printing(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        while True:
            print("x" * 65536)

    # ---- processes

    def leave_a_process(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        self._leave(config, start_new_session=False)

    def leave_a_daemon(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        self._leave(config, start_new_session=True)

    def leave_a_fork(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        """Leave a process that holds every file of this one open, the way back to the harness too."""
        pid = os.fork()
        if not pid:
            time.sleep(FOREVER)
        (config.raw_dir / "pid").write_text(str(pid))

    def _leave(self, config: JobSpec, *, start_new_session: bool) -> None:
        left = subprocess.Popen(["sleep", str(FOREVER)], start_new_session=start_new_session)
        (config.raw_dir / "pid").write_text(str(left.pid))

    def show_process(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        """Keep what other users of the machine can see of this process."""
        for name in ("cmdline", "environ"):
            (config.raw_dir / name).write_bytes(Path(f"/proc/self/{name}").read_bytes())
        (config.raw_dir / "variables").write_text(repr(dict(os.environ)))

    def wait(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        """Leave a process, say the ids of both, and hang."""
        left = subprocess.Popen(["sleep", str(FOREVER)])
        print(config.credentials.api_key)
        pids = Path(config.parameters["pids"])
        pids.with_suffix(".part").write_text(f"{os.getpid()} {left.pid}")
        pids.with_suffix(".part").rename(pids)
        time.sleep(FOREVER)

    def use_memory(self, config: JobSpec, callbacks: JobCallbacks) -> None:
        """Have the control group at the given folder report more than its limit."""
        (Path(config.parameters["group"]) / "memory.current").write_text(str(96 << 20))
        time.sleep(FOREVER)
