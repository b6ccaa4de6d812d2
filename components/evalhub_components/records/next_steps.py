"""What to do after a verdict: the few things that a reader who did not make the run can do about it."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from evalhub_components.records import wording
from evalhub_components.records.markdown import cut, one_line
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.plan import is_limited
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Verdict
from evalhub_components.scoring.comparison import shown

_NAMED = 3
_CAUSE = 240  # characters of a cause: the advice around it must not be pushed out
_ENTRIES = 1000  # of a folder that a framework filled
_SOURCE = "SOURCE"  # what the run was made from: a run does not record whether it was a file or an id


class Step(NamedTuple):
    """One thing to do.

    Attributes:
        text: a sentence, or a few of bounded length.
        command: its words, where a command does it.
    """

    text: str
    command: tuple[str, ...] = ()


def next_steps(run: LoadedRun, verdict: Verdict, *, local: bool, publication: Publication | None = None) -> list[Step]:
    """Return what to do about a verdict, the first thing first; never nothing.

    Args:
        run: as loaded.
        verdict: of this run.
        local: whether whoever reads this has the run directory; commands name it.
        publication: where the records went; without it the reader has the evidence.
    """
    steps = {"pass": _passed, "fail": _failed, "inconclusive": _inconclusive, "error": _without}[verdict.verdict]
    found = steps(run, verdict, local, publication)
    if verdict.limited:
        found.append(Step(f"{wording.LIMITED} Run it without a limit on examples before relying on it."))
    if local and publication and _waits_for_mlflow(publication):
        found.append(
            Step("Send what MLflow did not take, once it works again.", ("evalhub-kfp", "report", str(run.path)))
        )
    return found


def _passed(run: LoadedRun, verdict: Verdict, local: bool, publication: Publication | None) -> list[Step]:
    called = wording.names(verdict)
    failed = [called[test.benchmark_index] for test in verdict.benchmarks if test.passed is False]
    missed = f" {wording.listed(failed)} missed a threshold without deciding the verdict." if failed else ""
    steps = [Step(f"Nothing blocks this model.{missed}")]
    if publication and (verify := wording.verify_command(publication, local=local)):
        steps.append(Step("Keep the evidence's digest: with it anybody can verify what this verdict rests on.", verify))
    return steps


def _failed(run: LoadedRun, verdict: Verdict, local: bool, publication: Publication | None) -> list[Step]:
    called = wording.names(verdict)
    required = [test for test in verdict.benchmarks if test.required and test.passed is False]
    steps = []
    for test in required[:_NAMED]:
        name, why = called[test.benchmark_index], _cut(test.reason)
        steps.append(Step(f"Start with {name}: it is required, and misses its threshold ({why})."))
    if verdict.score is not None and verdict.score < verdict.threshold:
        lost = sorted((test for test in verdict.benchmarks if _loss(test) > 0), key=_loss, reverse=True)
        most = [
            f"{called[test.benchmark_index]} ({shown(_loss(test) / _weights(verdict), 2)})" for test in lost[:_NAMED]
        ]
        steps.append(
            Step(
                f"The overall score is {shown(verdict.threshold - verdict.score, 2)} below its threshold. "
                f"What costs it most, against a perfect score: {', '.join(most)}."
            )
        )
    named = required[0] if required else max(verdict.benchmarks, key=_loss)
    at_hand = local or publication is None or bool(publication.evidence_digest)
    steps.append(Step(_where_answers_are(run, named, called[named.benchmark_index], at_hand)))
    if local:
        steps.append(
            Step("See what changed since RUN, one that passed.", ("evalhub-kfp", "compare", "RUN", str(run.path)))
        )
    return steps


def _where_answers_are(run: LoadedRun, test: BenchmarkTest, name: str, at_hand: bool) -> str:
    """Return in which files to look at what the model answered.

    Args:
        run: as loaded.
        test: the benchmark.
        name: what it is called.
        at_hand: whether whoever reads this has the files.
    """
    begin = f"Look at what the model got wrong in {name}:"
    if not at_hand:
        return f"{begin} questions and answers are among the framework's own files that its task left, in raw/."
    folder = run.folders.get(test.benchmark_index)
    place = f"benchmarks/{folder.name if folder else test.slug}"
    parts = []
    if folder and (folder / "samples.jsonl").is_file():
        parts.append(f"{place}/samples.jsonl has the score of each example by its id")
    raw = _raw_samples(folder) if folder else ""
    own = f"{place}/raw/{raw}" if raw else f"the framework's own files in {place}/raw/"
    parts.append(f"questions and answers are in {own}")
    return f"{begin} {'; '.join(parts)}."


def _raw_samples(folder: Path) -> str:
    """Return the name of the framework's own file with the single examples, empty when none is called so."""
    try:
        entries = list(islice((folder / "raw").iterdir(), _ENTRIES))
        names = [
            each.name
            for each in entries
            if "samples" in each.name and len(each.name) <= 200 and each.is_file() and not each.is_symlink()
        ]
    except OSError:
        return ""
    return min(names, default="")


