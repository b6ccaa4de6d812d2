"""Which examples of a benchmark have been asked, answered or lost, and what that cost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from evalhub_components.adapter import JobCallbacks, JobStatusUpdate
from evalhub_components.schema.results import Phase

Example = tuple[str, int]
"""A task's name and the number of one of its documents."""

REPORT_SECONDS = 0.2


def example_of(instance: Any) -> Example:
    """Return the example that a request (lm-eval's `Instance`) belongs to."""
    return instance.task_name, instance.doc_id


class Tally:
    """The examples of one benchmark.

    Attributes:
        failed: examples without a usable answer, with the reason.
        usage: requests sent, and tokens as the server counted them.
        unscorable: a task of the benchmark without any usable answer.
    """

    def __init__(self, benchmark_index: int, max_error_rate: float) -> None:
        self.benchmark_index = benchmark_index
        self.failed: dict[Example, str] = {}
        self.usage: dict[str, float] = {}
        self.unscorable: str | None = None
        self._max_error_rate = max_error_rate
        self._pending: Counter[Example] = Counter()
        self._total = 0
        self._started: float | None = None
        self._ended = 0.0

    def expect(self, instances: Iterable[Any]) -> None:
        """Take note of requests that will be sent."""
        for instance in instances:
            self._pending[example_of(instance)] += instance.repeats or 1
        self._total = len(self._pending)

    @property
    def total(self) -> int:
        """Number of examples."""
        return self._total

    @property
    def done(self) -> int:
        """Number of examples that nothing is outstanding of."""
        return sum(count <= 0 for count in self._pending.values())

    @property
    def allowed(self) -> int:
        """Number of examples that may fail; never all of them."""
        # a rate such as 0.1 is a little less than a tenth in binary
        return min(int(self._max_error_rate * self._total + 1e-9), max(self._total - 1, 0))

    @property
    def lost(self) -> bool:
        """Whether there can be no score any more."""
        return len(self.failed) > self.allowed or self.unscorable is not None

    @property
    def seconds(self) -> float:
        """Seconds from the first request to the last answer."""
        return 0.0 if self._started is None else self._ended - self._started

    def sent(self) -> None:
        """Count a request."""
        self._use({"requests": 1})
        if self._started is None:
            self._started = time.monotonic()

    def answered(self, instance: Any, tokens: Mapping[str, float]) -> None:
        """Count a request as answered, rightly or not."""
        self._pending[example_of(instance)] -= 1
        self._use(tokens)
        self._ended = time.monotonic()

    def fail(self, example: Example, reason: str) -> None:
        """Note that an example has no usable answer."""
        self.failed.setdefault(example, reason)

    def explain(self) -> str:
        """Return why there is no score."""
        # what stands behind the colon may differ with every request
        kinds = Counter(reason.partition(": ")[0] for reason in self.failed.values())
        first = {reason.partition(": ")[0]: reason for reason in reversed(self.failed.values())}
        listed = "; ".join(f"{count} x {first[kind]}" for kind, count in kinds.most_common(2))
        if self.unscorable is not None:
            return f"no example of {self.unscorable} got a usable answer: {listed}"
        return (
            f"{len(self.failed)} of {self._total} examples got no usable answer and at most {self.allowed} may "
            f"(max_error_rate {self._max_error_rate:g}), so no more were asked: {listed}"
        )

    def _use(self, amounts: Mapping[str, float]) -> None:
        for name, amount in amounts.items():
            self.usage[name] = self.usage.get(name, 0) + amount


class Ledger:
    """The tallies of all benchmarks that run together, and the progress reports about them."""

    def __init__(self, callbacks: JobCallbacks) -> None:
        self._callbacks = callbacks
        self._tallies: dict[str, Tally] = {}
        self._changed: dict[int, Tally] = {}
        self._phases: dict[int, Phase] = {}
        self._reported = 0.0

    def open(self, tally: Tally, task_names: Iterable[str]) -> None:
        """Keep `tally` for the examples of these tasks."""
        self._tallies.update(dict.fromkeys(task_names, tally))

    def of(self, instance: Any) -> Tally:
        """Return the tally that a request counts in."""
        return self._tallies[instance.task_name]

    def lost(self, instances: Sequence[Any]) -> bool:
        """Return whether nobody needs the answers to these requests any more."""
        return bool(instances) and all(self.of(instance).lost for instance in instances)

    def answered(self, instance: Any, tokens: Mapping[str, float]) -> None:
        """Count an answer and report progress, at most five times a second."""
        tally = self.of(instance)
        tally.answered(instance, tokens)
        self._changed[tally.benchmark_index] = tally
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            self.report()

    def report(self) -> None:
        """Report the progress of all benchmarks that moved since the last report."""
        for index, tally in self._changed.items():
            update = JobStatusUpdate("running_evaluation", completed_steps=tally.done, total_steps=tally.total)
            self._callbacks.report_status(update, benchmark_index=index)
        self._changed.clear()
        self._reported = time.monotonic()

    def enter(self, index: int, phase: Phase) -> None:
        """Report that a benchmark has reached a phase, once."""
        if self._phases.get(index) != phase:
            self._phases[index] = phase
            self._callbacks.report_status(JobStatusUpdate(phase), benchmark_index=index)


def follow(task: Any, tally: Tally, ledger: Ledger, seed: Callable[[], None]) -> None:
    """Make a task count its requests in `tally` and leave failed examples out of its metrics.

    lm-eval has no notion of a failed example. It asks a task for its requests, lets it filter the answers, and then
    walks through its documents to score them: that walk leaves the failed ones out.

    Args:
        task: lm-eval's task, changed in place.
        tally: where its examples count.
        ledger: told about phases.
        seed: seeds Python's and numpy's global generators: some tasks draw from them, and must draw the same numbers
            alone and in a batch.
    """
    build, filters, documents = task.build_all_requests, task.apply_filters, task.doc_iterator
    name = task.task_name

    def build_all_requests(**options: Any) -> None:
        seed()
        build(**options)
        tally.expect(task.instances)

    def apply_filters() -> Any:
        ledger.report()
        ledger.enter(tally.benchmark_index, "post_processing")
        seed()
        if all(example_of(instance) in tally.failed for instance in task.instances):
            tally.unscorable = name
        return filters()

    def doc_iterator(**options: Any) -> Any:
        # a lost benchmark shows nothing: what stands for its missing answers is not fit to be scored
        for number, document in documents(**options):
            if not tally.lost and (name, number) not in tally.failed:
                yield number, document

    task.build_all_requests = build_all_requests
    task.apply_filters = apply_filters
    task.doc_iterator = doc_iterator
