"""What the README of each provider shows is what a reader gets: it begins with the provider's part of `smoke-v1`."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from evalhub_components.schema.collection import BenchmarkConfig, Collection
from evalhub_components.schema.plan import BenchmarkTask
from evalhub_pipelines import evaluation, resolution
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.cli.demo import demo_model
from evalhub_pipelines.demo_model import DemoModelSettings, running

COMMAND = str(Path(sys.executable).with_name("evalhub-kfp"))
PROVIDERS = sorted(path.parent for path in Path(__file__).resolve().parents[2].glob("providers/*/provider.yaml"))
URL = "http://127.0.0.1:8000/v1"
EXAMPLE = re.compile(r"```sh\n(?P<commands>.*?)```\n```text\n(?P<output>.*?)```\n", re.DOTALL)
TIMED = {"guidellm"}
"""Providers that measure how fast the machine is."""


class Example(NamedTuple):
    """The first commands of a README, without the program's name, and what the second prints."""

    demo: list[str]
    run: list[str]
    output: str


def example(provider: Path) -> Example:
    readme = (provider / "README.md").read_text("utf-8")
    shown = EXAMPLE.search(readme)
    assert shown
    assert shown.start() == readme.index("```"), "another block comes first"
    demo, run = (shlex.split(line) for line in shown["commands"].replace("\\\n", " ").splitlines())
    assert (demo[:2], demo[-1]) == (["evalhub-kfp", "demo-model"], "&")
    assert run[:2] == ["evalhub-kfp", "run"]
    return Example(demo[2:-1], run[1:], shown["output"])


def settings(options: list[str]) -> DemoModelSettings:
    """Return what the options of `evalhub-kfp demo-model` come to, on a free port."""
    chosen = demo_model.make_context("demo-model", options).params
    return DemoModelSettings(**{**chosen, "port": 0})


def lines(text: str, provider: str) -> list[str]:
    if provider in TIMED:
        # a shorter number makes its column narrower
        text = re.sub(r"\d+(\.\d+)?", "N", re.sub(r"[ \t]+", " ", text))
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def smoke() -> Mapping[str, BenchmarkTask]:
    """The entry of each provider in `smoke-v1`."""
    return {task.provider_id: task for task in evaluation.of("smoke-v1", Catalog.of()).plan.tasks}


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_the_readme_begins_with_what_the_provider_does_in_smoke_v1(
    provider: Path, smoke: Mapping[str, BenchmarkTask]
) -> None:
    run, task = example(provider).run, smoke[provider.name]
    assert run[run.index("--provider") + 1] == provider.name
    assert run[run.index("-b") + 1] == task.benchmark_id
    if task.num_examples is not None:
        assert run[run.index("--num-examples") + 1] == str(task.num_examples)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_the_command_in_the_readme_prints_what_the_readme_shows(provider: Path, tmp_path: Path) -> None:
    shown = example(provider)
    with running(settings(shown.demo)) as server:
        words = [server.base_url if word == URL else word for word in shown.run]
        done = subprocess.run([COMMAND, *words, "--output", tmp_path], cwd=tmp_path, capture_output=True, text=True)
    verdict, _, more = done.stdout.partition("\nreport ")
    assert more, done.stderr
    assert lines(verdict, provider.name) == lines(shown.output, provider.name), done.stderr


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda path: path.name)
def test_entries_of_collections_in_a_readme_are_valid(provider: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (provider / "README.md").read_text("utf-8"), re.DOTALL)
    documents = [yaml.safe_load(block) for block in blocks]
    entries = [
        entry for found in documents for entry in (found.get("benchmarks", []) if isinstance(found, dict) else found)
    ]
    for entry in entries:
        BenchmarkConfig.model_validate(entry)
        assert entry["provider_id"] == provider.name
    catalog = Catalog.of()
    if entries:
        collection = Collection.model_validate({"id": "own", "benchmarks": entries})
        assert resolution.resolve(collection, catalog.providers_of(collection)).tasks
