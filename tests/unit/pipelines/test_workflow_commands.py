from __future__ import annotations

import json
import subprocess
import sys

import pytest

from evalhub_components.records.ci.disarming import disarm

COMMANDS = {"error", "set-output", "add-mask", "stop-commands", "group", "task.setvariable"}


def weighty(text: str) -> str:
    """Return `text` without what a comparison by culture ignores."""
    return "".join(character for character in text if character not in "\u200b\u200d\u00ad\u2060\ufeff\ufe0f\0")


def obeyed(text: str) -> list[str]:
    """Return the commands that a runner finds in what a step printed."""
    found = []
    for line in text.replace("\r", "\n").split("\n"):
        line = weighty(line)
        if line.lstrip().startswith("::") and "::" in line.lstrip()[2:]:
            found.append(line.lstrip()[2:].split("::")[0].split(" ")[0])
        elif "##[" in line and "]" in line:
            found.append(line.split("##[")[1].split("]")[0].split(" ")[0])
        elif "##vso[" in line.lower() and "]" in line:
            found.append(line.lower().split("##vso[")[1].split("]")[0].split(" ")[0])
    return [name for name in found if name in COMMANDS]


@pytest.mark.parametrize(
    "text",
    [
        "::error::owned",
        "  \t::set-output name=verdict::pass",
        "one\n::error::owned\n",
        "one\r::error::owned",
        "\u2003::error::owned",
        "\u200b::error::owned",
        ":\u00ad:error::owned",
        "see ##[error]owned",
        "##\u200d[error]owned",
        "###[group]owned",
        "::stop-commands::x ##[error]owned",
        ":::error::owned",
        "::add-mask::a\n::add-mask::b",
        "see ##vso[task.setvariable variable=verdict]pass",
        "##VSO[task.setvariable variable=verdict]pass",
        "##v\u200bso[task.setvariable variable=verdict]pass",
    ],
)
def test_nothing_printed_is_obeyed(text: str) -> None:
    assert obeyed(disarm(text)) == []


@pytest.mark.parametrize(
    "text",
    ["", "pass\n", "a::b and std::vector", "score: 0.5", "# heading [x]", "001  gsm8k  0.5  fail\n", "日本 0.5\n"],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert disarm(text) == text


def test_json_stays_the_same_value() -> None:
    value = {"##[error]a": ["::error::b", '\\##[group]"', "x\n::c"]}
    text = json.dumps(value, indent=2)
    disarmed = disarm(text)
    assert obeyed(text)
    assert obeyed(disarmed) == []
    assert json.loads(disarmed) == value


@pytest.mark.parametrize(
    ("variables", "guarded"), [({"GITHUB_ACTIONS": "true"}, True), ({"TF_BUILD": "True"}, True), ({}, False)]
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_both_streams_are_guarded_on_a_runner_alone(variables: dict[str, str], guarded: bool, encoding: str) -> None:
    program = (
        "import os, sys, click\n"
        "from evalhub_pipelines.cli import workflow_commands\n"
        "workflow_commands.guard(os.environ)\n"
        "workflow_commands.guard(os.environ)\n"
        "for err in (False, True):\n"
        "    click.echo('::error::owned', err=err)\n"
        "print('##[error]owned', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**variables, "PYTHONIOENCODING": encoding},
        capture_output=True,
        text=True,
        check=True,
    )
    assert obeyed(done.stdout) == ([] if guarded else ["error"])
    assert obeyed(done.stderr) == ([] if guarded else ["error", "error"])
    assert "owned" in done.stdout
