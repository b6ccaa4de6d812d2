"""Runs an unmodified EvalHub adapter: hands it a job, listens to what it posts, and leaves the results of a benchmark.

`python3 -I -c BRIDGE <arguments of the benchmark step> -- <entrypoint>`, where BRIDGE is the text of this file: images
made for EvalHub hold none of our packages. So this is one file, needs the standard library of Python 3.9 alone, and
repeats in short what `evalhub_components.benchmark` does. On loopback it stands in for the services that EvalHub's SDK
talks to: the events API, an OCI registry and MLflow. What they are sent goes into the benchmark's `raw` folder.
The entrypoint starts in the folder that the bridge was started in, because `python main.py` means the image's own.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import ctypes
import errno
import hashlib
import json
import math
import mmap
import os
import platform
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

_TICK = 0.1  # seconds between looks at clock and memory
_LONGEST_REASON = 2000  # characters
_LARGEST_DOCUMENT = 64 << 20  # bytes
_LOG_TAIL = 1 << 16  # bytes of the log that tell a reason, or are kept on a full disk
_SHORTEST_SECRET = 6  # what is shorter is no secret, and replacing it would damage ordinary text
_OURS = ("EVALHUB_MODEL_SECRET", "EVALHUB_SERVICE_ACCOUNT_TOKEN")  # the adapter is handed what they name
_POD_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# what a task may leave out, as `evalhub_components.schema` has it; the digest is over all keys
_DEFAULTS: dict[str, dict[str, Any]] = {
    "task": {
        **{"threshold": None, "weight": 1, "required": False, "parameters": {}, "num_few_shot": None},
        **{"num_examples": None, "dataset_size": None, "seed": 42, "timeout": 3600, "max_error_rate": 0},
        **{"test_data_ref": None, "hardware": None},
    },
    "primary_score": {"lower_is_better": False, "range": [0, 1], "range_overflow": "error"},
    "test_data_ref": {"type": "data_set", "s3": None, "pvc": None, "git": None, "hf": None},
    "s3": {"secret_ref": None},
    "pvc": {"sub_path": None},
    "git": {"sub_path": None, "secret_ref": None},
    "hf": {"revision": None, "sub_path": None, "secret_ref": None},
    "hardware": {"cpu": None, "memory": None, "gpu": None, "queue": None, "tolerations": [], "node_selector": {}},
    "cpu": {"request": None, "limit": None},
    "memory": {"request": None, "limit": None},
    "gpu": {"name": "nvidia.com/gpu", "count": 1},
}


class _Stopped(Exception):
    """Asked to stop: by whom, and the exit status."""


def _main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bridge", usage="bridge ARGUMENT ... -- ENTRYPOINT ...", allow_abbrev=False)
    for name in ("--task", "--model-url", "--model-name", "--results"):
        parser.add_argument(name, required=True)
    for name in ("--job-id", "--fingerprint", "--test-data", "--executor-input"):
        parser.add_argument(name, default="")
    parser.add_argument("--model-auth", default="secret")
    parser.add_argument("--num-examples", type=int, default=0)
    own, entrypoint = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    given = parser.parse_args(own)
    try:
        tasks = json.loads(Path(given.task[1:]).read_text("utf-8") if given.task.startswith("@") else given.task)
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
            raise ValueError("--task: must be a JSON list of benchmark tasks, and not empty")
        if not entrypoint:
            raise ValueError("-- ENTRYPOINT: is missing (the command that starts the adapter)")
        work = Path(tempfile.mkdtemp(prefix="evalhub-"))
        try:
            bridge = _Bridge(given, entrypoint, work)
            for task in tasks:
                bridge.run(_complete(task, "task"))
            _show(given.executor_input, bridge.finished)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except _Stopped as end:
        print(f"stopped by {end.args[0]}; finished benchmarks are kept", file=sys.stderr)
        return int(end.args[1])
    except KeyError as error:
        print(f"bridge: --task or --executor-input: there is no {error} where one must be", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"bridge: {error}", file=sys.stderr)
        return 2
    return 0


class _Run:
    """One benchmark on its way to results.

    Attributes:
        results: the event with the adapter's metrics; the first word on how it ended counts, this or `failure`.
        evaluated: how many examples were, as far as it is known.
        notes: what was wrong with what was posted.
    """

    def __init__(self, task: dict[str, Any], job_id: str, folder: Path) -> None:
        self.task, self.digest = task, _digest(task)
        self.job_id = job_id or self.digest[7:39]
        self.folder, self.raw = folder, folder / "raw"
        self.started, self.started_at = time.monotonic(), _now()
        self.results: dict[str, Any] | None = None
        self.failure: str | None = None
        self.evaluated: int | None = None
        self.notes: list[str] = []
        self.artifacts = 0

    def record(self, path: str, body: Any) -> None:
        with (self.raw / "events.jsonl").open("a", encoding="ascii") as file:
            file.write(json.dumps({"at": _now(), "path": path, "body": body}) + "\n")

    def handle(self, event: dict[str, Any]) -> None:
        """Take a status event.

        Raises:
            ValueError: it is wrong, or another benchmark's.
        """
        own = {"provider_id": self.task["provider_id"], "id": self.task["benchmark_id"]}
        for key, value in {**own, "benchmark_index": self.task["index"]}.items():
            if event.get(key) != value and (key != "provider_id" or event.get(key)):
                raise ValueError(f"{key} must be {value!r}, got {event.get(key)!r}")
        status, metrics = event.get("status"), event.get("metrics")
        if not isinstance(status, str) or not isinstance(metrics, (dict, type(None))):
            raise ValueError("status must be a text, and metrics an object")
        if self.results is None and self.failure is None:
            if status in ("failed", "cancelled", "partially_failed"):
                said = event.get("error_message")
                said = said.get("message") if isinstance(said, dict) else said
                self.failure = str(said or f"the adapter reported {status} and gave no reason")
            elif status == "completed" and metrics is not None:
                self.results = event


class _Services(BaseHTTPRequestHandler):
    """EvalHub's events API, an OCI registry and MLflow, for the benchmark that runs."""

    bridge: _Bridge
    timeout = 600  # seconds without a byte

    def do_GET(self) -> None:
        url, left = urllib.parse.urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
        with tempfile.TemporaryFile(dir=self.bridge.work) as body:
            while left and (piece := self.rfile.read(min(left, 1 << 16))):
                body.write(piece)
                left -= len(piece)
            if left:
                return  # it ended early: nobody waits for an answer
            body.seek(0)
            try:
                if self.headers.get("Transfer-Encoding"):
                    raise ValueError("a request must have a Content-Length")
                with self.bridge.lock:
                    answer = self._answer(self.command, urllib.parse.unquote(url.path), url.query, body)
            except Exception as error:  # anything may be posted
                answer = 400, {}, {"message": f"{self.command} {url.path}: {error}", "error_code": "BAD_REQUEST"}
                if self.bridge.current:
                    self.bridge.current.notes.append(f"refused {self.command} {url.path}: {error}")
        status, headers, document = answer
        content = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        with contextlib.suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(content)
        if self.headers.get("Transfer-Encoding"):
            # closed with a body unread, the connection would be reset, and the answer perhaps lost
            self.connection.settimeout(1)
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_WR)
                while self.connection.recv(1 << 16):
                    pass

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815 the names are http.server's

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what matters is kept."""

    def _answer(self, method: str, path: str, query: str, body: IO[bytes]) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and document; whatever else is raised is the client's mistake."""
        run = self.bridge.current
        if run and method == "POST" and path == f"/api/v1/evaluations/jobs/{run.job_id}/events":
            document = json.loads(body.read(_LARGEST_DOCUMENT))
            event = document.get("benchmark_status_event") if isinstance(document, dict) else None
            if not isinstance(event, dict):
                raise ValueError("there is no benchmark_status_event")
            run.handle(event)
            run.record(path, document)
            if event.get("phase"):
                self.bridge.tell(run, str(event["phase"]))
            return 204, {}, None
        if run and path.startswith("/api/2.0/mlflow/"):
            return self._mlflow(run, method, path, body)
        if run and method == "PUT" and path.startswith("/api/2.0/mlflow-artifacts/artifacts/pending/"):
            _copy(body, _below(run.raw / "mlflow", path.partition("/pending/")[2]))
            return 200, {}, {}
        if run and path.startswith("/v2/"):
            return self._registry(run, method, path, query, body)
        return 404, {}, {"message": f"there is no {method} {path} here", "error_code": "ENDPOINT_NOT_FOUND"}

    def _mlflow(self, run: _Run, method: str, path: str, body: IO[bytes]) -> tuple[int, dict[str, str], Any]:
        """Answer as a server with one experiment and one run would: `aggregate` makes the real ones later."""
        if method == "POST":
            document = json.loads(body.read(_LARGEST_DOCUMENT))
            run.record(path, document)
            for parameter in document.get("params", ()):
                # SDK 1.0.6 posts no count, but logs it here
                if parameter["key"] == "num_examples_evaluated" and str(parameter["value"]).isdigit():
                    run.evaluated = int(parameter["value"])
        info = {"run_id": "pending", "run_uuid": "pending", "experiment_id": "0", "status": "RUNNING"}
        info["artifact_uri"] = "mlflow-artifacts:/pending"
        experiment = {"experiment_id": "0", "name": run.task["provider_id"], "lifecycle_stage": "active"}
        return 200, {}, {"experiment_id": "0", "experiment": experiment, "run": {"info": info}, "files": []}

    def _registry(
        self, run: _Run, method: str, path: str, query: str, body: IO[bytes]
    ) -> tuple[int, dict[str, str], Any]:
        """Answer as a registry as far as a push goes (OCI distribution specification 1.1, Push); a manifest ends it."""
        blobs, (place, _, name) = self.bridge.work / "blobs", path.rpartition("/")
        blobs.mkdir(exist_ok=True)
        if method == "HEAD":
            return (200 if (blobs / name).is_file() else 404), {}, None
        if method == "POST" and place.endswith("/blobs/uploads"):
            return 202, {"Location": f"{path}{time.monotonic_ns()}"}, None
        if method in ("PATCH", "PUT") and place.endswith("/blobs/uploads"):
            _copy(body, blobs / name, "ab")
            if method == "PATCH":
                return 202, {"Location": path, "Range": f"0-{(blobs / name).stat().st_size - 1}"}, None
            digest = _file_digest(blobs / name)
            (blobs / name).replace(blobs / digest)
            if urllib.parse.parse_qs(query).get("digest") != [digest]:
                raise ValueError(f"the blob's digest is {digest}")
            return 201, {"Location": f"{place[: -len('uploads')]}{digest}"}, None
        if method == "PUT" and place.endswith("/manifests"):
            text = body.read(_LARGEST_DOCUMENT)
            run.artifacts += 1
            target = run.raw / f"artifact-{run.artifacts}"
            for layer in json.loads(text)["layers"]:
                _unpack(_below(blobs, layer["digest"]), layer, target)
            return 201, {"Location": path, "Docker-Content-Digest": "sha256:" + hashlib.sha256(text).hexdigest()}, None
        return (200 if path == "/v2/" else 404), {}, {}


