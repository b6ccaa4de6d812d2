"""The benchmark step as a process: whatever an adapter does, every benchmark leaves results."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalhub_components import canonical
from evalhub_components.evidence.building.kept_files import check_unique, kept_files

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps these promises, other systems cannot")

# name: (parameters, fields of the task); all of them in one step, in this order
ENDINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "raise": ({"do": "fail"}, {}),
    "refuse": ({"do": "refuse"}, {}),
    "long": ({"do": "fail_at_length"}, {}),
    "half-a-character": ({"do": "fail_with_half_a_character"}, {}),
    "exit-3": ({"do": "exit_3"}, {}),
    "exit-0": ({"do": "exit_0"}, {}),
    "sys-exit": ({"do": "leave"}, {}),
    "signal": ({"do": "die"}, {}),
    "nameless-signal": ({"do": "die_of_a_nameless_signal"}, {}),
    "hang": ({"do": "hang"}, {"timeout": 1}),
    "hang-deaf": ({"do": "hang_deaf"}, {"timeout": 1}),
    "half-samples": ({"do": "die_while_samples_are_written"}, {}),
    "wrong-type": ({"do": "return_nothing"}, {}),
    "wrong-benchmark": ({"do": "return_another"}, {}),
    "missing": ({"do": "another_metric"}, {}),
    "no-metric": ({"do": "no_metric"}, {}),
    "nan": ({"do": "nan"}, {}),
    "infinite": ({"do": "infinite"}, {}),
    "enormous": ({"do": "enormous"}, {}),
    "bool": ({"value": True}, {}),
    "string": ({"value": "0.5"}, {}),
    "null": ({"value": None}, {}),
    "none-evaluated": ({"num_examples_evaluated": 0}, {}),
    "count-missing": ({"num_examples_evaluated": None}, {}),
    "environment-is-a-list": ({"environment": ["numpy"], "usage": {}}, {}),
    "errors-above": ({"num_errors": 2, "num_examples_requested": 10}, {"max_error_rate": 0.1}),
    "errors-within": ({"num_errors": 1, "num_examples_requested": 10}, {"max_error_rate": 0.1}),
    "missing-above": ({"num_examples_requested": 12}, {"max_error_rate": 0.1}),
    "missing-within": ({"num_examples_requested": 11}, {"max_error_rate": 0.1}),
    "nan-beside": ({"do": "nan_beside"}, {}),
    "report-and-go-on": ({"do": "report_and_go_on"}, {}),
    "report-and-fail": ({"do": "report_and_fail"}, {}),
    "report-and-hang": ({"do": "report_and_hang"}, {"timeout": 1}),
    "progress": ({"do": "progress"}, {}),
    "threads": ({"do": "talk_from_threads"}, {}),
    "facts": ({"do": "many_facts"}, {}),
    "first-work-dir": ({"do": "empty_work_dir"}, {}),
    "second-work-dir": ({"do": "empty_work_dir"}, {}),
    "artifact": ({"do": "artifact"}, {}),
    "odd-files": ({"do": "odd_files"}, {}),
    "process": ({"do": "leave_a_process"}, {}),
    "daemon": ({"do": "leave_a_daemon"}, {}),
    "fork": ({"do": "leave_a_fork"}, {}),
    "twin": ({"value": 0.25}, {}),
    "twin-again": ({"value": 0.75}, {"benchmark_id": "twin"}),
    "well": ({}, {}),
}
INDEX = {name: index for index, name in enumerate(ENDINGS)}


@pytest.fixture(scope="module")
def endings(module_step: Any, a_task: Any) -> Any:
    tasks = [
        a_task(INDEX[name], **{"slug": f"{INDEX[name]:03d}-{name}", "benchmark_id": name, **fields, **parameters})
        for name, (parameters, fields) in ENDINGS.items()
    ]
    return module_step.adapter("scripted").run(tasks)


def results_of(endings: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = endings.results(INDEX[name])
    return found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raise", "ValueError: the dataset is gone"),
        ("refuse", "2 of 15 requests failed (raise max_error_rate)"),
        ("half-a-character", "ValueError: cannot open caf?"),
        ("exit-3", "the adapter's process exited with status 3 before it returned results"),
        ("exit-0", "the adapter's process exited with status 0 before it returned results"),
        ("sys-exit", "SystemExit: usage: framework --task TASK"),
        ("signal", "the adapter's process was ended by SIGTERM"),
        ("nameless-signal", f"the adapter's process was ended by signal {signal.SIGRTMIN + 5}"),
        ("hang", "timed out after 1 s (raise its timeout, or lower num_examples)"),
        ("hang-deaf", "timed out after 1 s (raise its timeout, or lower num_examples)"),
        ("half-samples", "the adapter's process exited with status 5 before it returned results"),
        ("wrong-type", "TypeError: the adapter returned a str (it must return JobResults)"),
        ("missing", "primary metric 'acc' is missing (the framework reported: f1, bleu)"),
        ("no-metric", "primary metric 'acc' is missing (the framework reported: none)"),
        ("nan", "primary metric 'acc' is not a finite number: nan"),
        ("infinite", "primary metric 'acc' is not a finite number: -inf"),
        ("bool", "primary metric 'acc' is not a number: True"),
        ("string", "primary metric 'acc' is not a number: '0.5'"),
        ("null", "primary metric 'acc' is not a number: None"),
        ("none-evaluated", "no example was evaluated"),
        ("errors-above", "2 of 10 examples (20 %) had errors, more than max_error_rate 0.1 allows"),
        ("missing-above", "2 of 12 examples (16.7 %) had errors, more than max_error_rate 0.1 allows"),
    ],
)
def test_what_is_no_evidence_is_failed_with_the_reason(endings: Any, name: str, reason: str) -> None:
    assert endings.reason(INDEX[name]) == reason


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("wrong-benchmark", "benchmark_index 999"),
        ("enormous", "acc"),
        ("count-missing", "num_examples_evaluated"),
    ],
)
def test_results_that_make_no_sense_are_failed_and_named(endings: Any, name: str, part: str) -> None:
    assert part in endings.reason(INDEX[name])


def test_a_long_exception_message_is_cut(endings: Any) -> None:
    assert endings.reason(INDEX["long"]).startswith("ValueError: xxx")
    assert len(endings.reason(INDEX["long"])) < 5000


@pytest.mark.parametrize(
    "name", ["errors-within", "missing-within", "nan-beside", "environment-is-a-list", "report-and-hang", "well"]
)
def test_what_is_evidence_is_completed_whatever_went_before_it(endings: Any, name: str) -> None:
    results = results_of(endings, name)
    assert (results["status"], results["reason"]) == ("completed", None)


def test_examples_without_an_answer_count_as_errors(endings: Any) -> None:
    assert results_of(endings, "missing-within")["num_errors"] == 1
    assert results_of(endings, "errors-within")["num_errors"] == 1


def test_a_rate_that_is_just_reached_is_allowed(step: Any, a_task: Any) -> None:
    # 0.29 * 100 is a little less than 29 in binary
    parameters = {"num_errors": 29, "num_examples_requested": 100, "num_examples_evaluated": 100}
    outcome = step.adapter("scripted").run([a_task(0, max_error_rate=0.29, **parameters)])
    assert outcome.results(0)["status"] == "completed"


def test_a_metric_that_is_no_number_is_kept_as_none_beside_the_primary_one(endings: Any) -> None:
    assert results_of(endings, "nan-beside")["metrics"] == {
        "acc": {"value": 0.75, "stderr": None},
        "name": {"value": "N/A", "stderr": None},
        "ppl": {"value": None, "stderr": None},
    }


def test_two_benchmarks_with_one_id_have_results_of_their_own(endings: Any) -> None:
    first, second = results_of(endings, "twin"), results_of(endings, "twin-again")
    assert first["benchmark_id"] == second["benchmark_id"] == "twin"
    assert (first["metrics"]["acc"]["value"], second["metrics"]["acc"]["value"]) == (0.25, 0.75)
    assert (first["benchmark_index"], second["benchmark_index"]) == (INDEX["twin"], INDEX["twin-again"])
    assert first["task_digest"] != second["task_digest"]


def test_the_first_word_on_a_benchmark_counts(endings: Any) -> None:
    assert results_of(endings, "report-and-go-on")["metrics"]["acc"]["value"] == 0.5
    samples = (endings.entry(INDEX["report-and-go-on"]) / "samples.jsonl").read_text()
    assert [json.loads(line)["id"] for line in samples.splitlines()] == ["first"]
    assert results_of(endings, "report-and-fail")["status"] == "completed"


def test_results_appear_when_the_adapter_is_done_with_the_benchmark(endings: Any) -> None:
    folder = endings.entry(INDEX["report-and-go-on"])
    assert "said after reporting" in (folder / "log.txt").read_text()
    written = (folder / "raw" / "late.txt").stat().st_mtime_ns
    assert (folder / "results.json").stat().st_mtime_ns > written


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("raise", "about to fail\nTraceback"),
        ("exit-3", "printed before the end"),
        ("hang", "hanging now"),
        ("sys-exit", "SystemExit"),
    ],
)
def test_the_log_holds_what_was_printed_before_the_end(endings: Any, name: str, text: str) -> None:
    assert text in (endings.entry(INDEX[name]) / "log.txt").read_text()


def test_progress_is_told_on_standard_output(endings: Any) -> None:
    own = [event for event in endings.events if event["index"] == INDEX["progress"]]
    told = [(event["phase"], event["completed"], event["total"]) for event in own if event["event"] == "status"]
    assert told[-5:] == [
        ("loading_data", None, None),
        ("running_evaluation", 1, 3),
        ("running_evaluation", 2, 3),
        ("running_evaluation", 3, 3),
        ("post_processing", 50, 100),
    ]
    assert told[0] == ("initializing", None, None)
    finished = own[-1]
    assert (finished["event"], finished["slug"]) == ("finished", f"{INDEX['progress']:03d}-progress")
    assert (finished["status"], finished["reason"]) == ("completed", None)


def test_every_benchmark_is_finished_once(endings: Any) -> None:
    finished = [event["index"] for event in endings.events if event["event"] == "finished"]
    assert sorted(finished) == sorted(INDEX.values())


def test_threads_may_report_at_once(endings: Any) -> None:
    own = [event for event in endings.events if event["index"] == INDEX["threads"] and event.get("completed")]
    assert len(own) == 4 * 99  # of each thread's hundred the first has completed none
    assert results_of(endings, "threads")["status"] == "completed"


def test_facts_of_the_adapter_are_kept(endings: Any) -> None:
    folder = endings.entry(INDEX["facts"])
    assert (folder / "samples.jsonl").read_bytes() == (
        '{"cluster":"passage","details":{"a":"é","z":[1,2.5]},"id":"b","score":1}\n{"id":"a","score":0.25}\n'.encode()
    )
    results = results_of(endings, "facts")
    assert results["metrics"] == {"acc": {"value": 0.5, "stderr": 0.25}}
    assert (results["num_requested"], results["num_evaluated"]) == (10, 10)
    assert results["usage"] == {"prompt_tokens": 12, "requests": 2}
    assert results["data_digests"] == {"data.jsonl": "sha256:" + "0" * 64}
    environment = json.loads((folder / "environment.json").read_bytes())
    assert environment["framework"] == {"name": "scripted", "version": "1.2.3"}
    assert environment["evaluation_metadata"] == {"git": None, "shots": 0}
    assert environment["data_digests"] == results["data_digests"]
    assert environment["seed"] == 7
    assert environment["path"] == "/somewhere"
    assert environment["1"] == "number as key"
    assert environment["half"] == "caf?"


def test_a_benchmark_without_samples_leaves_no_samples_file(endings: Any) -> None:
    assert not (endings.entry(INDEX["well"]) / "samples.jsonl").exists()


def test_every_benchmark_starts_in_an_empty_folder_of_its_own(endings: Any) -> None:
    assert results_of(endings, "first-work-dir")["status"] == "completed"
    assert results_of(endings, "second-work-dir")["status"] == "completed"


def test_artifacts_are_copied_into_raw_once(endings: Any) -> None:
    raw = endings.entry(INDEX["artifact"]) / "raw"
    assert results_of(endings, "artifact")["reason"] is None
    kept = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file())
    assert kept == ["own.txt", "report/page.html", "table.csv"]


def test_links_and_pipes_are_dropped(endings: Any) -> None:
    raw = endings.entry(INDEX["odd-files"]) / "raw"
    assert results_of(endings, "odd-files")["reason"] is None
    assert sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*")) == [
        "folder",
        "folder/deep.txt",
        "plain.txt",
    ]
    assert Path("/etc/passwd").is_file()


@linux
@pytest.mark.parametrize(
    ("names", "reason", "kept"),
    [
        (["A", "a"], "raw/a: cannot be kept as evidence beside raw/A: they are one name where case", ["A"]),
        (
            ["d/x", "D/y"],
            "raw/d: cannot be kept as evidence beside raw/D: they are one name where case",
            ["D", "D/y", "d"],
        ),
        (["evil\nname", "well"], "'raw/evil\\nname': cannot be kept as evidence: its name has control", ["well"]),
        (["evil\xff", "well"], "'raw/evil\\udcff': cannot be kept as evidence: its name has control", ["well"]),
        (["../Task.json", "well"], "Task.json: cannot be kept as evidence beside task.json: they are one", ["well"]),
        (
            ["d/" * 60 + "x", "d/" * 61 + "x"],
            f"raw/{'d/' * 61}x: cannot be kept as evidence: its path is too long",
            [*("d/" * depth + "d" for depth in range(61)), "d/" * 60 + "x"],
        ),
    ],
    ids=["case", "folder case", "control character", "no UTF-8", "a document of the harness", "too deep"],
)
def test_a_file_name_that_evidence_cannot_bear_fails_its_benchmark_alone(
    step: Any, a_task: Any, names: list[str], reason: str, kept: list[str]
) -> None:
    outcome = step.adapter("scripted").run([a_task(0, do="name_files", names=names), a_task(1)])
    assert outcome.reason(0).startswith(reason)
    assert outcome.results(1)["status"] == "completed"
    raw = outcome.entry(0) / "raw"
    assert sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*")) == kept
    finished = [event["status"] for event in outcome.events if event["event"] == "finished"]
    assert finished == ["failed", "completed"]
    # the evidence takes what is left
    for index in (0, 1):
        check_unique([file.title for file in kept_files(outcome.folder, outcome.entry(index))])


@linux
def test_a_file_name_that_comes_after_the_results_of_a_batch_counts_too(step: Any, a_task: Any) -> None:
    outcome = step.adapter("merged").run([a_task(0, batch="name_files_at_the_end"), a_task(1)])
    assert outcome.reason(0).startswith("raw/a: cannot be kept as evidence beside raw/A")
    assert outcome.results(0)["metrics"] == {}
    assert outcome.results(1)["status"] == "completed"
    assert [path.name for path in (outcome.entry(0) / "raw").iterdir()] == ["A"]


@pytest.mark.parametrize("name", ["process", pytest.param("daemon", marks=linux), "fork"])
def test_processes_that_an_adapter_leaves_are_ended(
    endings: Any, name: str, is_alive: Callable[[int], bool], until: Callable[..., Any]
) -> None:
    assert results_of(endings, name)["reason"] is None
    pid = int((endings.entry(INDEX[name]) / "raw" / "pid").read_text())
    until(lambda: not is_alive(pid))


def test_every_document_is_canonical_json_with_ordinary_rights(endings: Any) -> None:
    documents = [path for path in endings.folder.rglob("*.json") if "raw" not in path.parts]
    assert len(documents) == 3 * len(ENDINGS)
    for path in documents:
        assert canonical.dumps(json.loads(path.read_bytes())) == path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    for path in endings.folder.rglob("samples.jsonl"):
        for line in path.read_bytes().splitlines():
            assert canonical.dumps(json.loads(line)) == line


def test_nothing_half_written_is_left(endings: Any) -> None:
    assert not list(endings.folder.rglob("*.part"))
    assert not (endings.entry(INDEX["half-samples"]) / "samples.jsonl").exists()


def test_scratch_files_are_removed(endings: Any, module_step: Any) -> None:
    assert list(module_step.scratch.iterdir()) == []


def test_results_carry_the_digest_of_their_task_and_their_times(endings: Any) -> None:
    task = json.loads((endings.entry(INDEX["well"]) / "task.json").read_bytes())
    results = results_of(endings, "well")
    assert results["task_digest"] == task["task_digest"] == canonical.digest(task["task"])
    assert task["model_name"] == "a-model"
    assert results["started_at"] <= results["completed_at"]


# ---- before an adapter runs


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "there is no adapter (a provider's folder holds an adapter.py)"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        ("import a_framework_that_is_not_there\n", "No module named 'a_framework_that_is_not_there'"),
        ("x = 1\n", "must define exactly one FrameworkAdapter, found none"),
        (
            "from evalhub_components.adapter import FrameworkAdapter\n"
            "class One(FrameworkAdapter):\n    def run_benchmark_job(self, config, callbacks): ...\n"
            "class Two(FrameworkAdapter):\n    def run_benchmark_job(self, config, callbacks): ...\n",
            "must define exactly one FrameworkAdapter, found One, Two",
        ),
    ],
    ids=["no-file", "syntax-error", "missing-package", "no-adapter", "two-adapters"],
)
def test_an_adapter_that_cannot_be_loaded_fails_every_benchmark(
    step: Any, a_task: Any, source: str | None, reason: str
) -> None:
    if source is not None:
        step.code(source)
    outcome = step.run([a_task(0), a_task(1)])
    assert reason in outcome.reason(0)
    assert reason in outcome.reason(1)


def test_what_a_broken_adapter_said_is_in_the_log(step: Any, a_task: Any) -> None:
    outcome = step.code("print('loading'); raise RuntimeError('no CUDA')").run([a_task(0)])
    log = (outcome.entry(0) / "log.txt").read_text()
    assert "loading" in log
    assert "RuntimeError: no CUDA" in log


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("[", "--task: must be a JSON list of benchmark tasks"),
        ("[]", "--task: must be a JSON list of benchmark tasks (it is empty)"),
        ('[{"index": 0}]', "--task: must be a JSON list of benchmark tasks"),
        ("@/nowhere/tasks.json", "/nowhere/tasks.json"),
    ],
    ids=["no-json", "empty", "no-task", "no-file"],
)
def test_tasks_that_cannot_be_read_are_refused(step: Any, tasks: str, said: str) -> None:
    outcome = step.end(step.start(tasks))
    assert outcome.status == 2
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_two_tasks_with_one_index_are_refused(step: Any, a_task: Any) -> None:
    outcome = step.adapter("scripted").end(step.start([a_task(3), a_task(3)]))
    assert outcome.status == 2
    assert "index 3 is used twice" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_tasks_may_come_in_a_file(step: Any, a_task: Any, tmp_path: Path) -> None:
    (tmp_path / "tasks.json").write_text(json.dumps([a_task(0)]))
    outcome = step.adapter("scripted").run(f"@{tmp_path}/tasks.json")
    assert outcome.results(0)["status"] == "completed"


def test_limit_and_data_reach_adapter_and_task_key(step: Any, a_task: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "sub" / "questions.jsonl").write_bytes(b"{}")
    step.code(
        "from evalhub_components.adapter import *\n"
        "class A(FrameworkAdapter):\n"
        "    def run_benchmark_job(self, config, callbacks):\n"
        "        seen = EvaluationResult('acc', len(list(config.test_data.rglob('*.jsonl'))))\n"
        "        limit = EvaluationResult('limit', config.num_examples)\n"
        "        return JobResults(config.id, config.benchmark_id, config.benchmark_index, config.model.name,\n"
        "                          [seen, limit], num_examples_evaluated=1)\n"
    )
    tasks = [a_task(0, num_examples=100), a_task(1, num_examples=3)]
    outcome = step.run(tasks, "--num-examples", "5", "--test-data", str(data), "--fingerprint", "sha256:ab")
    digest = {"test_data/sub/questions.jsonl": "sha256:" + hashlib.sha256(b"{}").hexdigest()}
    for index, limit in enumerate((5, 3)):
        results, task = outcome.results(index), json.loads((outcome.entry(index) / "task.json").read_bytes())
        assert results["metrics"]["limit"]["value"] == task["num_examples"] == limit
        assert results["metrics"]["acc"]["value"] == 1
        assert results["data_digests"] == digest
        assert task["fingerprint"] == "sha256:ab"


def test_what_an_earlier_attempt_left_is_replaced(step: Any, a_task: Any) -> None:
    old = step.results / "000-a-benchmark" / "raw" / "old.txt"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier attempt")
    outcome = step.adapter("scripted").run([a_task(0)])
    assert not old.exists()
    assert outcome.results(0)["status"] == "completed"


# ---- several benchmarks in one start of the framework


def origins(outcome: Any, *indexes: int) -> list[str]:
    return [outcome.results(index)["metrics"]["origin"]["value"] for index in indexes]


def test_a_batch_of_the_adapters_own_gives_every_benchmark_its_results(step: Any, a_task: Any) -> None:
    outcome = step.adapter("merged").run([a_task(0, batch="all"), a_task(1), a_task(2)])
    assert origins(outcome, 0, 1, 2) == ["joint"] * 3
    for index in range(3):
        assert "joint start of 3" in (outcome.entry(index) / "log.txt").read_text()
        told = [event["index"] for event in outcome.events if event.get("phase") == "running_evaluation"]
        assert told == [0, 1, 2]


def test_one_benchmark_alone_needs_no_batch(step: Any, a_task: Any) -> None:
    assert origins(step.adapter("merged").run([a_task(0, batch="all")]), 0) == ["alone"]


@pytest.mark.parametrize("batch", ["some_then_raise", "some_then_exit"])
def test_what_a_broken_batch_left_undone_is_run_again_alone(step: Any, a_task: Any, batch: str) -> None:
    outcome = step.adapter("merged").run([a_task(0, batch=batch), a_task(1), a_task(2)])
    assert origins(outcome, 0, 1, 2) == ["alone", "joint", "alone"]
    # neither files nor prints of the broken attempt count as the benchmark's own
    assert (outcome.entry(0) / "log.txt").read_text() == "alone 0\n"
    assert list((outcome.entry(0) / "raw").iterdir()) == []
    finished = [event["index"] for event in outcome.events if event["event"] == "finished"]
    assert sorted(finished) == [0, 1, 2]


def test_why_a_batch_broke_is_said(step: Any, a_task: Any) -> None:
    outcome = step.adapter("merged").run([a_task(0, batch="some_then_raise"), a_task(1)])
    assert "RuntimeError: the framework fell over" in outcome.stderr


def test_a_batch_that_forgets_benchmarks_is_completed_one_by_one(step: Any, a_task: Any) -> None:
    outcome = step.adapter("merged").run([a_task(0, batch="some"), a_task(1), a_task(2)])
    assert origins(outcome, 0, 1, 2) == ["alone", "alone", "joint"]


def test_a_hanging_batch_costs_only_the_benchmark_that_hangs(step: Any, a_task: Any) -> None:
    tasks = [a_task(0, batch="some_then_hang", timeout=1), a_task(1, timeout=1), a_task(2, timeout=1, alone="hang")]
    outcome = step.adapter("merged").run([*tasks, a_task(3, timeout=1)])
    assert origins(outcome, 0, 1, 3) == ["alone", "joint", "alone"]
    assert outcome.reason(2).startswith("timed out after")


def test_results_may_come_in_any_order_and_twice(step: Any, a_task: Any) -> None:
    outcome = step.adapter("merged").run([a_task(0, batch="backwards_and_twice"), a_task(1)])
    assert origins(outcome, 0, 1) == ["joint", "joint"]
    for index in (0, 1):
        assert outcome.results(index)["metrics"]["acc"]["value"] == 0.5
        assert (outcome.entry(index) / "samples.jsonl").read_bytes() == b'{"id":"first","score":0.5}\n'


def test_results_without_a_score_are_not_asked_for_again(step: Any, a_task: Any) -> None:
    outcome = step.adapter("merged").run([a_task(0, batch="none_usable"), a_task(1)])
    assert "primary metric 'acc' is missing" in outcome.reason(0)
    assert "alone" not in (outcome.entry(1) / "log.txt").read_text()


# ---- the end of the step itself


@pytest.fixture
def waiting(step: Any, a_task: Any, tmp_path: Path, until: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Start a step whose second benchmark waits; give it and the ids of the two processes that wait."""

    def start(**options: Any) -> tuple[Any, list[int]]:
        pids = tmp_path / "pids"
        tasks = [a_task(0), a_task(1, do="wait", pids=str(pids)), a_task(2)]
        process = step.adapter("scripted").secret(api_key="s3cret-KEY-123").start(tasks, **options)
        until(pids.exists)
        return process, [int(pid) for pid in pids.read_text().split()]

    return start


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_step_keeps_what_is_finished_and_leaves_no_process(
    step: Any, waiting: Any, is_alive: Any, until: Any, number: int, status: int
) -> None:
    process, pids = waiting()
    process.send_signal(number)
    outcome = step.end(process)
    assert outcome.status == status
    assert outcome.results(0)["status"] == "completed"
    for index in (1, 2):
        assert (outcome.entry(index) / "task.json").is_file()
        assert not (outcome.entry(index) / "results.json").exists()
    until(lambda: not any(map(is_alive, pids)))
    assert "Traceback" not in outcome.stderr
    # not even what is unfinished may keep a secret
    assert "s3cret" not in (outcome.entry(1) / "log.txt").read_text()


