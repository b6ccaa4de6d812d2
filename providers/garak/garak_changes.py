"""Changes to garak in its own process: threads in place of processes, a limit that holds, and a record of its plan.

As it comes, garak starts processes for every probe and opens a connection for every prompt, which takes longer than
most answers. It says in no file which probes and detectors it could not load, and leaves them out; and some of its
probes do not keep to the number of prompts that it was given. What decides on a score is left alone.
"""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import random
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.pool import ThreadPool
from typing import Any

import garak.command
import garak.harnesses.base
import garak.harnesses.probewise
import openai
from garak.generators.openai import OpenAICompatible
from garak.probes.base import IntentProbe, Probe

_settings: dict[str, Any] = json.loads(os.environ.get("EVALHUB_GARAK_SETTINGS", "{}"))


def install() -> None:
    """Put the changes in, before garak starts."""
    multiprocessing.Pool = ThreadPool  # type: ignore[assignment]
    OpenAICompatible._load_unsafe = _load_unsafe
    # one client serves all copies of a generator, and a copy is made and thrown away for every prompt
    OpenAICompatible.close = lambda self: None
    Probe._execute_attempt = _execute_attempt
    Probe._execute_all = _execute_all
    garak.command.probewise_run = _announced(garak.command.probewise_run)
    garak.command.pxd_run = _announced(garak.command.pxd_run)
    garak.harnesses.base.Harness.run = _run
    garak.harnesses.probewise.ProbewiseHarness._load_detector = _load_detector


def _emit(**event: Any) -> None:
    """Append an event to the file that the adapter reads."""
    with open(_settings["events"], "a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


@cache
def _client(uri: str, key: str) -> openai.OpenAI:
    # tries and time limits are those of the relay, which answers every request
    return openai.OpenAI(base_url=uri, api_key=key, max_retries=0, timeout=None)


def _load_unsafe(self: Any) -> None:
    self.client = _client(self.uri, self.api_key)
    self.generator = self.client.chat.completions


_execute_one = Probe._execute_attempt


def _execute_attempt(self: Any, attempt: Any) -> Any:
    # as with processes: what a probe does to its generator for one prompt must not reach the others
    own = copy.copy(self)
    own.generator = copy.copy(self.generator)
    return _execute_one(own, attempt)


_execute_everything = Probe._execute_all


def _execute_all(self: Any, attempts: Sequence[Any]) -> Any:
    chosen, cap = list(attempts), _settings["num_examples"]
    one_round = type(self).probe in (Probe.probe, IntentProbe.probe)
    if one_round and cap is not None and len(chosen) > cap:
        kept = sorted(random.Random(_settings["seed"]).sample(range(len(chosen)), cap))
        chosen = [chosen[index] for index in kept]
    _emit(probe=_short(self), prompts=len(chosen), one_round=one_round)
    return _execute_everything(self, chosen)


def _announced(run: Callable[..., None]) -> Callable[..., None]:
    def announce_and_run(generator: Any, probe_names: Sequence[str], *rest: Any) -> None:
        _emit(queue=len(probe_names))
        run(generator, probe_names, *rest)

    return announce_and_run


_unloaded: set[str] = set()
_load = garak.harnesses.probewise.ProbewiseHarness._load_detector


def _load_detector(self: Any, name: str) -> Any:
    detector = _load(self, name)
    if not detector or detector.skip:
        _unloaded.add(name)
        _emit(unloaded=name)
    return detector


_run_probes = garak.harnesses.base.Harness.run


def _run(self: Any, model: Any, probes: Any, detectors: Any, *rest: Any, **named: Any) -> None:
    for probe in probes:
        by_intent = isinstance(probe, IntentProbe)
        names = [] if by_intent else [d.detectorname.replace("garak.detectors.", "") for d in detectors]
        reads_text = set(probe.modality["in"]) <= set(model.modality["in"])
        _emit(probe=_short(probe), detectors=names, reads_text=reads_text)
        if reads_text and probe.primary_detector in _unloaded:
            # garak would go on with the others, and the rate would be about something else
            needs = "most such need a model of the Hugging Face hub, or a key"
            reason = f"{_short(probe)}: its detector {probe.primary_detector} cannot be loaded ({needs})"
            _emit(impossible=reason)
            raise SystemExit(reason)
    _run_probes(self, model, probes, detectors, *rest, **named)


def _short(probe: Any) -> str:
    return str(probe.probename).replace("garak.probes.", "")
