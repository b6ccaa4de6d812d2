"""Kubeflow Pipelines and Kubernetes on loopback that really execute what is submitted, with processes as pods.

The API is the stub's and a run is executed by the interpreter of compiled pipelines: its tasks start, end and fail as
they would, secrets are those that were made through the Kubernetes API, a deleted pod is a killed process, a retry does
only what failed, and a clock starts what is scheduled every minute.
"""

from __future__ import annotations

import datetime
import subprocess
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from executors import Ended, Mount, Pod, outside
from kfp_api import KfpApi, kfp_api
from kfp_models import timestamp
from kfp_workflow import FINISHED, Record, Workflow
from pipeline_interpreter import Interpreter
from process_kubernetes import Kubernetes, PodProcess, process_kubernetes, start

EVERY_MINUTE = "0 * * * * *"


class Terminated(Exception):
    """Somebody ended the run."""


@dataclass
class ProcessCluster(KfpApi):
    """An installation with one namespace for all, `home`, or with several users.

    Attributes:
        kubernetes: where pods and secrets are.
        folder: for everything that runs.
        images: interpreter and environment that stand for an image.
        home: the namespace of runs where there is one user.
        minute: seconds that a minute of the schedules takes here.
        crashes: what went wrong in the cluster itself; a test asserts that this is empty.
    """

    kubernetes: Kubernetes = field(default_factory=lambda: Kubernetes(Path()))
    folder: Path = Path()
    images: Mapping[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    home: str = "kubeflow"
    minute: float = 60
    crashes: list[str] = field(default_factory=list)
    executions: dict[str, Execution] = field(default_factory=dict)

    def now(self) -> str:
        """The time, to the second as the real server keeps it."""
        self.made += 1
        return timestamp(datetime.datetime.now(datetime.UTC))

    def _start(self, body: Record, namespace: str) -> Record:
        run = super()._start(body, namespace)
        execution = Execution(self, run, namespace or self.home)
        self.executions[run["run_id"]] = execution
        execution.begin()
        return run

    def act_on_run(self, run: Record, verb: str) -> None:
        super().act_on_run(run, verb)
        execution = self.executions[run["run_id"]]
        if verb == "terminate":
            execution.terminate()
        elif verb == "retry":
            execution.join()  # it said that it was over, which was the last that it did
            execution.begin()

    def pass_minutes(self) -> None:
        """Start what is due every minute, unless its last run goes on, until the cluster stops."""
        moment = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0)
        while not self.stopping.wait(self.minute):
            moment += datetime.timedelta(minutes=1)
            with self.lock:
                busy = {run.get("recurring_run_id") for run in self.runs.values() if run["state"] not in FINISHED}
                for key, schedule in self.recurring_runs.items():
                    cron = schedule["trigger"].get("cron_schedule", {}).get("cron")
                    if cron == EVERY_MINUTE and key not in busy:
                        self.fire(key, moment)

    def end(self) -> None:
        """End every run."""
        for execution in list(self.executions.values()):
            execution.terminate()
            execution.join()