def test_a_stopped_batch_keeps_what_is_finished(step: Any, a_task: Any, until: Any) -> None:
    process = step.adapter("merged").start([a_task(0, batch="some_then_hang"), a_task(1), a_task(2)])
    until((step.results / "001-a-benchmark" / "results.json").exists)
    process.terminate()
    outcome = step.end(process)
    assert outcome.status == 143
    assert origins(outcome, 1) == ["joint"]
    for index in (0, 2):
        assert not (outcome.entry(index) / "results.json").exists()


def test_a_step_ends_with_its_lifeline(step: Any, waiting: Any, is_alive: Any, until: Any) -> None:
    step.environ["EVALHUB_LIFELINE"] = "stdin"
    process, pids = waiting(stdin=subprocess.PIPE)
    process.stdin.write("still there\n")
    process.stdin.flush()
    time.sleep(0.5)
    assert process.poll() is None
    process.stdin.close()
    process.stdin = None
    outcome = step.end(process)
    assert outcome.status == 143
    assert outcome.results(0)["status"] == "completed"
    until(lambda: not any(map(is_alive, pids)))


def test_a_closed_standard_input_without_a_lifeline_means_nothing(step: Any, a_task: Any) -> None:
    assert step.adapter("scripted").run([a_task(0)]).results(0)["status"] == "completed"


