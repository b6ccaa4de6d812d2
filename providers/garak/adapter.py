"""Runs probes of NVIDIA's garak against an OpenAI-compatible endpoint and counts the attacks that succeed."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import garak_settings
from garak_benchmarks import BENCHMARKS, Selection
from garak_parameters import ELSEWHERE, Parameters
from garak_plan import Plan
from garak_report import Report

from evalhub_components.adapter import FrameworkAdapter, JobCallbacks, JobPhase, JobResults, JobSpec, JobStatusUpdate
from evalhub_components.errors import EvalHubError
from evalhub_components.framework.ledger import Ledger, usage_of
from evalhub_components.framework.parameters import parse
from evalhub_components.framework.program import run
from evalhub_components.framework.relay import Relay

_LAUNCHER = Path(__file__).with_name("garak_launch.py")
_LOG_LINE = re.compile(r"^[-\d]+ [\d:,.]+ +(?:WARNING|ERROR|CRITICAL) +(?P<message>\S.*)$")


class GarakAdapter(FrameworkAdapter):
    """One process of garak for each benchmark: its settings are module variables, and it makes one report."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        """Run one benchmark.

        Raises:
            EvalHubError: it cannot be run or scored, with the reason.
        """

        def enter(phase: JobPhase, progress: float | None = None) -> None:
            update = JobStatusUpdate(phase=phase, progress=progress)
            callbacks.report_status(update, benchmark_index=config.benchmark_index)

        enter(JobPhase.INITIALIZING)
        parameters = parse(Parameters, config.benchmark_id, config.parameters, ELSEWHERE)
        selection = _selection(config, parameters)
        settings = garak_settings.configuration(config, parameters, selection)
        events = config.work_dir / "events.jsonl"
        events.touch()

        def listen(ledger: Ledger) -> None:
            requests = ledger.answered + len(ledger.lost)
            progress = Plan.read(events).progress(requests, settings["run"]["generations"])
            enter(JobPhase.RUNNING_EVALUATION, progress)

        started = time.monotonic()
        tries, patience = parameters.max_retries, float(parameters.request_timeout)
        with Relay.of(config, tries=tries, request_timeout=patience, listen=listen) as relay:
            relay.check()
            file = garak_settings.write(settings, relay.url, config.raw_dir)
            limits = {"events": str(events), "num_examples": config.num_examples, "seed": config.seed}
            environ = garak_settings.environment(config, selection, relay.token)
            run(
                [sys.executable, str(_LAUNCHER), str(file)],
                environ={**environ, "EVALHUB_GARAK_SETTINGS": json.dumps(limits)},
                folder=config.work_dir,
                stop=lambda: relay.ledger.is_hopeless,
            )
            enter(JobPhase.POST_PROCESSING)
            seconds = time.monotonic() - started
            results = _results(config, settings, Plan.read(events), relay.ledger, seconds)
        enter(JobPhase.COMPLETED)
        return results


def _selection(config: JobSpec, parameters: Parameters) -> Selection:
    selection = BENCHMARKS.get(config.benchmark_id)
    configured = parameters.garak_config
    named = configured.get("run", {}).get("spec") or configured.get("plugins", {}).get("probe_spec")
    if parameters.probes or parameters.tags or named:
        # nobody knows what these need
        return replace(selection or Selection(), hub=True)
    if selection is None:
        raise EvalHubError(
            f"{config.benchmark_id}: is no benchmark of this provider and names no probes "
            f"(set parameters.probes or parameters.tags, or use one of {', '.join(BENCHMARKS)})"
        )
    return replace(selection, hub=selection.hub or parameters.detectors is not None)


def _results(config: JobSpec, settings: dict[str, Any], plan: Plan, ledger: Ledger, seconds: float) -> JobResults:
    log = _keep_log(config)
    if reason := plan.impossible or (ledger.explain() if ledger.is_hopeless else ""):
        raise EvalHubError(f"{config.benchmark_id}: {reason}")
    told = settings["run"]
    try:
        path = config.raw_dir / f"{garak_settings.PREFIX}.report.jsonl"
        report = Report.read(path, told["eval_threshold"], told["generations"])
        report.check(plan)
    except EvalHubError as error:
        reasons = [str(error), ledger.explain() or _last_words(log)]
        raise EvalHubError(": ".join([config.benchmark_id, *filter(None, reasons)])) from None
    requested, evaluated = report.requested(plan), len(report.samples)
    if requested - evaluated > config.max_error_rate * requested and not ledger.lost:
        what = f"{requested - evaluated} of {requested} verdicts of detectors are missing"
        raise EvalHubError(": ".join(filter(None, [config.benchmark_id, what, _last_words(log)])))
    return JobResults(
        id=config.id,
        benchmark_id=config.benchmark_id,
        benchmark_index=config.benchmark_index,
        model_name=config.model.name,
        results=report.metrics(),
        num_examples_evaluated=evaluated,
        num_examples_requested=requested,
        num_errors=requested - evaluated,
        duration_seconds=seconds,
        samples=report.samples,
        usage=usage_of(model=ledger),
        environment={
            **report.facts(plan),
            "settings": settings,
            "seeds": {"garak": config.seed, "request": config.seed},
            "lost_requests": ledger.explain() or None,
        },
    )


def _keep_log(config: JobSpec) -> Path:
    """Copy garak's log to the files that are kept."""
    log = config.raw_dir / "garak.log"
    written = config.work_dir / "data" / "garak" / "garak.log"
    if written.is_file():
        shutil.copyfile(written, log)
    return log


def _last_words(log: Path) -> str:
    """Return the last warning or error of garak's log: on its way out it says there why."""
    if not log.is_file():
        return ""
    matches = map(_LOG_LINE.match, log.read_text(encoding="utf-8", errors="replace").splitlines())
    messages = [match["message"] for match in matches if match]
    return messages[-1][:500] if messages else ""
