"""Figures of compiling: what the pipeline of the largest collection costs beyond kfp's own, and its size."""

# without `from __future__ import annotations`: kfp wants types, not texts
import tempfile
from pathlib import Path

from bench_figures import figure, own_cpu
from kfp import compiler as kfp_compiler
from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from evalhub_components.schema.plan import EvaluationPlan
from evalhub_pipelines import compiler, plan
from evalhub_pipelines.compiler import groups

LARGEST = "lm-eval-catalogue-v1"


def main() -> None:
    """Print every figure."""
    largest = plan(LARGEST)
    count = len(largest.tasks)
    ours = own_cpu(lambda: compiler.compile_plan(largest))
    bare = own_cpu(lambda: _compiled(largest))
    figure(f"compile of {LARGEST}, {count} benchmarks", f"{ours:.2f} s CPU")
    figure(f"    over a bare DAG of kfp, {count} tasks of a component each", f"{ours / bare:.2f}", "at most 1.5")
    argument, workflow = groups.sizes(compiler.compile_plan(largest))
    for what, size, limit in (
        ("largest argument", argument, groups.ARGUMENT_LIMIT),
        ("workflow", workflow, groups.WORKFLOW_LIMIT),
    ):
        figure(f"    its {what}", f"{size / 1024:.0f} KiB", f"at most {limit // 1024}")


def _compiled(largest: EvaluationPlan) -> None:
    """Compile a pipeline whose tasks have the names, inputs and outputs of ours, and no settings at all."""

    def bare(model_url: str, model_name: str, num_examples: int):  # type: ignore[no-untyped-def]
        for task in largest.tasks:
            _component(f"benchmark-{task.slug}".replace("_", "-").replace(".", "-"))(
                task="", model_url=model_url, model_name=model_name, fingerprint="", num_examples=num_examples
            )

    with tempfile.TemporaryDirectory() as folder:
        kfp_compiler.Compiler().compile(dsl.pipeline(name="bare")(bare), str(Path(folder) / "bare.yaml"))


def _component(name: str) -> BaseComponent:
    def function(
        task: str,
        model_url: str,
        model_name: str,
        fingerprint: str,
        num_examples: int,
        results: dsl.Output[dsl.Artifact],
        metrics: dsl.Output[dsl.Metrics],
    ):  # type: ignore[no-untyped-def]
        return dsl.ContainerSpec(image="example.org/bare:1", command=["true"], args=[task, results.path])

    function.__name__ = name
    return dsl.container_component(function)


if __name__ == "__main__":
    main()
