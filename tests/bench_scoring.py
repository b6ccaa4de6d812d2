"""How fast a verdict is computed."""

from __future__ import annotations

from bench_figures import figure, wall

from evalhub_components.schema.collection import BenchmarkConfig, Collection
from evalhub_components.schema.provider import Benchmark, PrimaryScore, Provider
from evalhub_components.schema.results import BenchmarkResults, MetricValue, Sample
from evalhub_components.scoring import judgement
from evalhub_pipelines import resolution


def main() -> None:
    """Seconds to judge 1,000 benchmarks with 100 samples each."""
    score = PrimaryScore(metric="acc")
    provider = Provider(id="p", benchmarks=[Benchmark(id=f"b{i}", primary_score=score) for i in range(1000)])
    entries = [BenchmarkConfig(id=f"b{i}", provider_id="p") for i in range(1000)]
    plan = resolution.resolve(Collection(id="c", benchmarks=entries), {"p": provider})
    samples = [Sample(id=str(i), score=float(i % 4 > 0)) for i in range(100)]
    outcomes = {}
    for task in plan.tasks:
        results = BenchmarkResults(
            provider_id="p",
            benchmark_id=task.benchmark_id,
            benchmark_index=task.index,
            task_digest=task.digest(),
            status="completed",
            metrics={"acc": MetricValue(value=0.75)},
            num_evaluated=100,
            started_at="2026-01-01T00:00:00Z",
            completed_at="2026-01-01T00:00:01Z",
        )
        outcomes[task.index] = judgement.TaskOutcome(results, samples)
    seconds = wall(lambda: judgement.judge(plan, outcomes))
    figure("verdict over 1,000 benchmarks with 100 samples each", f"{seconds:.2f} s", "at most 1")


if __name__ == "__main__":
    main()