def _inconclusive(run: LoadedRun, verdict: Verdict, local: bool, publication: Publication | None) -> list[Step]:
    called = wording.names(verdict)
    plan = Step(f"See what decides; {_SOURCE} is what this run was made from.", ("evalhub-kfp", "plan", _SOURCE))
    without = [called[test.benchmark_index] for test in verdict.benchmarks if test.weight > 0 and test.se is None]
    if without or verdict.score is None or verdict.interval is None:
        return [
            Step(
                f"{wording.listed(without) or 'A benchmark'} gave no standard error, and gate mode {verdict.gate_mode} "
                "needs one from every benchmark that counts. Use a benchmark with scores of single samples, or gate "
                "mode point."
            ),
            plan,
        ]
    distance = abs(verdict.score - verdict.threshold)
    width = verdict.score - verdict.interval[0]
    text = f"The score is {shown(distance, 2)} from the threshold, and uncertain by {shown(width, 2)}."
    if distance * 100 <= width:
        return [Step(f"{text} No number of examples is likely to decide it."), plan]
    factor = math.ceil((width / distance) ** 2 * 10) / 10
    first = Step(f"{text} About {shown(factor, 3)} times as many examples would decide it, if the score stays.")
    return [first, _more_examples(run, verdict, factor) or plan]


def _more_examples(run: LoadedRun, verdict: Verdict, factor: float) -> Step | None:
    """Return how to run it with more examples, None where the run's own limit is not what keeps them away."""
    limit = run.record.num_examples
    counting = [run.plan.tasks[test.benchmark_index] for test in verdict.benchmarks if test.weight > 0]
    if limit is None or not any(is_limited(task, limit) for task in counting):
        return None
    again = ("evalhub-kfp", "run", _SOURCE, "--num-examples", str(math.ceil(limit * factor)))
    return Step(f"Run it again with more examples, {_SOURCE} and the model as they were.", again)


def _without(run: LoadedRun, verdict: Verdict, local: bool, publication: Publication | None) -> list[Step]:
    called = wording.names(verdict)
    causes: dict[str, list[BenchmarkTest]] = {}
    for test in verdict.benchmarks:
        if wording.outcome(test) == "error":
            causes.setdefault(_why(test), []).append(test)
    steps = []
    for cause, tests in list(causes.items())[:_NAMED]:
        who = wording.listed([called[test.benchmark_index] for test in tests])
        one = len(tests) == 1
        log = f"{'Its' if one else 'The first'} log is benchmarks/{tests[0].slug}/log.txt."
        steps.append(Step(f"Cure why {who} {'has' if one else 'have'} no score: {_cut(cause)}. {log}"))
    if rest := sum(len(tests) for tests in list(causes.values())[_NAMED:]):
        more = "1 more benchmark has" if rest == 1 else f"{rest} more benchmarks have"
        steps.append(Step(f"{more} no score for another reason; see below."))
    if local:
        again = ("evalhub-kfp", "run", "--resume", str(run.path))
        return [*steps, Step("Then go on with the run: what is finished stays.", again)]
    return [*steps, Step("Then start the run again; no score was ever made up for a missing one.")]


def _waits_for_mlflow(publication: Publication) -> bool:
    # it writes reports itself, so it cannot be imported before them
    from evalhub_components.records.tracking import spool

    return any(spool.NAME in warning for warning in publication.warnings)


def _why(test: BenchmarkTest) -> str:
    return test.reason.removeprefix("no score: ").rstrip(".")


def _cut(cause: str) -> str:
    return cut(one_line(cause), _CAUSE)


def _loss(test: BenchmarkTest) -> float:
    """Return how much of the overall score this benchmark costs, times the sum of the weights."""
    return 0.0 if test.normalized_score is None else test.weight * (1 - test.normalized_score)


def _weights(verdict: Verdict) -> float:
    return sum(test.weight for test in verdict.benchmarks) or 1.0