class _Bridge:
    """Runs tasks with an entrypoint, one after the other."""

    def __init__(self, given: argparse.Namespace, entrypoint: list[str], work: Path) -> None:
        self.given, self.entrypoint, self.work = given, entrypoint, work
        # a byte in this pipe ends a wait at once: the entrypoint ended, or somebody wants us to
        self.wake, writing = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        self.stopping: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, frame: self.stopping.append(received))
        self.current: _Run | None = None
        self.lock = threading.Lock()
        self.finished: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.secret = _secret(work / "model-secret")
        self.redaction = _Redaction([_key(self.secret / name) for name in ("api-key", "hf-token")])
        self.token, self.handed_on = _token_file(given.model_auth, self.secret), ""
        self._renew_token()
        data = Path(given.test_data).resolve() if given.test_data else work / "none"
        # the manifest of the step that fetched the data is not part of it
        files = sorted(path for path in data.rglob("*") if path.is_file() and path.name != ".evalhub-data.json")
        self.data_digests = {path.relative_to(data).as_posix(): _file_digest(path) for path in files}
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Services", (_Services,), {"bridge": self}))
        self.host = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.environ = {name: value for name, value in os.environ.items() if name not in _OURS}
        self.environ.update(EVALHUB_MODE="local", EVALHUB_MLFLOW_BACKEND="odh", MLFLOW_TRACKING_URI=self.url)
        self.environ.update(OCI_INSECURE="true", PYTHONUNBUFFERED="1")
        self.environ.update({"EVALHUB_TEST_DATA": str(data)} if given.test_data else {})
        mount = os.environ.get("EVALHUB_TEST_DATA_MOUNT")
        if given.test_data and mount and Path(mount).resolve() != data:
            shutil.copytree(data, mount, dirs_exist_ok=True)
        for name in ("no_proxy", "NO_PROXY"):
            self.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
        self.machine = _machine(entrypoint, self.environ)
        self.prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda option, value: None
        self.prctl(_PR_SET_CHILD_SUBREAPER, 1)

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def run(self, task: dict[str, Any]) -> None:
        """Run one benchmark and leave its results.

        Raises:
            _Stopped: asked to stop; the benchmark has no results.
        """
        self._stop_when_asked()
        folder, scratch = Path(self.given.results).resolve() / task["slug"], tempfile.mkdtemp(dir=self.work)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "raw" / "meta").mkdir(parents=True)
        run = _Run(task, self.given.job_id, folder)
        request, job = self._request(run), run.raw / "meta" / "job.json"
        _write(folder / "task.json", request)
        job.write_text(json.dumps(self._job(run, request["num_examples"]), indent=1))
        self.tell(run, "initializing")
        self.current, process, reason = run, None, None
        try:
            with (folder / "log.txt").open("wb") as log:
                process = subprocess.Popen(
                    self.entrypoint,
                    env={**self.environ, "EVALHUB_JOB_SPEC_PATH": str(job), "TMPDIR": scratch},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    # when the bridge is killed nobody is left to keep the results
                    preexec_fn=lambda: self.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
                )
            reason = self._follow(process, task["timeout"])
        except OSError as error:
            reason = f"the adapter cannot be started: {error.strerror} ({error.filename or self.entrypoint[0]})"
        finally:
            _end(process)
            with self.lock:  # what was posted is taken to its end
                self.current = None
        for unneeded in (scratch, self.work / "blobs"):
            shutil.rmtree(unneeded, ignore_errors=True)
        self._finish(run, reason, process.returncode if process else None)

    def _follow(self, process: subprocess.Popen[bytes], limit: float) -> str | None:
        """Wait for the end of `process` and return None, or why it has to be ended before."""
        deadline, memory = time.monotonic() + limit, _Memory()
        lifeline = [0] if os.environ.get("EVALHUB_LIFELINE") == "stdin" else []
        while process.poll() is None:
            self._renew_token()
            self._stop_when_asked()
            if time.monotonic() > deadline:
                return f"timed out after {limit:.3g} s (raise its timeout, or lower num_examples)"
            if exceeded := memory.exceeded():
                return exceeded
            readable, _, _ = select.select([self.wake, *lifeline], [], [], _TICK)
            if self.wake in readable:
                os.read(self.wake, 4096)
            if 0 in readable and not os.read(0, 4096):
                raise _Stopped("the end of the run that started it", 128 + signal.SIGTERM)
        return None

    def _renew_token(self) -> None:
        """Hand on the token of the service account, which is replaced about every hour."""
        with contextlib.suppress(OSError, ValueError):  # the one that it had may still do
            token = _key(self.token) if self.token else ""
            if token and token != self.handed_on:
                self.redaction.add([token])
                part = self.secret / ".part"
                part.write_text(token, "ascii")
                part.replace(self.secret / "api-key")
                self.handed_on = token

    def _stop_when_asked(self) -> None:
        if self.stopping:
            raise _Stopped(signal.Signals(self.stopping[0]).name, 128 + self.stopping[0])

    def _request(self, run: _Run) -> dict[str, Any]:
        limits = [limit for limit in (run.task["num_examples"], self.given.num_examples) if limit]
        examples, model, answers = min(limits, default=None), self.given.model_name, self.given.fingerprint or None
        data = _digest(self.data_digests) if self.given.test_data else None
        key = {"task": run.digest, "num_examples": examples, "data": data, "model": model, "fingerprint": answers}
        return {
            "schema_version": 1,
            "task": run.task,
            "task_digest": run.digest,
            "task_key": _digest(key),
            "model_url": self.given.model_url.rstrip("/"),
            "model_name": model,
            "fingerprint": answers,
            "num_examples": examples,
            "test_data_digest": data,
            "judge": None,
        }

    def _job(self, run: _Run, examples: int | None) -> dict[str, Any]:
        """Return EvalHub's JobSpec; with experiment and exports the SDK hands over what it would log and push."""
        task, parameters = run.task, dict(run.task["parameters"])
        if task["num_few_shot"] is not None:
            parameters.setdefault("num_few_shot", task["num_few_shot"])
        # EvalHub takes the limit out of the parameters
        examples = min(filter(None, (examples, parameters.pop("num_examples", None))), default=None)
        auth = {"auth": {"secret_ref": f"file://{self.secret}"}} if any(self.secret.iterdir()) else {}
        coordinates = {"oci_host": self.host, "oci_repository": f"evalhub/{task['slug']}", "annotations": {}}
        return {
            "id": run.job_id,
            "provider_id": task["provider_id"],
            "benchmark_id": task["benchmark_id"],
            "benchmark_index": task["index"],
            "model": {"url": self.given.model_url.rstrip("/"), "name": self.given.model_name, **auth},
            "parameters": parameters,
            "num_examples": examples,
            "primary_score": {name: task["primary_score"][name] for name in ("metric", "lower_is_better")},
            "callback_url": self.url,
            "experiment_name": task["provider_id"],
            "tags": [],
            "exports": {"oci": {"coordinates": coordinates}},
        }

    def tell(self, run: _Run, phase: str) -> None:
        line = {"event": "status", "index": run.task["index"], "slug": run.task["slug"]}
        _say({**line, "phase": self.redaction.document(phase), "completed": None, "total": None})

    def _finish(self, run: _Run, reason: str | None, status: int | None) -> None:
        """Keep what the benchmark left; whatever that is, it has results then."""
        try:
            self._keep(run, self._results(run, reason, status), status)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            what = "the disk is full" if full else "its files cannot be kept"
            # what is large goes, so that there is room for the results: without them nobody learns why
            shutil.rmtree(run.raw, ignore_errors=True)
            with contextlib.suppress(OSError), (run.folder / "log.txt").open("r+b") as log:
                log.truncate(min(_LOG_TAIL, os.fstat(log.fileno()).st_size))
            run.results, run.failure, reason = None, None, f"{what}: {error.strerror} ({error.filename or run.folder})"
            self._keep(run, self._results(run, reason, status), status)

    def _keep(self, run: _Run, results: dict[str, Any], status: int | None) -> None:
        _clean(run.folder)
        self.redaction.tree(run.folder)
        _write(run.folder / "environment.json", self.redaction.document(self._facts(run, status)))
        # the last file, because its presence says that all the rest is there
        _write(run.folder / "results.json", {**results, "redactions": self.redaction.count})
        self.redaction.count = 0
        self.finished.append((run.task, results))
        line = {"event": "finished", "index": run.task["index"], "slug": run.task["slug"], "status": results["status"]}
        _say({**line, "reason": results["reason"], "seconds": round(time.monotonic() - run.started, 3)})

    def _results(self, run: _Run, reason: str | None, status: int | None) -> dict[str, Any]:
        """Return the results; they are no evidence without the primary metric as a finite number."""
        posted: dict[str, Any] = run.results["metrics"] if run.results else {}
        failure = run.failure or reason
        if run.results:
            failure = _no_score(posted, run.task["primary_score"]["metric"])
            failure = failure or ("no example was evaluated" if run.evaluated == 0 else None)
        elif not failure:
            failure = _silence(run, status)
        metrics = {name: {"value": _value(posted[name]), "stderr": _stderr(posted, name)} for name in posted}
        return {
            "schema_version": 1,
            "provider_id": run.task["provider_id"],
            "benchmark_id": run.task["benchmark_id"],
            "benchmark_index": run.task["index"],
            "task_digest": run.digest,
            "status": "failed" if failure else "completed",
            # redacted before it is cut: half a secret would not be recognised
            "reason": self.redaction.document(failure)[:_LONGEST_REASON] if failure else None,
            "metrics": self.redaction.document(metrics),
            "num_requested": None,
            "num_evaluated": run.evaluated,
            "num_errors": 0,
            "data_digests": {f"test_data/{name}": digest for name, digest in self.data_digests.items()},
            "started_at": run.started_at,
            "completed_at": _now(),
            "usage": {},
        }

    def _facts(self, run: _Run, status: int | None) -> dict[str, Any]:
        """Return what is known of how the results came about."""
        posted = run.results or {}
        cards = posted.get("artifacts") if isinstance(posted.get("artifacts"), dict) else {}
        said = {name: posted.get(name) for name in ("additional_info", "metrics_schema", "overall_score")}
        said.update({name: cards.get(f"evalhub.{name}") for name in ("eval_card", "env_card")} if cards else {})
        card = said.get("env_card")
        if isinstance(card, dict) and card.get("framework_name"):
            said["framework"] = {"name": card["framework_name"], "version": card.get("framework_version")}
        return {
            **self.machine,
            **{name: value for name, value in said.items() if value is not None},
            "bridge": {"entrypoint": self.entrypoint, "exit_status": status, "notes": run.notes},
            "data_digests": {f"test_data/{name}": digest for name, digest in self.data_digests.items()},
            "seed": run.task["seed"],
        }


