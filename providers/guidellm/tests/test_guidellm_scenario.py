"""What guidellm is told, without guidellm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalhub_components.adapter import JobSpec, ModelCredentials, ModelEndpoint, PrimaryMetric

KEY = "sk-test-3f9a7c1e"
TEXT = "one\u2028two\u2029three\x85four"
"""Text with what other formats end a line at, and JSON lines does not."""


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


def job(folder: Path) -> JobSpec:
    return JobSpec(
        id="job",
        provider_id="guidellm",
        benchmark_id="concurrent",
        benchmark_index=0,
        model=ModelEndpoint("http://model.example/v1", "a-model"),
        parameters={"data": str(folder / "own.jsonl")},
        primary_score=PrimaryMetric("requests_per_second", lower_is_better=False),
        work_dir=folder,
        raw_dir=folder,
        seed=1,
        timeout=60,
        credentials=ModelCredentials(api_key=KEY),
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_as_many_requests_are_expected_as_there_are_prompts(tmp_path: Path, end: str) -> None:
    import guidellm_parameters
    import guidellm_scenario

    prompts = [{"prompt": f"{number} {TEXT}"} for number in range(3)]
    lines = "".join(json.dumps(prompt, ensure_ascii=False) + end for prompt in prompts)
    (tmp_path / "own.jsonl").write_bytes(lines.encode())
    config = job(tmp_path)
    parameters = guidellm_parameters.parse(config.benchmark_id, config.parameters)
    assert guidellm_scenario.write(config, parameters).requests == 3


def test_the_key_is_not_written_down(tmp_path: Path) -> None:
    import guidellm_parameters
    import guidellm_scenario

    config = job(tmp_path)
    scenario = guidellm_scenario.write(config, guidellm_parameters.parse(config.benchmark_id, {}))
    assert "http://model.example" in scenario.file.read_text()
    assert KEY not in scenario.file.read_text()
