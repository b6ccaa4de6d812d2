"""A run with its verdict, and the reports that people and CI ask for as soon as there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalhub_components import run_directory
from evalhub_components.benchmark.results import not_enough
from evalhub_components.errors import EvalHubError
from evalhub_components.records import outputs, wording
from evalhub_components.records.ci import github
from evalhub_components.records.outputs import Output
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
from evalhub_components.schema.results import BenchmarkResults
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import Decision, Verdict
from evalhub_components.scoring.judgement import TaskOutcome
from evalhub_pipelines import run_source

_SAME_WORK = (
    *("provider_id", "benchmark_id", "parameters", "num_examples", "num_few_shot", "seed"),
    *("test_data_ref", "judge"),
)


@dataclass(frozen=True)
class JudgedRun:
    """A run and its verdict.

    Attributes:
        run: its plan, outcomes and folders are those that the verdict speaks of.
        publication: where the records of this verdict went, None when nobody wrote it down. The evidence of a run that
            was judged under other criteria holds another verdict, which must not seem to prove this one.
        own: what the run's own criteria give, when it was judged under others; None when it was not.
    """

    run: LoadedRun
    verdict: Verdict
    publication: Publication | None
    own: Decision | None = None


@dataclass(frozen=True)
class Written:
    """What became of reports.

    Attributes:
        outputs: those that are there.
        problems: why others are not.
        warnings: what a CI runner wanted and did not get.
    """

    outputs: Sequence[Output]
    problems: Sequence[str]
    warnings: Sequence[str]


def judged(directory: Path, plan: EvaluationPlan | None = None) -> JudgedRun:
    """Return the run in `directory` with its verdict; nothing is written.

    Args:
        directory: a run directory.
        plan: other criteria. A benchmark of it is judged by the result of the same work in the run; one without such
            a result counts as missing, and one that lost more examples than it allows as failed.

    Raises:
        EvalHubError: `directory` is no run.
    """
    run = replace(run_directory.load(directory), path=directory.absolute())
    verdict = run.judge()
    if plan is None or plan.header.digest() == run.record.plan_digest:
        return JudgedRun(run, verdict, run_source.publication_in(directory))
    other = _under(run, plan)
    return JudgedRun(other, other.judge(), wording.judged_again(verdict.verdict), own=verdict.verdict)


def is_wanted(reports: Sequence[Output], environ: Mapping[str, str]) -> bool:
    """Return whether there is anything to write: reports, or what a CI runner asks for in `environ`."""
    return bool(reports) or github.is_wanted(environ)


def write(judged: JudgedRun, reports: Sequence[Output], environ: Mapping[str, str]) -> Written:
    """Write reports, and what a CI runner asks for in `environ`; one that cannot be written keeps no other from it."""
    done, problems = [], []
    for report in reports:
        try:
            outputs.write(report.kind, report.path, judged.run, judged.verdict, judged.publication)
            done.append(report)
        except EvalHubError as error:
            problems.append(f"{error}; verdict and evidence are in place, and `evalhub-kfp judge` writes it again")
    return Written(done, problems, github.append(judged.run, judged.verdict, judged.publication, environ))


def write_error(message: str, reports: Sequence[Output], environ: Mapping[str, str], run_id: str = "") -> Written:
    """Write that there is no verdict, and why, to each report that has a way to say so, and for a CI runner.

    Args:
        run_id: of the run that has none, where one was started.
    """
    done, problems, warnings = [], [], []
    for report in reports:
        if report.kind not in outputs.OF_ERRORS:
            warnings.append(f"{report}: not written: without a verdict there is nothing to show")
            continue
        try:
            outputs.write_error(report, message, run_id)
            done.append(report)
        except EvalHubError as error:
            problems.append(str(error))
    return Written(done, problems, [*warnings, *github.append_error(message, environ, run_id)])


def _under(run: LoadedRun, plan: EvaluationPlan) -> LoadedRun:
    """Return `run` as if it had been one of `plan`; each result serves once where work is listed twice."""
    outcomes: dict[int, TaskOutcome] = {}
    folders: dict[int, Path] = {}
    unused = list(run.plan.tasks)
    for task in plan.tasks:
        match = _same_work(unused, task)
        if match is not None:
            unused.remove(match)
        else:
            # the same work under two criteria: one result serves both
            match = _same_work(run.plan.tasks, task)
        if match is None:
            continue
        if match.index in run.folders:
            folders[task.index] = run.folders[match.index]
        if outcome := run.outcomes.get(match.index):
            results = outcome.results
            if results.task_digest == match.digest():
                results = _still_enough(results, match, task)
                results = results.model_copy(update={"benchmark_index": task.index, "task_digest": task.digest()})
            outcomes[task.index] = TaskOutcome(results, outcome.samples)
    return replace(run, plan=plan, outcomes=outcomes, folders=folders)


def _still_enough(results: BenchmarkResults, was: BenchmarkTask, task: BenchmarkTask) -> BenchmarkResults:
    """Return `results` as the benchmark step would have left them where `task` lets fewer examples be lost.

    More that may be lost change nothing: what gave up early has no score to bring back.
    """
    if results.status != "completed" or task.max_error_rate >= was.max_error_rate:
        return results
    reason = not_enough(task, results.num_requested, results.num_evaluated or 0, results.num_errors)
    return results.model_copy(update={"status": "failed", "reason": reason}) if reason else results


def _same_work(tasks: Sequence[BenchmarkTask], wanted: BenchmarkTask) -> BenchmarkTask | None:
    return next((task for task in tasks if all(getattr(task, key) == getattr(wanted, key) for key in _SAME_WORK)), None)