def _show(executor_input: str, finished: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Give the numbers of what completed to the dashboard of Kubeflow Pipelines, when that has started this."""
    if not executor_input:
        return
    outputs, numbers = json.loads(executor_input)["outputs"], {}
    for task, results in finished:
        prefix = f"{task['benchmark_id']}/" if len(finished) > 1 else ""
        for name, metric in results["metrics"].items() if results["status"] == "completed" else ():
            if _finite(metric["value"]) is not None:
                numbers[prefix + name] = float(metric["value"])
    artifacts = {}
    for listed in outputs.get("artifacts", {}).get("metrics", {}).get("artifacts", ())[:1]:
        named = {key: listed[key] for key in ("name", "uri") if key in listed}  # no name before KFP 2.15
        artifacts["metrics"] = {"artifacts": [{**named, "metadata": numbers}]}
    target = Path(outputs["outputFile"])
    target.parent.mkdir(parents=True, exist_ok=True)
    _write(target, {"artifacts": artifacts})


def _complete(value: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a task, or a part of one, with the keys that it left out."""
    whole = {**_DEFAULTS[kind], **value}
    return {
        key: _complete(item, key) if key in _DEFAULTS and isinstance(item, dict) else item
        for key, item in whole.items()
    }


def _silence(run: _Run, status: int | None) -> str:
    """Return in words how a process ended that posted neither results nor a failure."""
    lines: list[str] = []
    with contextlib.suppress(OSError), (run.folder / "log.txt").open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL))
        lines = log.read().decode("utf-8", "replace").splitlines()
    unsent = [line for line in lines if "Failed to send results" in line]  # the SDK logs it and goes on
    last = [*run.notes, *unsent][-1:] or [line for line in lines if line.strip()][-1:]
    words = f" (last words: {last[0].strip()})" if last else ""
    if not status:
        return f"the adapter reported no results{words}"
    how = f"exited with status {status}"
    if status < 0:
        how = f"was ended by {signal.Signals(-status).name if -status in set(signal.Signals) else f'signal {-status}'}"
    hint = " (out of memory?)" if status == -signal.SIGKILL else ""
    return f"the adapter's process {how}{hint} before it reported results{words}"


