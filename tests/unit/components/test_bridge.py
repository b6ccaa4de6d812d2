"""The bridge, run as it is run in a foreign image: whatever the entrypoint posts or does, results are left."""

from __future__ import annotations

import ast
import base64
import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_components import bridge, canonical
from evalhub_components.benchmark.memory import MemoryWatch
from evalhub_components.redaction import Redaction
from evalhub_components.schema import collection
from evalhub_components.schema.plan import BenchmarkTask, TaskRequest
from evalhub_components.schema.results import BenchmarkResults

PATIENCE = 120  # seconds; far beyond what anything here takes, for machines with better things to do
SOURCE = Path(bridge.__file__).read_text("utf-8")
KEY = 'sk-"1+&\\KEY' + "7" * 20
TOKEN = "hf_plainTOKEN0123456789"
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps these promises, other systems cannot")

ENTRYPOINT = '''\
"""An adapter without EvalHub's SDK: posts what its parameters say, then does what they say."""
import hashlib, io, json, os, signal, subprocess, sys, tarfile, time, urllib.error, urllib.request
from pathlib import Path

job = json.loads(Path(os.environ["EVALHUB_JOB_SPEC_PATH"]).read_text())
base = Path(os.environ["EVALHUB_JOB_SPEC_PATH"]).parent.parent
url = job["callback_url"]


def send(method, target, body=b""):
    content = body if isinstance(body, bytes) or hasattr(body, "__next__") else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(target, content, method=method), timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def event(**fields):
    own = {"provider_id": job["provider_id"], "id": job["benchmark_id"], "benchmark_index": job["benchmark_index"]}
    return {"benchmark_status_event": {**own, "status": "completed", **fields}}


def post(body, job_id=job["id"]):
    status, _, answer = send("POST", f"{url}/api/v1/evaluations/jobs/{job_id}/events", body)
    print(status, answer.decode(), flush=True)
    return status


for fields in job["parameters"].get("posts", []):
    assert post(event(**fields)) == 204
exec(job["parameters"].get("do", ""))
'''


@dataclass
class Outcome:
    """A bridge that ended."""

    folder: Path
    status: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    def entry(self, index: int = 0) -> Path:
        [found] = self.folder.glob(f"{index:03d}-*")
        return found

    def results(self, index: int = 0) -> BenchmarkResults:
        return BenchmarkResults.model_validate_json((self.entry(index) / "results.json").read_bytes())

    def reason(self, index: int = 0) -> str:
        results = self.results(index)
        assert results.status == "failed"
        return str(results.reason)

    def log(self, index: int = 0) -> str:
        return (self.entry(index) / "log.txt").read_text()