@linux
def test_an_adapter_does_not_outlive_a_killed_step(step: Any, waiting: Any, is_alive: Any, until: Any) -> None:
    process, pids = waiting()
    process.kill()
    process.wait()
    until(lambda: not is_alive(pids[0]))
    os.kill(pids[1], signal.SIGKILL)  # what the adapter itself had started nobody can end any more
    outcome = step.end(process)
    assert outcome.results(0)["status"] == "completed"
    assert not (outcome.entry(1) / "results.json").exists()


def test_results_come_last_and_whole(step: Any, a_task: Any) -> None:
    process = step.adapter("scripted").start([a_task(index, do="many_facts") for index in range(20)])
    seen = set()
    while process.poll() is None:
        for path in step.results.glob("*/results.json"):
            if path.parent in seen:
                continue
            seen.add(path.parent)
            assert json.loads(path.read_bytes())["status"] == "completed"
            for name in ("task.json", "environment.json", "samples.jsonl", "log.txt"):
                assert (path.parent / name).is_file()
    assert step.end(process).status == 0
    for index in range(20):
        folder = step.results / f"{index:03d}-a-benchmark"
        times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        assert max(times, key=lambda name: times[name]) == "results.json"


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


@pytest.mark.parametrize("do", ["fill_the_disk", "fill_the_disk_quietly", "fill_the_disk_by_printing"])
def test_a_full_disk_fails_the_benchmark_that_filled_it(step: Any, a_task: Any, small_disk: Path, do: str) -> None:
    outcome = step.adapter("scripted").run([a_task(0), a_task(1, do=do), a_task(2, do="empty_work_dir")])
    assert "No space left on device" in outcome.reason(1)
    assert outcome.results(0)["status"] == "completed"
    assert outcome.results(2)["reason"] is None
    assert not list(outcome.folder.rglob("*.part"))