def _no_score(metrics: dict[str, Any], primary: str) -> str | None:
    if primary not in metrics:
        return f"primary metric {primary!r} is missing (the framework reported: {', '.join(metrics) or 'none'})"
    value = metrics[primary]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"primary metric {primary!r} is not a number: {value!r}"
    return None if _finite(value) is not None else f"primary metric {primary!r} is not a finite number: {value}"


def _stderr(metrics: dict[str, Any], name: str) -> float | None:
    """Return the standard error of a metric: `acc_stderr` beside `acc`, `acc_stderr,none` beside `acc,none`."""
    head, comma, rest = name.partition(",")
    found = _finite(metrics.get(f"{head}_stderr{comma}{rest}"))
    return found if found is not None and found >= 0 else None


def _value(value: Any) -> bool | int | float | str | None:
    """Return `value` as results can hold it; NaN and infinity become null, which is no score either."""
    number = _finite(value)
    whole = isinstance(value, int) and number is not None and abs(value) <= 2**53
    return value if whole or isinstance(value, (bool, str)) else number


def _finite(value: Any) -> float | None:
    with contextlib.suppress(OverflowError):
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


class _Redaction:
    """Replaces secrets, as written and as Python, JSON, URL or base64 write them; counts what it replaced."""

    def __init__(self, secrets: list[str]) -> None:
        self.secrets: set[str] = set()
        self.count = 0
        self.add(secrets)

    def add(self, secrets: list[str]) -> None:
        self.secrets.update(secrets)
        forms = set()
        for secret in self.secrets:
            if len(secret) < _SHORTEST_SECRET:
                continue
            forms |= {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe="")}
            for before in range(3):  # wherever in a group of three bytes it stands
                encoded = base64.b64encode(bytes(before) + secret.encode()).decode()
                certain = encoded[(8 * before + 5) // 6 : 8 * (before + len(secret.encode())) // 6]
                forms |= {certain, certain.translate(str.maketrans("+/", "-_"))}
        # the longest first: a form may contain another
        ordered = sorted((form for form in forms if len(form) >= _SHORTEST_SECRET), key=len, reverse=True)
        self.pattern = "|".join(map(re.escape, ordered)) or r"(?!)"

    def document(self, value: Any) -> Any:
        """Return a JSON value without secrets, and without what canonical JSON cannot hold."""
        if isinstance(value, str):
            value, count = re.subn(self.pattern, "***", value)
            self.count += count
            return value.encode("utf-8", "replace").decode()
        if isinstance(value, dict):
            return {self.document(str(key)): self.document(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.document(item) for item in value]
        return value if isinstance(value, (bool, type(None))) or _finite(value) is not None else str(value)

    def tree(self, folder: Path) -> None:
        """Rewrite every file below `folder` that holds a secret, and rename what bears one."""
        pattern = re.compile(self.pattern.encode())
        for parent, folders, names in os.walk(folder, topdown=False):
            for path in (Path(parent) / name for name in names):
                if path.stat().st_size and pattern.pattern != b"(?!)":
                    self._file(path, pattern)
            for number, name in enumerate([*names, *folders]):
                shown, count = re.subn(self.pattern, "***", name)
                if count:
                    (Path(parent) / name).rename(Path(parent) / f"{shown}.{number}")
                self.count += count

    def _file(self, path: Path, pattern: re.Pattern[bytes]) -> None:
        part = path.with_name(f".{path.name}.part")
        with path.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content:
            spans = [match.span() for match in pattern.finditer(content)]
            if not spans:
                return
            done = 0
            with part.open("wb") as target, memoryview(content) as view:
                for start, end in spans:
                    target.write(view[done:start])
                    target.write(b"***")
                    done = end
                target.write(view[done:])
        self.count += len(spans)
        part.replace(path)


class _Memory:
    """Tells when over 95 % of the container's memory are in use: past the limit all of it is killed, evidence too."""

    def __init__(self, root: Path = Path("/sys/fs/cgroup")) -> None:
        self.limit = 0
        version_2, version_1 = ("max", "current", ""), ("limit_in_bytes", "usage_in_bytes", "total_")
        for folder, (limit, used, total) in ((root, version_2), (root / "memory", version_1)):
            if (text := _text(folder / f"memory.{limit}").strip()).isdigit():
                self.limit, self.used, self.stat = int(text), folder / f"memory.{used}", folder / "memory.stat"
                self.cache = re.compile(rf"^{total}inactive_file (\d+)", re.MULTILINE)
                break

    def exceeded(self) -> str | None:
        if not 0 < self.limit < 1 << 60:  # version 1 writes "no limit" as a huge number
            return None
        cache = self.cache.search(_text(self.stat))  # the kernel drops it before it kills anything
        used = int(_text(self.used) or 0) - int(cache[1] if cache else 0)
        shown = f"{used >> 20} MiB in use of the container's {self.limit >> 20} MiB (raise its memory limit)"
        return f"out of memory: {shown}" if used > self.limit * 0.95 else None


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """Kill the process group, and what left it and has become a child of ours."""
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with contextlib.suppress(OSError):
        while pids := _text(f"/proc/self/task/{os.getpid()}/children").split():
            for pid in map(int, pids):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _machine(entrypoint: list[str], environ: dict[str, str]) -> dict[str, Any]:
    """Return hardware, system, and the Python and packages of the entrypoint; null where nothing is known."""
    words = [entrypoint[0], *(entrypoint[-1].split() if entrypoint[1:2] == ["-c"] else [])]  # what a shell starts
    python = next((word for word in words if "python" in os.path.basename(word)), "python3")
    version, folders = None, []
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = [python, "-c", "import sys; print(sys.version.split()[0], *sys.path, sep='\\n')"]
        version, *folders = subprocess.check_output(command, env=environ, timeout=30).decode().splitlines()
    packages: dict[str, str] = {}
    for name in (name for folder in folders if os.path.isdir(folder) for name in sorted(os.listdir(folder))):
        if match := re.fullmatch(r"(.+?)-(\d[^-]*)(?:\.dist-info|(?:-py[\d.]+)?\.egg-info)", name):
            packages.setdefault(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2])
    cpu = re.search(r"^model name\s*:\s*(.+)", _text("/proc/cpuinfo"), re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text("/etc/os-release"), re.MULTILINE)
    memory, processor = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), cpu[1].strip() if cpu else None
    distribution = system[1] if system else None
    return {
        "schema_version": 1,
        "hardware": {"machine": platform.machine(), "cpu": processor, "cpus": os.cpu_count(), "memory": memory},
        "os": {"kernel": platform.release(), "system": platform.system(), "distribution": distribution},
        "python": {"version": version},
        "packages": packages,
        "image": {"reference": os.environ.get("EVALHUB_IMAGE"), "digest": os.environ.get("EVALHUB_IMAGE_DIGEST")},
    }


