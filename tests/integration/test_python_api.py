"""The Python interface: `from evalhub_pipelines import plan, run, resume, judge, rows`."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.errors import EvalHubError, InvalidDocument, MissingExtra
from evalhub_components.schema.evaluation import EvaluationConfig
from evalhub_pipelines import Run, judge, plan, resume, rows, run
from evalhub_pipelines.demo_model import DemoModelServer


@pytest.fixture
def keywords(model: DemoModelServer, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    endpoint = {"url": model.base_url, "name": "demo-model"}
    return {"model": endpoint, "catalog": catalog, "output": tmp_path / "runs", "mlflow_uri": None}


def test_run_returns_the_verdict_and_rows_for_a_data_frame(
    keywords: dict[str, Any], collection: Callable[..., Path]
) -> None:
    events: list[dict[str, Any]] = []
    path = collection(("a", {}), ("b", {"raise": "boom"}, {"weight": 0}))
    found = run(path, **keywords, listener=events.append)
    assert isinstance(found, Run)
    assert (found.verdict.verdict, found.verdict.score, found.warnings) == ("pass", 0.75, [])
    assert found.directory.parent == keywords["output"]
    table = found.rows()
    assert table == rows(judge(found.directory))
    assert [row["benchmark_id"] for row in table] == ["a", "b"]
    assert [row["pass"] for row in table] == [True, None]
    assert (table[0]["score"], table[0]["range_low"], table[0]["range_high"]) == (0.75, 0.0, 1.0)
    plain = (str, int, float, bool, type(None))
    assert all(type(row) is dict and all(isinstance(value, plain) for value in row.values()) for row in table)
    assert len({tuple(row) for row in table}) == 1
    finished = {event["slug"]: event["status"] for event in events if event["event"] == "finished"}
    assert finished == {"000-a": "completed", "001-b": "failed"}


def test_plan_takes_a_path_an_id_or_a_config(
    keywords: dict[str, Any], collection: Callable[..., Path], catalog: Path
) -> None:
    path = collection(("a", {}))
    of_path = plan(path, catalog=catalog)
    assert plan(str(path), catalog=catalog).header.digest() == of_path.header.digest()
    assert plan("quickstart-v1").header.collection_id == "quickstart-v1"
    entry = {"id": "a", "provider_id": "obedient"}
    config = EvaluationConfig.model_validate({"model": keywords["model"], "benchmarks": [entry], "seed": 7})
    assert plan(config, catalog=catalog).tasks[0].seed == 7


def test_resume_runs_the_rest(keywords: dict[str, Any], collection: Callable[..., Path], tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    path = collection(("a", {}), ("b", {"raise": "boom", "unless": str(mended)}))
    first = run(path, **keywords)
    assert first.verdict.verdict == "error"
    mended.touch()
    again = resume(first.directory, catalog=keywords["catalog"], mlflow_uri=None)
    assert again.verdict.verdict == "pass"
    assert again.directory == first.directory


def test_judge_takes_other_criteria_and_writes_nothing(
    keywords: dict[str, Any], collection: Callable[..., Path], catalog: Path
) -> None:
    found = run(collection(("a", {})), **keywords)
    before = {path: path.stat().st_mtime_ns for path in found.directory.rglob("*")}
    assert judge(found.directory) == found.verdict
    stricter = collection(("a", {}), pass_criteria={"threshold": 0.9})
    assert judge(found.directory, config=stricter, catalog=catalog).verdict == "fail"
    assert {path: path.stat().st_mtime_ns for path in found.directory.rglob("*")} == before


def test_run_works_outside_the_main_thread(keywords: dict[str, Any], collection: Callable[..., Path]) -> None:
    """Notebook servers and web applications call it there, where Python allows no signal handlers."""
    found: list[Run] = []
    path = collection(("a", {}))
    thread = threading.Thread(target=lambda: found.append(run(path, **keywords)))
    thread.start()
    thread.join()
    assert [one.verdict.verdict for one in found] == ["pass"]


def test_listener_that_raises_ends_the_run_and_its_processes(
    keywords: dict[str, Any], collection: Callable[..., Path], is_gone: Callable[[int], bool], tmp_path: Path
) -> None:
    def listener(event: dict[str, Any]) -> None:
        if event["event"] == "status" and event.get("phase") == "running_evaluation":
            raise RuntimeError("the listener broke")

    path = collection(("a", {"wait_for": str(tmp_path / "never")}))
    with pytest.raises(RuntimeError, match="the listener broke"):
        run(path, **keywords, listener=listener)
    _, adapter, harness = (tmp_path / "starts").read_text().split()
    assert is_gone(int(harness))
    assert is_gone(int(adapter))


def test_mistakes_are_exceptions_with_the_place(
    keywords: dict[str, Any], collection: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InvalidDocument, match=r"no such collection \(did you mean 'quickstart-v1'\?\)"):
        plan("quickstart-v2")
    with pytest.raises(EvalHubError, match="no model to evaluate"):
        run("quickstart-v1")
    with pytest.raises(EvalHubError, match="num_examples: must be at least 1, got 0"):
        run(collection(("a", {})), **{**keywords, "catalog": keywords["catalog"]}, num_examples=0)
    with pytest.raises(EvalHubError, match=r"run\.json: no such file"):
        resume(tmp_path)
    with pytest.raises(InvalidDocument) as caught:
        plan(collection(("zz", {}), ("yy", {})), catalog=keywords["catalog"])
    assert len(caught.value.problems) == 2
    assert not keywords["output"].exists()


def test_missing_uv_is_an_exception(
    collection: Callable[..., Path],
    keywords: dict[str, Any],
    write: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "/nowhere")
    write("own/providers/tiny/adapter.py", "")
    requirements = write("own/providers/tiny/requirements.txt", "tiny==1.0\n")
    benchmark = {"id": "a", "primary_score": {"metric": "acc"}}
    own = write("own/providers/tiny/provider.yaml", {"id": "tiny", "benchmarks": [benchmark]}).parents[2]
    assert requirements.exists()
    with pytest.raises(MissingExtra, match="making a provider's environment"):
        run(collection(("tiny/a", {})), **{**keywords, "catalog": own})


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, evalhub_pipelines; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "evalhub_pipelines" in loaded
    assert not loaded & {"click", "rich", "mlflow", "kfp", "pydantic", "yaml", "olot", "oras"}


def test_unknown_name_is_an_attribute_error() -> None:
    import evalhub_pipelines

    with pytest.raises(AttributeError, match="has no attribute 'evaluate'"):
        evalhub_pipelines.evaluate  # noqa: B018