@dataclass
class Step:
    """A bridge to be run in `folder`, where the entrypoint's `main.py` lies."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    python: str = sys.executable
    entrypoint: tuple[str, ...] = (sys.executable, "main.py")

    def start(self, tasks: object, *more: str, **options: Any) -> subprocess.Popen[str]:
        (self.folder / "main.py").write_text(ENTRYPOINT)
        task = tasks if isinstance(tasks, str) else json.dumps(tasks)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("EVALHUB_")}
        process = subprocess.Popen(
            [
                *(self.python, "-I", "-c", SOURCE, "--task", task, "--model-url", "http://127.0.0.1:9/v1/"),
                *("--model-name", "a-model", "--job-id", "ab" * 16, "--results", str(self.folder / "results"), *more),
                *(["--", *self.entrypoint] if self.entrypoint else []),
            ],
            cwd=self.folder,
            env={**environ, "TMPDIR": str(self.folder), **self.environ},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **{"stdin": subprocess.DEVNULL, **options},
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> Outcome:
        stdout, stderr = process.communicate(timeout=PATIENCE)
        return Outcome(self.folder / "results", process.returncode, stdout, stderr)

    def run(self, tasks: object, *more: str) -> Outcome:
        """Run the bridge and return what it left; it must have exited with 0."""
        outcome = self.end(self.start(tasks, *more))
        assert outcome.status == 0, outcome.stderr
        return outcome


@pytest.fixture
def step(tmp_path: Path) -> Iterator[Step]:
    yield from _step(tmp_path)


@pytest.fixture(scope="module")
def module_step(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Step]:
    yield from _step(tmp_path_factory.mktemp("bridge"))


def _step(folder: Path) -> Iterator[Step]:
    found = Step(folder)
    yield found
    for process in found.started:
        process.kill()
        process.communicate()


def a_task(index: int = 0, name: str = "a-benchmark", **given: Any) -> dict[str, Any]:
    """Return a task whose parameters are the arguments that are no field of a task."""
    own = {key: given.pop(key) for key in list(given) if key in BenchmarkTask.model_fields}
    task = {"index": index, "slug": f"{index:03d}-{name}", "provider_id": "a-provider", "benchmark_id": name}
    return {**task, "primary_score": {"metric": "acc"}, "timeout": PATIENCE, "parameters": given, **own}


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---- how a benchmark ends; all of them in one run of the bridge

WELL: dict[str, Any] = {"metrics": {"acc": 0.75}}
ENDINGS: dict[str, dict[str, Any]] = {
    "well": {"posts": [{"status": "running", "phase": "loading_data"}, WELL]},
    "silent": {},
    "talkative": {"do": "print('I looked everywhere')"},
    "raise": {"do": "raise ValueError('the dataset is gone')"},
    "exit-3": {"do": "os._exit(3)"},
    "signal": {"do": "os.kill(os.getpid(), signal.SIGTERM)"},
    "killed": {"do": "os.kill(os.getpid(), signal.SIGKILL)"},
    "hang": {"do": "print('still here'); time.sleep(600)", "timeout": 1},
    "told": {"posts": [{"status": "failed", "error_message": {"message": "no GPU", "message_code": "x"}}]},
    "told-and-raised": {"posts": [{"status": "failed", "error_message": "no GPU"}], "do": "sys.exit(1)"},
    "told-and-hung": {
        "posts": [{"status": "failed", "error_message": {"message": "no GPU"}}],
        **{"do": "time.sleep(600)", "timeout": 1},
    },
    "told-nothing": {"posts": [{"status": "cancelled"}]},
    "missing": {"posts": [{"metrics": {"f1": 1, "bleu": 2}}]},
    "no-metric": {"posts": [{"metrics": {}}]},
    "nan": {"do": "post(event(metrics={'acc': float('nan')}))"},
    "infinite": {"do": "post(event(metrics={'acc': float('-inf')}))"},
    "bool": {"posts": [{"metrics": {"acc": True}}]},
    "string": {"posts": [{"metrics": {"acc": "0.5"}}]},
    "null": {"posts": [{"metrics": {"acc": None}}]},
    "beside": {
        "do": "post(event(metrics={'acc': 1, 'ppl': float('nan'), 'name': 'N/A', 'per_class': [1], 'n': 2**60}))",
    },
    "stderr": {"posts": [{"metrics": {"acc": 0.5, "acc_stderr": 0.125, "f1,none": 0.25, "f1_stderr,none": 0.5}}]},
    "bad-stderr": {"posts": [{"metrics": {"acc": 0.5, "acc_stderr": "N/A", "f1": 1, "f1_stderr": -1}}]},
    "twice": {"posts": [WELL, {"metrics": {"acc": 0.25}}]},
    "failed-then-results": {"posts": [{"status": "failed", "error_message": {"message": "first"}}, WELL]},
    "results-then-failed": {"posts": [WELL, {"status": "failed", "error_message": {"message": "late"}}]},
    "results-then-exit": {"posts": [WELL], "do": "sys.exit(5)"},
    "results-then-hang": {"posts": [WELL], "do": "time.sleep(600)", "timeout": 1},
    "completed-without-metrics": {"posts": [{"status": "completed"}]},
    "not-json": {"do": "assert post(b'{') == 400"},
    "no-event": {"do": "assert post({'status': 'completed'}) == 400 == post([])"},
    "wrong-benchmark": {"do": "assert post(event(id='another', metrics={'acc': 1})) == 400"},
    "wrong-index": {"do": "assert post(event(benchmark_index=99, metrics={'acc': 1})) == 400"},
    "wrong-provider": {"do": "assert post(event(provider_id='another', metrics={'acc': 1})) == 400"},
    "no-provider": {"posts": [{"provider_id": "", **WELL}]},
    "wrong-job": {"do": "assert post(event(metrics={'acc': 1}), 'another') == 404"},
    "wrong-metrics": {"do": "assert post(event(metrics=[1])) == 400"},
    "half-a-character": {"do": r"post(event(metrics={'acc': 1, 'caf\ud800': '\udfff'}))"},
    "recovered": {"do": "assert post({}) == 400; assert post(event(metrics={'acc': 0.5})) == 204"},
    "unsent": {"do": "print('ERROR Failed to send results to evalhub: it is NaN'); print('Job completed')"},
    "child": {"posts": [WELL], "do": "subprocess.Popen(['sleep', '601'])"},
    "daemon": {"posts": [WELL], "do": "subprocess.Popen(['sleep', '602'], start_new_session=True)"},
    "cards": {
        "posts": [
            {
                **WELL,
                "overall_score": 0.75,
                "additional_info": {"zero_shot": True},
                "artifacts": {"evalhub.env_card": {"framework_name": "harness", "framework_version": "0.4"}},
            }
        ]
    },
}
INDEX = {name: index for index, name in enumerate(ENDINGS)}


@pytest.fixture(scope="module")
def endings(module_step: Step) -> Outcome:
    return module_step.run([a_task(INDEX[name], name, **given) for name, given in ENDINGS.items()])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("silent", "the adapter reported no results"),
        ("talkative", "the adapter reported no results (last words: I looked everywhere)"),
        (
            "raise",
            "the adapter's process exited with status 1 before it reported results "
            "(last words: ValueError: the dataset is gone)",
        ),
        ("exit-3", "the adapter's process exited with status 3 before it reported results"),
        ("signal", "the adapter's process was ended by SIGTERM before it reported results"),
        ("killed", "the adapter's process was ended by SIGKILL (out of memory?) before it reported results"),
        ("hang", "timed out after 1 s (raise its timeout, or lower num_examples)"),
        ("told", "no GPU"),
        ("told-and-raised", "no GPU"),
        ("told-and-hung", "no GPU"),
        ("told-nothing", "the adapter reported cancelled and gave no reason"),
        ("failed-then-results", "first"),
        ("missing", "primary metric 'acc' is missing (the framework reported: f1, bleu)"),
        ("no-metric", "primary metric 'acc' is missing (the framework reported: none)"),
        ("nan", "primary metric 'acc' is not a finite number: nan"),
        ("infinite", "primary metric 'acc' is not a finite number: -inf"),
        ("bool", "primary metric 'acc' is not a number: True"),
        ("string", "primary metric 'acc' is not a number: '0.5'"),
        ("null", "primary metric 'acc' is not a number: None"),
    ],
)
def test_what_is_no_evidence_is_failed_with_the_reason(endings: Outcome, name: str, reason: str) -> None:
    assert endings.reason(INDEX[name]) == reason


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("completed-without-metrics", "the adapter reported no results (last words: 204"),
        ("not-json", "Expecting property name"),
        ("no-event", "there is no benchmark_status_event"),
        ("wrong-benchmark", "id must be 'wrong-benchmark', got 'another'"),
        ("wrong-index", f"benchmark_index must be {INDEX['wrong-index']}, got 99"),
        ("wrong-provider", "provider_id must be 'a-provider', got 'another'"),
        ("wrong-job", "there is no POST /api/v1/evaluations/jobs/another/events here"),
        ("wrong-metrics", "metrics an object"),
        ("unsent", "Failed to send results to evalhub: it is NaN"),
    ],
)
def test_what_was_wrong_with_a_report_is_in_the_reason(endings: Outcome, name: str, part: str) -> None:
    assert endings.reason(INDEX[name]).startswith("the adapter reported no results (last words: ")
    assert part in endings.reason(INDEX[name])


@pytest.mark.parametrize(
    "name",
    ["well", "no-provider", "recovered", "results-then-failed", "results-then-exit", "results-then-hang", "child"],
)
def test_posted_results_are_completed_whatever_comes_after_them(endings: Outcome, name: str) -> None:
    results = endings.results(INDEX[name])
    assert (results.status, results.reason) == ("completed", None)


def test_the_first_results_count(endings: Outcome) -> None:
    assert endings.results(INDEX["twice"]).metrics["acc"].value == 0.75


def test_what_was_refused_is_noted_with_the_environment(endings: Outcome) -> None:
    facts = json.loads((endings.entry(INDEX["recovered"]) / "environment.json").read_bytes())
    [note] = facts["bridge"]["notes"]
    assert "there is no benchmark_status_event" in note


def test_a_metric_that_is_no_number_is_kept_as_none_beside_the_primary_one(endings: Outcome) -> None:
    found = {name: metric.value for name, metric in endings.results(INDEX["beside"]).metrics.items()}
    assert found == {"acc": 1, "ppl": None, "name": "N/A", "per_class": None, "n": 1152921504606847000}


def test_a_metric_named_as_the_error_of_another_is_its_error(endings: Outcome) -> None:
    metrics = endings.results(INDEX["stderr"]).metrics
    assert (metrics["acc"].stderr, metrics["f1,none"].stderr) == (0.125, 0.5)
    assert metrics["acc_stderr"].stderr is None
    assert {metric.stderr for metric in endings.results(INDEX["bad-stderr"]).metrics.values()} == {None}


def test_how_many_examples_there_were_is_unknown_when_nobody_says_it(endings: Outcome) -> None:
    results = endings.results(INDEX["well"])
    assert (results.num_requested, results.num_evaluated, results.num_errors) == (None, None, 0)


def test_text_that_is_no_unicode_is_kept_readable(endings: Outcome) -> None:
    assert endings.results(INDEX["half-a-character"]).metrics["caf?"].value == "?"


def test_the_log_is_what_the_adapter_printed_before_it_was_ended(endings: Outcome) -> None:
    assert endings.log(INDEX["hang"]) == "still here\n"


def test_progress_is_told_as_the_benchmark_step_tells_it(endings: Outcome) -> None:
    own = [event for event in endings.events if event["slug"] == "000-well"]
    seconds = own[-1].pop("seconds")
    assert seconds >= 0
    status = {"event": "status", "index": 0, "slug": "000-well", "completed": None, "total": None}
    assert own == [
        {**status, "phase": "initializing"},
        {**status, "phase": "loading_data"},
        {"event": "finished", "index": 0, "slug": "000-well", "status": "completed", "reason": None},
    ]


def test_what_was_posted_is_kept_line_by_line(endings: Outcome) -> None:
    lines = (endings.entry(INDEX["well"]) / "raw" / "events.jsonl").read_text().splitlines()
    bodies = [json.loads(line)["body"]["benchmark_status_event"] for line in lines]
    assert [(body["status"], body.get("metrics")) for body in bodies] == [
        ("running", None),
        ("completed", {"acc": 0.75}),
    ]


def test_the_cards_of_the_sdk_become_facts(endings: Outcome) -> None:
    facts = json.loads((endings.entry(INDEX["cards"]) / "environment.json").read_bytes())
    assert facts["framework"] == {"name": "harness", "version": "0.4"}
    assert facts["env_card"]["framework_name"] == "harness"
    assert (facts["overall_score"], facts["additional_info"], facts["seed"]) == (0.75, {"zero_shot": True}, 42)


@linux
def test_no_process_survives_the_benchmark_that_started_it(endings: Outcome) -> None:
    assert endings.results(INDEX["daemon"]).status == "completed"
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # others come and go
            assert Path(path).read_bytes() not in (b"sleep\x00601\x00", b"sleep\x00602\x00")


@pytest.mark.parametrize("name", ["task.json", "results.json", "environment.json"])
def test_documents_are_canonical(endings: Outcome, name: str) -> None:
    for path in endings.folder.glob(f"*/{name}"):
        assert path.read_bytes() == canonical.dumps(json.loads(path.read_bytes()))


def test_no_unfinished_file_and_no_scratch_is_left(endings: Outcome) -> None:
    assert not list(endings.folder.rglob("*.part"))
    assert not list(endings.folder.parent.glob("evalhub-*"))


# ---- what it is asked


def test_the_request_is_the_one_the_benchmark_step_writes(step: Step, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "questions.jsonl").write_text("{}\n")
    fields: dict[str, Any] = {
        "num_examples": 50,
        "weight": 0.1,
        "parameters": {"rate": 1e-7, "big": 1e21, "név": "é\u2028"},
    }
    more = ["--fingerprint", "sha256:" + "0" * 64, "--num-examples", "20", "--test-data", str(data)]
    (tmp_path / "adapter.py").write_text("")
    argv = [
        "--task",
        json.dumps([a_task(**fields)]),
        "--model-url",
        "http://127.0.0.1:9/v1/",
        "--model-name",
        "a-model",
    ]
    subprocess.run(
        [sys.executable, "-m", "evalhub_components.benchmark", *argv, "--results", str(tmp_path / "other"), *more],
        env={**os.environ, "EVALHUB_PROVIDER_DIR": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    outcome = step.run([a_task(**fields)], *more)
    found = (outcome.entry() / "task.json").read_bytes()
    assert found == (tmp_path / "other" / "000-a-benchmark" / "task.json").read_bytes()
    assert TaskRequest.model_validate_json(found).num_examples == 20
    assert outcome.results().data_digests == json.loads(
        (tmp_path / "other" / "000-a-benchmark" / "results.json").read_bytes()
    ).get("data_digests")


WHOLE = a_task(
    threshold={"value": 0.1 + 0.2, "source": "provider"},
    test_data_ref={"git": {"url": "https://git.example/x", "ref": "main"}},
    hardware={"cpu": {"limit": "2"}, "gpu": {}, "queue": {"name": "q"}},
    num_few_shot=5,
    dataset_size=1319,
    parameters={
        "numbers": [0.1, 1e-7, 1.5e300, -0.0, 2**53 - 1, 1e20, 1e21, 100.0],
        "é": {"\U0001f600": 1, "\ufb33": 2},
    },
)


@pytest.mark.parametrize(
    "task",
    [
        a_task(),
        WHOLE,
        a_task(hardware={}, test_data_ref={"type": "pre_recorded_data", "pvc": {"claim_name": "c"}}),
        a_task(hardware={"memory": {"request": "1Gi"}}, test_data_ref={"s3": {"bucket": "b", "key": "k"}}),
        a_task(test_data_ref={"hf": {"repo_id": "r", "revision": "v1"}}),
    ],
    ids=["short", "whole", "empty", "s3", "hf"],
)
def test_the_digest_of_a_task_is_the_plans_however_much_of_it_was_left_out(task: dict[str, Any]) -> None:
    typed = BenchmarkTask.model_validate(task)
    for given_task in (task, typed.as_json(), json.loads(json.dumps(typed.as_json()))):
        assert bridge._digest(bridge._complete(given_task, "task")) == typed.digest()


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("s3", collection.S3Data),
        ("pvc", collection.PVCData),
        ("git", collection.GitData),
        ("hf", collection.HFData),
        ("test_data_ref", collection.TestDataRef),
        ("hardware", collection.HardwareConfig),
        ("cpu", collection.ResourceBounds),
        ("gpu", collection.GPUConfig),
        ("task", BenchmarkTask),
    ],
)
def test_the_defaults_are_those_of_the_schema(kind: str, model: Any) -> None:
    # a task without a judge does not mention one, and an adapter made for EvalHub knows none
    optional = {name: info for name, info in model.model_fields.items() if not info.is_required() and name != "judge"}
    assert bridge._DEFAULTS[kind] == {
        name: info.get_default(call_default_factory=True) for name, info in optional.items()
    }


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(JSON_VALUES)
def test_canonical_json_is_the_projects(value: Any) -> None:
    assert bridge._canonical(value).encode() == canonical.dumps(value)


def test_the_job_is_what_evalhub_would_hand_over(step: Step) -> None:
    given_task = a_task(num_few_shot=3, num_examples=50, parameters={"limit": 1, "num_examples": 40})
    job = json.loads((step.run([given_task]).entry() / "raw" / "meta" / "job.json").read_bytes())
    host = job["exports"]["oci"]["coordinates"].pop("oci_host")
    assert job.pop("callback_url") == f"http://{host}"
    assert host.startswith("127.0.0.1:")
    assert job == {
        "id": "ab" * 16,
        "provider_id": "a-provider",
        "benchmark_id": "a-benchmark",
        "benchmark_index": 0,
        "model": {"url": "http://127.0.0.1:9/v1", "name": "a-model"},
        "parameters": {"limit": 1, "num_few_shot": 3},
        "num_examples": 40,
        "primary_score": {"metric": "acc", "lower_is_better": False},
        "experiment_name": "a-provider",
        "tags": [],
        "exports": {"oci": {"coordinates": {"oci_repository": "evalhub/000-a-benchmark", "annotations": {}}}},
    }


def test_the_entrypoint_starts_where_the_bridge_was_started_with_a_scratch_folder_of_its_own(step: Step) -> None:
    step.environ.update(NO_PROXY="internal.example", EVALHUB_MODE="k8s", MLFLOW_TRACKING_URI="https://real.example")
    do = "print(os.getcwd()); print(json.dumps(dict(os.environ))); print(os.listdir(os.environ['TMPDIR']))"
    log = step.run([a_task(do=do)], "--test-data", str(step.folder)).log().splitlines()
    environ = json.loads(log[1])
    assert log[0] == str(step.folder)
    assert log[2] == "[]"
    assert environ["EVALHUB_JOB_SPEC_PATH"].endswith("/meta/job.json")
    assert (environ["EVALHUB_MODE"], environ["OCI_INSECURE"]) == ("local", "true")
    assert environ["EVALHUB_TEST_DATA"] == str(step.folder)
    assert environ["NO_PROXY"] == "internal.example,127.0.0.1"
    assert environ["MLFLOW_TRACKING_URI"].startswith("http://127.0.0.1:")
    assert not Path(environ["TMPDIR"]).exists()


def test_a_shell_command_is_an_entrypoint(step: Step) -> None:
    step.entrypoint = ("sh", "-c", f"exec {sys.executable} main.py")
    outcome = step.run([a_task(posts=[WELL])])
    assert outcome.results().status == "completed"
    facts = json.loads((outcome.entry() / "environment.json").read_bytes())
    assert facts["python"]["version"] == sys.version.split()[0]
    assert "pydantic" in facts["packages"]  # those of the entrypoint's Python, not of one that is isolated
    assert facts["hardware"]["cpus"] == os.cpu_count()


def test_an_entrypoint_that_does_not_exist_is_a_failed_benchmark(step: Step) -> None:
    step.entrypoint = ("no-such-command", "--now")
    assert "cannot be started: No such file or directory (no-such-command)" in step.run([a_task()]).reason()


def test_numbers_are_given_to_the_dashboard(step: Step, tmp_path: Path) -> None:
    made = {"name": "metrics", "uri": "minio://bucket/metrics", "type": {"schemaTitle": "system.Metrics"}}
    outputs = {"artifacts": {"metrics": {"artifacts": [made]}}, "outputFile": str(tmp_path / "kfp" / "output.json")}
    tasks = [a_task(0, "a", posts=[WELL]), a_task(1, "b"), a_task(2, "c", posts=[{"metrics": {"acc": 1, "x": "y"}}])]
    step.run(tasks, "--executor-input", json.dumps({"inputs": {}, "outputs": outputs}))
    written = json.loads((tmp_path / "kfp" / "output.json").read_bytes())
    shown = {"name": "metrics", "uri": "minio://bucket/metrics", "metadata": {"a/acc": 0.75, "c/acc": 1.0}}
    assert written == {"artifacts": {"metrics": {"artifacts": [shown]}}}


@pytest.mark.parametrize(
    ("tasks", "entrypoint", "words"),
    [
        ("[]", ("true",), "--task: must be a JSON list of benchmark tasks, and not empty"),
        ("{}", ("true",), "--task: must be a JSON list of benchmark tasks, and not empty"),
        ("[{}]", ("true",), "there is no 'slug' where one must be"),
        ("@missing.json", ("true",), "missing.json"),
        ("[{}]", (), "-- ENTRYPOINT: is missing"),
    ],
)
def test_wrong_usage_is_an_error_of_the_step(step: Step, tasks: str, entrypoint: tuple[str, ...], words: str) -> None:
    step.entrypoint = entrypoint
    outcome = step.end(step.start(tasks))
    assert outcome.status == 2
    assert words in outcome.stderr
    assert "Traceback" not in outcome.stderr


# ---- what adapters hand over beside their metrics

PUSH = """
def blob(content):
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    assert send("HEAD", f"{registry}/blobs/{digest}")[0] == 404
    status, headers, _ = send("POST", f"{registry}/blobs/uploads/")
    assert status == 202
    place = url + headers["Location"]
    status, headers, _ = send("PATCH", place, content[:10])
    assert status == 202 and headers["Range"] == f"0-{len(content[:10]) - 1}"
    assert send("PUT", f"{place}?digest={digest}", content[10:])[0] == 201
    assert send("HEAD", f"{registry}/blobs/{digest}")[0] == 200
    return digest