def test_a_full_disk_in_a_batch_is_not_blamed_on_whoever_comes_first(step: Any, a_task: Any, small_disk: Path) -> None:
    outcome = step.adapter("merged").run([a_task(0, batch="fill_the_disk"), a_task(1)])
    assert origins(outcome, 0, 1) == ["alone", "alone"]
    assert "No space left on device" in outcome.stderr


def test_a_disk_without_room_for_anything_is_an_error_of_the_step(step: Any, a_task: Any, small_disk: Path) -> None:
    with (small_disk / "full").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    outcome = step.adapter("scripted").end(step.start([a_task(0)]))
    assert outcome.status == 2
    assert "No space left on device" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_benchmark_that_outgrows_its_container_is_ended_before_the_container_is(
    step: Any, a_task: Any, tmp_path: Path
) -> None:
    group = tmp_path / "cgroup"
    group.mkdir()
    (group / "memory.max").write_text(str(100 << 20))
    (group / "memory.current").write_text(str(10 << 20))
    (group / "memory.stat").write_text("anon 1\ninactive_file 0\n")
    step.command = (
        "-c",
        "import sys; from pathlib import Path\n"
        "from evalhub_components.benchmark import __main__ as step, harness, memory\n"
        f"harness.MemoryWatch = lambda: memory.MemoryWatch(Path({str(group)!r}))\n"
        "sys.exit(step.main())",
    )
    outcome = step.adapter("scripted").run([a_task(0, do="use_memory", group=str(group))])
    assert outcome.reason(0) == "out of memory: 96 MiB in use of the container's 100 MiB (raise its memory limit)"