def _secret(target: Path) -> Path:
    """Return `target` with the model's credentials in it: the SDK follows no links, and knows no other CA."""
    target.mkdir(mode=0o700)
    given = Path(os.environ.get("EVALHUB_MODEL_SECRET") or os.devnull)
    bundle = Path(os.environ.get("EVALHUB_CA") or os.devnull, "ca-bundle.crt")
    for name, source in (("ca_cert", bundle), *((name, given / name) for name in ("ca_cert", "api-key", "hf-token"))):
        if source.is_file():
            shutil.copyfile(source, target / name)
    return target


def _token_file(auth: str, secret: Path) -> Path | None:
    """Return the file with the token of the service account, when the model is asked with that.

    Raises:
        ValueError: there is none, or a key beside it.
    """
    if auth.strip() in ("", "secret"):
        return None
    if auth.strip() != "service-account":
        raise ValueError("model_auth: must be secret or service-account")
    if (secret / "api-key").is_file():
        raise ValueError("EVALHUB_MODEL_SECRET: has an api-key, and a service account's token was asked for (drop one)")
    path = Path(os.environ.get("EVALHUB_SERVICE_ACCOUNT_TOKEN") or _POD_TOKEN)
    if not _key(path):
        raise ValueError(f"{path}: there is no token of a service account (automountServiceAccountToken is off?)")
    cluster_ca = path.with_name("service-ca.crt")  # OpenShift's, for the services in the cluster
    if cluster_ca.is_file() and not (secret / "ca_cert").is_file():
        shutil.copyfile(cluster_ca, secret / "ca_cert")
    return path