coordinates = job["exports"]["oci"]["coordinates"]
registry = f"http://{coordinates['oci_host']}/v2/{coordinates['oci_repository']}"
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz") as archive:
    for name in ("/folder/report.json", "../../../escape.txt"):
        member = tarfile.TarInfo(name)
        member.size = 7
        archive.addfile(member, io.BytesIO(b"content"))
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive.addfile(link)
layers = [
    {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": blob(packed.getvalue())},
    {"mediaType": "text/plain", "digest": blob(b"a" * 99), "annotations": {"org.opencontainers.image.title": "a.txt"}},
]
status, headers, _ = send("PUT", f"{registry}/manifests/latest", {"layers": layers})
assert status == 201 and headers["Docker-Content-Digest"].startswith("sha256:")
assert send("PUT", f"{registry}/manifests/latest", {"layers": []})[0] == 201
assert send("GET", f"{url}/v2/")[0] == 200
status, headers, _ = send("POST", f"{registry}/blobs/uploads/")
assert send("PUT", url + headers["Location"] + "?digest=sha256:" + "0" * 64, b"other")[0] == 400
assert send("PUT", f"{registry}/manifests/x", {"layers": [{"mediaType": "t", "digest": "sha256:missing"}]})[0] == 400
assert send("DELETE", f"{registry}/manifests/latest")[0] == 501
"""

LOG = """
mlflow = url + "/api/2.0/mlflow"
experiment = json.loads(send("GET", mlflow + "/experiments/get-by-name?experiment_name=x")[2])["experiment"]
created = send("POST", mlflow + "/runs/create", {"experiment_id": experiment["experiment_id"]})
run = json.loads(created[2])["run"]["info"]
count = {"key": "num_examples_evaluated", "value": "%s"}
assert send("POST", mlflow + "/runs/log-batch", {"run_id": run["run_id"], "params": [count]})[0] == 200
place = run["artifact_uri"].replace("mlflow-artifacts:", url + "/api/2.0/mlflow-artifacts/artifacts")
assert send("PUT", place + "/tables/one%%20table.csv", b"a,b")[0] == 200
assert send("PUT", place + "/../../../../escape.txt", b"no")[0] == 200
assert send("PUT", place + "/no-length.txt", iter([b"no"]))[0] == 400
post(event(metrics={"acc": 0.5}))
"""


def test_a_pushed_artifact_is_kept_as_files(step: Step) -> None:
    outcome = step.run([a_task(do=PUSH, posts=[WELL])])
    assert "Traceback" not in outcome.log()
    raw = outcome.entry() / "raw"
    found = {path.relative_to(raw / "artifact-1").as_posix() for path in (raw / "artifact-1").rglob("*")}
    assert found == {"a.txt", "escape.txt", "folder", "folder/report.json"}
    assert (raw / "artifact-1" / "folder" / "report.json").read_bytes() == b"content"
    assert (raw / "artifact-1" / "a.txt").read_bytes() == b"a" * 99
    assert not list(step.folder.parent.glob("escape.txt"))


def test_what_is_logged_to_mlflow_is_kept_and_says_how_many_examples_there_were(step: Step) -> None:
    outcome = step.run([a_task(0, do=LOG % "7"), a_task(1, do=LOG % "0"), a_task(2, do=LOG % "many")])
    assert "Traceback" not in outcome.log()
    files = outcome.entry() / "raw" / "mlflow"
    assert (files / "tables" / "one table.csv").read_bytes() == b"a,b"
    assert {path.name for path in files.iterdir()} == {"tables", "escape.txt"}
    assert (outcome.results(0).status, outcome.results(0).num_evaluated) == ("completed", 7)
    assert outcome.reason(1) == "no example was evaluated"
    assert outcome.results(2).num_evaluated is None


def test_files_in_the_job_folder_are_kept_when_they_are_plain(step: Step) -> None:
    do = """
(base / "results" / "deep").mkdir(parents=True)
(base / "results" / "deep" / "out.json").write_text("{}")
(base / "results" / "link").symlink_to("/etc/passwd")
os.mkfifo(base / "results" / "pipe")
(base / "results" / "locked").mkdir(mode=0)
"""
    raw = step.run([a_task(do=do, posts=[WELL])]).entry() / "raw"
    found = {path.relative_to(raw).as_posix() for path in (raw / "results").rglob("*")}
    assert found == {"results/deep", "results/deep/out.json", "results/locked"}


# ---- secrets


def a_secret(step: Step, **files: str) -> Path:
    folder = step.folder / "secret"
    folder.mkdir()
    for name, content in files.items():
        (folder / ("ca_cert" if name == "ca_cert" else name.replace("_", "-"))).write_text(content)
    step.environ["EVALHUB_MODEL_SECRET"] = str(folder)
    return folder


def test_the_adapter_gets_the_credentials_as_plain_files_and_none_is_left(step: Step) -> None:
    folder = a_secret(step, api_key=KEY + "\n")
    (folder / "hf-token").symlink_to(folder / "api-key")  # the SDK would not follow it
    (folder.parent / "ca-bundle.crt").write_text("a certificate")
    step.environ["EVALHUB_CA"] = str(folder.parent)
    do = """
place = Path(job["model"]["auth"]["secret_ref"].replace("file://", ""))
print(sorted((path.name, path.is_symlink(), len(path.read_text())) for path in place.iterdir()))
print(oct(place.stat().st_mode), "EVALHUB_MODEL_SECRET" in os.environ, place)
"""
    files, rest = step.run([a_task(do=do, posts=[WELL])]).log().splitlines()[-2:]
    length = len(KEY) + 1
    assert files == str([("api-key", False, length), ("ca_cert", False, 13), ("hf-token", False, length)])
    mode, inherited, place = rest.split()
    assert (mode, inherited) == ("0o40700", "False")
    assert not Path(place).exists()


LEAK = """
import base64, urllib.parse
place = Path(job["model"]["auth"]["secret_ref"].replace("file://", ""))
for name in ("api-key", "hf-token"):
    key = (place / name).read_text().strip()
    forms = [key, repr(key), json.dumps(key), urllib.parse.quote(key, safe="")]
    print(forms, key.encode(), base64.b64encode(b"user:" + key.encode()).decode())
    (base / f"of-{key.replace('/', '')}").mkdir()
    (base / f"of-{key.replace('/', '')}" / "large.bin").write_bytes(b"x" * 65531 + key.encode() + b"y" * 99)
    (base / "untouched.bin").write_bytes(bytes(range(256)))
    post(event(status="running", phase=key))
    post(event(status="running", warning_message={"message": key}))
post(event(status="failed", error_message={"message": "401 for key " + key}))
"""


def test_no_secret_is_in_what_is_kept_or_said(step: Step) -> None:
    a_secret(step, api_key=KEY + "\n", hf_token=TOKEN)
    outcome = step.run([a_task(do=LEAK)])
    for secret in (KEY, TOKEN):
        encoded = base64.b64encode(b"user:" + secret.encode()).decode()[8:-4]
        forms = [secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe=""), encoded]
        for path in outcome.folder.rglob("*"):
            content = str(path) + (path.read_bytes().decode("latin-1") if path.is_file() else "")
            assert not [form for form in forms if form in content], path
        assert not [form for form in forms if form in outcome.stdout + outcome.stderr]
    assert outcome.reason() == "401 for key ***"
    assert outcome.results().redactions > 10
    assert (outcome.entry() / "raw" / "untouched.bin").read_bytes() == bytes(range(256))


@pytest.mark.parametrize("secret", [KEY, TOKEN, "short", "ünïcode-sécret", "sk-/+==/+=="])
def test_secrets_are_recognised_as_the_project_recognises_them(secret: str) -> None:
    own, projects = bridge._Redaction([secret]), Redaction([secret])
    texts = [secret, repr(secret), json.dumps(secret), urllib.parse.quote(secret, safe=""), "nothing of it"]
    texts += [base64.b64encode(bytes(n) + secret.encode() + b"x").decode() for n in range(3)]
    for text in texts:
        assert own.document(text) == projects.text(text)


def test_a_secret_that_is_no_credential_is_refused_without_being_shown(step: Step) -> None:
    a_secret(step, api_key="first line\nsecond line")
    outcome = step.end(step.start([a_task()]))
    assert outcome.status == 2
    assert "api-key: must be one line of printable ASCII" in outcome.stderr
    assert "second" not in outcome.stderr


RENEWED = """
place = Path(job["model"]["auth"]["secret_ref"].replace("file://", "")) / "api-key"
seen = [place.read_text()]
for token in ("a.second.token", "a.first.token"):
    Path("token").write_text(token)
    until = time.monotonic() + 20
    while place.read_text() != token and time.monotonic() < until:
        time.sleep(0.02)
    seen.append(place.read_text())
assert len(set(seen)) == 2 and seen[0] == seen[2]
print("asked with", seen, "EVALHUB_SERVICE_ACCOUNT_TOKEN" in os.environ)
(base / "seen.json").write_text(json.dumps(seen))
"""


def test_the_token_of_a_service_account_is_handed_on_whenever_it_is_another_one(step: Step) -> None:
    (step.folder / "token").write_text("a.first.token\n")
    step.environ["EVALHUB_SERVICE_ACCOUNT_TOKEN"] = str(step.folder / "token")
    outcome = step.run([a_task(do=RENEWED, posts=[WELL])], "--model-auth", "service-account")
    assert outcome.results().status == "completed"
    assert "asked with ['***', '***', '***'] False" in outcome.log()
    assert json.loads((outcome.entry() / "raw" / "seen.json").read_text()) == ["***", "***", "***"]


@pytest.mark.parametrize(
    ("auth", "token", "key", "words"),
    [
        ("service-account", None, None, "there is no token of a service account"),
        ("service-account", "a.token", "sk-a-key", "has an api-key, and a service account's token was asked for"),
        ("account", "a.token", None, "model_auth: must be secret or service-account"),
    ],
    ids=["no file", "a key as well", "another word"],
)
def test_what_cannot_be_handed_on_is_an_error(
    step: Step, auth: str, token: str | None, key: str | None, words: str
) -> None:
    if key:
        a_secret(step, api_key=key)
    if token:
        (step.folder / "token").write_text(token)
    step.environ["EVALHUB_SERVICE_ACCOUNT_TOKEN"] = str(step.folder / "token")
    outcome = step.end(step.start([a_task()], "--model-auth", auth))
    assert outcome.status == 2
    assert words in outcome.stderr
    assert not [secret for secret in (token, key) if secret and secret in outcome.stderr]


# ---- stopping

WAIT = "print(os.getpid(), flush=True); Path('ready').touch(); time.sleep(600)"


def test_a_signal_ends_the_entrypoint_and_keeps_what_is_finished(step: Step) -> None:
    process = step.start([a_task(0, posts=[WELL]), a_task(1, do=WAIT), a_task(2)])
    until((step.folder / "ready").exists)
    process.send_signal(signal.SIGTERM)
    outcome = step.end(process)
    assert outcome.status == 143
    assert outcome.results(0).status == "completed"
    assert not (outcome.entry(1) / "results.json").exists()
    assert not list(outcome.folder.glob("002-*"))
    assert "stopped by SIGTERM; finished benchmarks are kept" in outcome.stderr
    assert not is_alive(int(outcome.log(1).split()[0]))


def test_the_end_of_the_run_that_started_it_ends_it(step: Step) -> None:
    step.environ["EVALHUB_LIFELINE"] = "stdin"
    process = step.start([a_task(do=WAIT)], stdin=subprocess.PIPE)
    until((step.folder / "ready").exists)
    assert process.stdin
    process.stdin.close()
    process.stdin = None
    outcome = step.end(process)
    assert outcome.status == 143
    assert not is_alive(int(outcome.log().split()[0]))


@linux
def test_the_entrypoint_does_not_outlive_a_bridge_that_is_killed(step: Step) -> None:
    process = step.start([a_task(do=WAIT)])
    until((step.folder / "ready").exists)
    process.kill()
    outcome = step.end(process)
    until(lambda: not is_alive(int(outcome.log().split()[0])))


# ---- disk and memory


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "results"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must be able to mount a small file system (run the tests as root)")
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "fill", ["(base / 'big').write_bytes(bytes(2 << 20))", "[print('x' * 4000, flush=True) for _ in range(600)]"]
)
@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_fails_the_benchmark_that_filled_it(step: Step, fill: str) -> None:
    outcome = step.run([a_task(0, posts=[WELL]), a_task(1, posts=[WELL], do=fill), a_task(2, posts=[WELL])])
    assert "No space left on device" in outcome.reason(1)
    assert [outcome.results(index).status for index in (0, 2)] == ["completed", "completed"]
    assert not list(outcome.folder.rglob("*.part"))


@pytest.mark.parametrize("version", ["", "memory/"])
def test_memory_is_watched_as_the_benchmark_step_watches_it(tmp_path: Path, version: str) -> None:
    names = ("limit_in_bytes", "usage_in_bytes", "total_") if version else ("max", "current", "")
    folder = tmp_path / version
    folder.mkdir(exist_ok=True)
    (folder / f"memory.{names[0]}").write_text(f"{1000 << 20}\n")
    for used, cache in ((990, 100), (990, 10), (960, 0), (949, 0)):
        (folder / f"memory.{names[1]}").write_text(f"{used << 20}\n")
        (folder / "memory.stat").write_text(
            f"active_file 7\ninactive_file {cache << 20}\ntotal_inactive_file {cache << 20}\n"
        )
        assert bridge._Memory(tmp_path).exceeded() == MemoryWatch(tmp_path).exceeded()
    (folder / f"memory.{names[0]}").write_text(f"{0x7FFFFFFFFFFFF000}\n" if version else "max\n")
    assert bridge._Memory(tmp_path).exceeded() is None


# ---- what it is made of


def test_it_imports_nothing_but_the_standard_library_and_keeps_the_syntax_of_python_3_9() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 9))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_fits_into_an_argument_and_holds_nothing_that_pipelines_or_kubernetes_would_expand() -> None:
    assert len(SOURCE.encode()) < 100_000  # one argument may have 128 KiB
    for expanded in ("{{", "{$", "$("):
        assert expanded not in SOURCE


def pythons() -> list[str]:
    """Return one Python of every version on this machine that the bridge is for."""
    found: dict[tuple[int, ...], str] = {}
    own = glob.glob(f"{os.environ.get('PYENV_ROOT', os.path.expanduser('~/.pyenv'))}/versions/3.*/bin/python3")
    for path in [sys.executable, *own, *filter(None, (shutil.which(f"python3.{minor}") for minor in range(9, 20)))]:
        shown = subprocess.run([path, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
        if shown.returncode == 0 and (version := tuple(map(int, shown.stdout.split()))) >= (3, 9):
            found.setdefault(version, path)
    return list(found.values())


@pytest.mark.parametrize("python", pythons())
def test_every_python_of_this_machine_runs_it(step: Step, python: str) -> None:
    a_secret(step, api_key=KEY)
    step.python = python
    step.environ["PYTHONWARNINGS"] = "error"
    outcome = step.run([WHOLE | {"parameters": {"do": PUSH + "print(place)", "posts": [WELL]}}])
    assert outcome.results().status == "completed"
    assert outcome.results().task_digest == canonical.digest(
        json.loads((outcome.entry() / "task.json").read_bytes())["task"]
    )
    assert outcome.stderr == ""
