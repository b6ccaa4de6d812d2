"""Benchmarks of one provider, run as a pipeline's task runs them, without a collection around them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from evalhub_components.credentials import JUDGE_SECRET, MODEL_SECRET, SERVICE_ACCOUNT_TOKEN
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.plan import BenchmarkTask, ResolvedScore
from evalhub_components.schema.provider import Provider
from evalhub_components.schema.results import BenchmarkResults
from evalhub_pipelines import commands, documents, resolution

_LONGEST = 900  # seconds


@dataclass(frozen=True)
class Outcome:
    """What one benchmark left.

    Attributes:
        folder: results.json, samples.jsonl, environment.json, raw/ and log.txt, as evidence keeps them.
        metric: the primary one.
        events: what the step reported while it ran.
    """

    folder: Path
    metric: str
    events: Sequence[Mapping[str, Any]] = field(default_factory=list, repr=False)

    @cached_property
    def results(self) -> BenchmarkResults:
        """The results."""
        return BenchmarkResults.model_validate_json((self.folder / "results.json").read_bytes())

    @property
    def metrics(self) -> dict[str, Any]:
        """The values of all metrics by name.

        Raises:
            AssertionError: the benchmark failed.
        """
        assert self.results.status == "completed", self.results.reason
        return {name: metric.value for name, metric in self.results.metrics.items()}

    @property
    def score(self) -> Any:
        """The value of the primary metric."""
        return self.metrics[self.metric]

    @property
    def reason(self) -> str:
        """Why the benchmark failed.

        Raises:
            AssertionError: it did not.
        """
        assert self.results.status == "failed", self.results.metrics
        return self.results.reason or ""

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The samples in the order they were written; empty without any."""
        path = self.folder / "samples.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []

    @property
    def environment(self) -> dict[str, Any]:
        """What is recorded of machine and framework."""
        found = json.loads((self.folder / "environment.json").read_text("utf-8"))
        assert isinstance(found, dict)
        return found

    @property
    def log(self) -> str:
        """What the adapter and its framework printed."""
        path = self.folder / "log.txt"
        return path.read_text("utf-8", "replace") if path.is_file() else ""

    @property
    def raw(self) -> Path:
        """The framework's own files."""
        return self.folder / "raw"

    def files_with(self, text: str) -> list[str]:
        """Return the kept files that hold `text`, a secret for instance."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.folder)) for path in files if text.encode() in path.read_bytes())


class Trial:
    """Runs benchmarks of the provider in the folder `provider`; results go to folders of their own in `folder`.

    Raises:
        EvalHubError: provider.yaml is wrong, or the provider's environment cannot be made.
    """

    def __init__(self, provider: Path, folder: Path) -> None:
        self._provider = documents.load(provider / "provider.yaml", Provider)
        self._command = commands.command_of(self._provider, provider, lambda _: None)
        self._folder = folder
        self._number = 0

    def run(
        self,
        benchmark_id: str,
        model_url: str,
        *,
        parameters: Mapping[str, Any] = {},
        secret: Mapping[str, str] = {},
        environ: Mapping[str, str] = {},
        model_name: str = "demo-model",
        num_examples: int = 0,
        test_data: Path | None = None,
        judge_url: str = "",
        judge_secret: Mapping[str, str] = {},
        token_file: Path | None = None,
        **task: Any,
    ) -> Outcome:
        """Run one benchmark and return what it left.

        Args:
            model_url: ends in `/v1`.
            secret: the model's credentials by key: `api-key`, `ca_cert`, `hf-token`.
            environ: variables beside those of this process.
            num_examples: 0 is no limit.
            judge_url: of the model that judges answers, which has the same name.
            token_file: of a service account; model and judge are asked with what is in it.
            task: further keys of the task, such as `timeout`, `seed` and `max_error_rate`.
        """
        entry = {"benchmark_id": benchmark_id, "parameters": dict(parameters), **task}
        [outcome] = self.run_batch(
            [entry],
            model_url,
            secret,
            environ,
            model_name=model_name,
            num_examples=num_examples,
            test_data=test_data,
            judge_url=judge_url,
            judge_secret=judge_secret,
            token_file=token_file,
        )
        return outcome

    def run_batch(
        self,
        entries: Sequence[Mapping[str, Any]],
        model_url: str,
        secret: Mapping[str, str] = {},
        environ: Mapping[str, str] = {},
        *,
        model_name: str = "demo-model",
        num_examples: int = 0,
        test_data: Path | None = None,
        judge_url: str = "",
        judge_secret: Mapping[str, str] = {},
        token_file: Path | None = None,
    ) -> list[Outcome]:
        """Run several benchmarks in one task; each entry has `benchmark_id` and further keys of a task."""
        self._number += 1
        folder = self._folder / f"trial-{self._number:03d}"
        folder.mkdir(parents=True)
        mounted = {}
        for variable, values in ((MODEL_SECRET, secret), (JUDGE_SECRET, judge_secret)):
            if values:
                mounted[variable] = str(_mounted(folder / variable, values))
        by_account: list[str] = []
        if token_file:
            mounted[SERVICE_ACCOUNT_TOKEN] = str(token_file)
            by_account = [
                "--model-auth",
                "service-account",
                *(["--judge-auth", "service-account"] if judge_url else []),
            ]
        tasks = [self._task(index, entry) for index, entry in enumerate(entries)]
        tasks_file = folder / "tasks.json"
        tasks_file.write_text(json.dumps([task.as_json() for task in tasks]), "utf-8")
        argv = [
            *self._command.argv,
            *("--task", f"@{tasks_file}"),
            *("--model-url", model_url),
            *("--model-name", model_name),
            *("--num-examples", str(num_examples)),
            *by_account,
            *(("--judge-url", judge_url, "--judge-name", model_name) if judge_url else ()),
            *(("--test-data", str(test_data)) if test_data else ()),
            *("--results", str(folder / "results")),
            *self._command.suffix,
        ]
        own = {name: value for name, value in self._command.environ.items() if name != "EVALHUB_LIFELINE"}
        done = subprocess.run(
            argv,
            env={**own, **mounted, **environ},
            cwd=self._command.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST,
        )
        if done.returncode:
            raise EvalHubError(f"the benchmark step exited with status {done.returncode}: {done.stderr[-2000:]}")
        events = [event for line in done.stdout.splitlines() if isinstance(event := _event(line), dict)]
        return [
            Outcome(
                folder / "results" / task.slug,
                task.primary_score.metric,
                [event for event in events if event.get("index") == task.index],
            )
            for task in tasks
        ]

    def _task(self, index: int, entry: Mapping[str, Any]) -> BenchmarkTask:
        name = entry["benchmark_id"]
        known = self._provider.benchmark(name)
        score = known.primary_score if known else None
        found: dict[str, Any] = {
            "index": index,
            "slug": resolution.slug(index, name),
            "provider_id": self._provider.id,
            "num_few_shot": known.num_few_shot if known else None,
            "dataset_size": known.dataset_size if known else None,
            "judge": bool(known and known.judge),
            "timeout": 600,
            "primary_score": ResolvedScore(
                metric=score.metric if score else "unknown",
                lower_is_better=bool(score and score.lower_is_better),
                range=(score.range if score else None) or (0.0, 1.0),
            ),
            **entry,
        }
        if known:
            found["benchmark_id"] = known.id
        return BenchmarkTask.model_validate(found)


def _mounted(folder: Path, secret: Mapping[str, str]) -> Path:
    """Return a folder with the keys of a secret as files, as Kubernetes mounts it."""
    folder.mkdir()
    for name, value in secret.items():
        (folder / name).write_text(value, "utf-8")
    return folder


def _event(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
