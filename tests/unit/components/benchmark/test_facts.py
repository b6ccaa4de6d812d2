"""What is kept of how results came about: the same for the same run, whatever an adapter hands in."""

from __future__ import annotations

import subprocess
import sys

from evalhub_components.benchmark.facts import facts

SCRIPT = """
import json
from evalhub_components.benchmark.facts import facts
class Model: pass
objects = {"model": Model(), "loader": len, "call": Model.__init__}
said = {"environment": {"tags": {"red", "green", "blue", "cyan"}, **objects}}
print(json.dumps(facts({}, said, {}, 1), sort_keys=True))
"""


def test_sets_and_objects_are_the_same_in_every_process() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(said) == 1
    assert '["blue", "cyan", "green", "red"]' in said.pop()


def test_an_adapter_does_not_speak_for_the_machine() -> None:
    said = {"environment": {"hardware": "a supercomputer", "schema_version": 9, "framework": "x"}}
    found = facts({"schema_version": 1, "hardware": {"cpus": 2}}, said, {}, 1)
    assert found["hardware"] == {"cpus": 2}
    assert found["schema_version"] == 1
    assert found["framework"] == "x"