def _key(path: Path) -> str:
    value = path.read_bytes().strip() if path.is_file() else b""
    # what else there is in it cannot be sent in a header, and an error about that would quote it
    if not all(0x20 <= byte < 0x7F for byte in value):
        raise ValueError(f"{path.name}: must be one line of printable ASCII")
    return value.decode("ascii")


def _clean(folder: Path) -> None:
    """Remove what is no plain file and make the rest readable."""
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent) / name for name in [*folders, *names]):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                path.unlink()
            elif not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
                path.chmod(0o755 if path.is_dir() else 0o644)


def _unpack(blob: Path, layer: dict[str, Any], target: Path) -> None:
    """Write the files of an artifact's layer below `target`: those of a tar, else the one that its title names."""
    if "tar" not in layer["mediaType"]:
        title = (layer.get("annotations") or {}).get("org.opencontainers.image.title", blob.name)
        shutil.copyfile(blob, _below(target, title))
        return
    with tarfile.open(blob) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content:
                _copy(content, _below(target, member.name))


def _below(root: Path, name: str) -> Path:
    """Return the place of `name` below `root`, wherever it wants to be, with its folder made."""
    path = root.joinpath(*[part for part in name.split("/") if part not in ("", ".", "..")])
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _copy(source: IO[bytes], target: Path, mode: str = "wb") -> None:
    with target.open(mode) as file:
        shutil.copyfileobj(source, file)


def _text(path: str | Path) -> str:
    """Return the text in `path`, nothing when it cannot be read."""
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _write(path: Path, value: Any) -> None:
    """Write the canonical JSON of `value` by rename."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(_canonical(value).encode())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _say(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _now() -> str:
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()


def _digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(_canonical(value).encode()).hexdigest()


def _canonical(value: Any) -> str:
    """Return canonical JSON (RFC 8785), as `evalhub_components.canonical` writes it."""
    if isinstance(value, dict):
        # ordered by UTF-16 code units, not by code points
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_canonical(key)}:{_canonical(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 2**53):
        return _number(float(value))
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """Return a number as ECMAScript prints it (RFC 8785, section 3.2.2.3)."""
    if not math.isfinite(value):
        raise ValueError("NaN and infinity are not JSON numbers")
    _, figures, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    digits, sign = "".join(map(str, figures)), "-" if value < 0 else ""
    point = len(digits) + int(exponent)  # the position of the decimal point, counted from the first digit
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