class Execution:
    """A run that is executed; it can be ended, and begun again.

    It is the executor of its interpreter.
    """

    def __init__(self, cluster: ProcessCluster, run: Record, namespace: str) -> None:
        self.cluster, self.run_id, self.namespace = cluster, run["run_id"], namespace
        reference = run.get("pipeline_version_reference")
        found = cluster.versions[reference["pipeline_version_id"]] if reference else run
        given = found["pipeline_spec"]
        documents = [given["pipeline_spec"], given["platform_spec"]] if "pipeline_spec" in given else [given]
        self.spec, self.run_record = documents[0], run
        folder = cluster.folder / self.run_id
        folder.mkdir(parents=True)
        (folder / "pipeline.yaml").write_text(yaml.safe_dump_all(documents))
        self.parameters = run.get("runtime_config", {}).get("parameters", {})
        secrets = cluster.kubernetes.files(namespace)
        self.interpreter = Interpreter(
            folder / "pipeline.yaml", folder, self, secrets, run_id=self.run_id, tell=self._tell
        )
        self.terminated = threading.Event()
        self.current: PodProcess | None = None
        self.thread: threading.Thread | None = None

    def begin(self) -> None:
        self.terminated.clear()
        self.thread = threading.Thread(target=self._run, name=f"run {self.run_id}")
        self.thread.start()

    def terminate(self) -> None:
        self.terminated.set()
        if pod := self.current:
            pod.kill()

    def join(self) -> None:
        if self.thread:
            self.thread.join()

    def _run(self) -> None:
        try:
            self._advance("RUNNING")
            self._advance("SUCCEEDED" if self.interpreter.run(**self.parameters) else "FAILED")
        except Terminated:
            self._advance("CANCELED")
        except Exception:
            self.cluster.crashes.append(traceback.format_exc())
            self._advance("FAILED", error="the cluster itself failed")

    def _advance(self, state: str, tasks: Mapping[str, str] | None = None, **more: Any) -> None:
        with self.cluster.lock:
            if self.run_id not in self.cluster.runs:
                return  # it was deleted
            if self.terminated.is_set() and state == "RUNNING":
                state = "CANCELING"
            self.cluster.advance(self.run_id, state, tasks, **more)

    def _tell(self, task: str, state: str) -> None:
        self._advance("RUNNING", {task: state}, pods=state != "RUNNING")

    def path(self, path: str, mounts: Mapping[str, Mount]) -> str:
        return str(outside(path, mounts))

    def run(self, pod: Pod) -> Ended:
        """Run a pod, known to Kubernetes by the name that KFP's backend gives it."""
        python, extra = self.cluster.images[pod.image]
        assert pod.argv[0] in ("python", "python3")
        argv = [python, *pod.argv[1:]]
        if self.terminated.is_set():
            raise Terminated
        process = start(argv, extra | pod.environ, extra.get("PWD", str(pod.folder)), pod.folder / "log.txt")
        self.current = process
        if self.terminated.is_set():  # it may have been in between
            process.kill()
        labels = {"pipeline/runid": self.run_id, **pod.labels}
        self.cluster.kubernetes.add_pod(self.namespace, self._name(pod), labels, process)
        self._advance("RUNNING", {pod.task: "RUNNING"}, failed_attempts={pod.task: pod.attempt})
        while (status := self._ended(process)) is None:
            if self.run_id not in self.cluster.runs:  # a run that is deleted takes its pods along
                self.terminate()
        self.current = None
        if self.terminated.is_set():
            self._advance("CANCELING", {pod.task: "FAILED"})
            raise Terminated
        return Ended(status, process.log.read_text("utf-8", "replace"))

    def _ended(self, pod: PodProcess) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return pod.process.wait(0.5)
        return None

    def _name(self, pod: Pod) -> str:
        """Return the name of a pod (backend/src/common/util/workflow.go, RetrievePodName)."""
        component = self.spec["root"]
        for name in pod.task.split("."):
            task = component["dag"]["tasks"][name]
            component = self.spec["components"][task["componentRef"]["name"]]
        is_retried = "retryPolicy" in task
        template = "retry-system-container-impl" if is_retried else "system-container-impl"
        if pod.labels:
            # argocompiler/container.go: annotations and labels, of which a task of ours has only the latter
            template = f"metadata-0-{len(pod.labels)}-{template}"
        workflow = Workflow(self.run_record, self.spec, "")
        node = f"root.{pod.task}.executor" + (f"({pod.attempt})" if is_retried else "")
        return f"{workflow.name}-{template}-{workflow.id(node).rpartition('-')[2]}"


@contextmanager
def process_cluster(
    folder: Path, images: Mapping[str, tuple[str, dict[str, str]]], **options: Any
) -> Iterator[ProcessCluster]:
    """A cluster inside the block; whatever runs ends with it."""
    with process_kubernetes(folder / "kubernetes") as kubernetes:
        cluster = ProcessCluster(kubernetes=kubernetes, folder=folder / "runs", images=images, **options)
        if not cluster.multi_user:
            kubernetes.add_namespace(cluster.home)
        clock = threading.Thread(target=cluster.pass_minutes)
        try:
            with kfp_api(api=cluster):
                clock.start()
                yield cluster
        finally:
            if clock.is_alive():
                clock.join()
            cluster.end()
