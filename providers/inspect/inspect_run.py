"""One task, run by inspect in this process.

Importing this imports inspect: what it reads from the environment must be there before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import inspect_ai
from inspect_ai._util import entrypoints
from inspect_ai.hooks import Hooks, SampleEnd, TaskStart, hooks
from inspect_ai.log import EvalLog
from inspect_ai.model import Model, get_model
from inspect_parameters import Parameters
from inspect_tasks import Chosen

from evalhub_components.adapter import JobSpec
from evalhub_components.errors import EvalHubError
from evalhub_components.framework.relay import Relay

SERVICE = "evalhub"
JUDGE_SERVICE = "judge"

_all_entry_points = entrypoints.entry_points
_counts = {"done": 0, "total": 0}


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


_listener: Callable[[int, int], None] = _silent


@hooks(name="evalhub_progress", description="tells evalhub-kfp how far a task is")
class _Progress(Hooks):
    async def on_task_start(self, data: TaskStart) -> None:
        ids = data.spec.dataset.sample_ids
        examples = len(ids) if ids is not None else data.spec.dataset.samples or 0
        _counts.update(done=0, total=examples * (data.spec.config.epochs or 1))
        _listener(0, _counts["total"])

    async def on_sample_end(self, data: SampleEnd) -> None:
        _counts["done"] += 1
        _listener(_counts["done"], _counts["total"])


def run(
    config: JobSpec,
    parameters: Parameters,
    chosen: Chosen,
    relay: Relay,
    judge: Relay | None,
    nobody: Relay,
    listen: Callable[[int, int], None],
) -> EvalLog:
    """Run the task and return its log, which is in `raw/` as well.

    Args:
        judge: the relay of the run's judge, where there is one: the role `grader`, and what `{judge}` names.
        nobody: what has that role where there is none.
        listen: called with the examples done and those there are.

    Raises:
        EvalHubError: inspect does not start it.
    """
    global _listener
    _listener = listen
    _spare_evals(chosen)
    # the relay gives up before this does
    patience = float(parameters.tries * (parameters.request_timeout + 60))
    model = _model(SERVICE, config.model.name, relay, patience)
    name = config.judge.endpoint.name if config.judge else "nobody"
    judge_name = f"openai-api/{JUDGE_SERVICE}/{name}" if judge else ""
    # what tasks call the models other than the one under test, and that one where there are others
    other = _model(JUDGE_SERVICE, name, judge or nobody, patience)
    roles: dict[str, Any] = {"grader": other, "judge": other, "auditor": other, "target": model}
    try:
        logs = inspect_ai.eval(
            chosen.spec,
            model=model,
            model_roles=roles,
            task_args={key: _named(value, judge_name) for key, value in chosen.args.items()},
            sandbox=parameters.sandbox,
            display="none",
            log_level="warning",
            log_dir=str(config.raw_dir),
            # the other one, .eval, is packed in a way that few can open
            log_format="json",
            log_realtime=False,
            ctl_server=False,
            score_display=False,
            limit=config.num_examples,
            sample_shuffle=config.seed if parameters.shuffle else None,
            epochs=parameters.epochs,
            # a share of the examples; no error at all is True to inspect, and any number of them False
            fail_on_error=config.max_error_rate or True if config.max_error_rate < 1 else False,
            message_limit=parameters.message_limit,
            token_limit=parameters.token_limit,
            time_limit=parameters.time_limit,
            max_connections=parameters.concurrency,
            max_samples=parameters.concurrency,
            max_retries=0,
            seed=config.seed,
            **_generation(parameters),
        )
    except Exception as error:
        said = " ".join(str(getattr(error, "message", "") or error).split())
        raise EvalHubError(f"{config.benchmark_id}: inspect: {said or type(error).__name__}") from error
    if len(logs) != 1:
        raise EvalHubError(f"{config.benchmark_id}: {chosen.spec} stands for {len(logs)} tasks (name one of them)")
    return logs[0]


def _model(service: str, name: str, relay: Relay, patience: float) -> Model:
    # not remembered: the next benchmark's relay has another address
    return get_model(
        f"openai-api/{service}/{name}", base_url=relay.url, api_key=relay.token, memoize=False, client_timeout=patience
    )


def _generation(parameters: Parameters) -> dict[str, Any]:
    keys = ("temperature", "top_p", "max_tokens", "reasoning_effort", "system_message")
    found = {key: getattr(parameters, key) for key in keys if getattr(parameters, key) is not None}
    return found | ({"extra_body": parameters.extra_body} if parameters.extra_body else {})


def _named(value: Any, judge: str) -> Any:
    return value.replace("{judge}", judge) if isinstance(value, str) else value


def _spare_evals(chosen: Chosen) -> None:
    """Keep inspect from importing all of inspect_evals, which takes six seconds, for a task that is in a file."""

    def entry_points(**keys: Any) -> Any:
        found = _all_entry_points(**keys)
        return found if chosen.installed else [each for each in found if each.name != "inspect_evals"]

    entrypoints.entry_points = entry_points
    # what an earlier benchmark had no use for
    entrypoints.clear_entry_points_state()
