"""What a run says of itself in its description: a run of Kubeflow Pipelines has no labels."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

_LINE = re.compile(r"([a-z_]+): (.*)")
_LONGEST = 1000  # characters of a value
_OWNERS = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN")
_COMMITS = ("GITHUB_SHA", "CI_COMMIT_SHA")
REVISION = "org.opencontainers.image.revision"
"""The annotation of the evidence that names a commit."""


@dataclass(frozen=True)
class RunDescription:
    """What is known of a run beside what Kubeflow Pipelines keeps; None where nobody said it.

    Attributes:
        collection: id of the collection.
        version: of the collection.
        plan: digest of the plan.
        model: name of the model.
        owner: who submitted it.
        tags: in their order, each once.
        git_commit: that it was submitted for.
        submission: different for every submission: it tells whether a request whose answer was lost has arrived.
        description: what eval.yaml says of the evaluation.
    """

    collection: str | None = None
    version: str | None = None
    plan: str | None = None
    model: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    git_commit: str | None = None
    submission: str | None = None
    description: str | None = None

    def text(self) -> str:
        """Return the description: a line `key: value` for all that is known, one for each tag."""
        lines = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "tags":
                lines += [f"tag: {_one_line(tag)}" for tag in value]
            elif value:
                lines.append(f"{field.name}: {_one_line(value)}")
        return "\n".join(lines)


def parse(text: str | None) -> RunDescription:
    """Return what a description says, whoever wrote it: of what is no `key: value` nothing is known."""
    known = {field.name for field in fields(RunDescription)} - {"tags"}
    found: dict[str, str] = {}
    tags = []
    for line in (text or "").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match and match[1] == "tag":
            tags.append(match[2])
        elif match and match[1] in known:
            found.setdefault(match[1], match[2])
    return RunDescription(**found, tags=tuple(dict.fromkeys(tags)))


def owner_of(environ: Mapping[str, str]) -> str | None:
    """Return who submits: whoever started the CI job, else the login name, None where there is none."""
    named = next((environ[name] for name in _OWNERS if environ.get(name)), None)
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's arbitrary user has no name
        return None


def commit_of(environ: Mapping[str, str], annotations: Mapping[str, str]) -> str | None:
    """Return the commit that is evaluated: what the evidence is annotated with, else the CI job's."""
    return annotations.get(REVISION) or next((environ[name] for name in _COMMITS if environ.get(name)), None)


def _one_line(value: str) -> str:
    """Return `value` so that it is one line, and no line of it passes for another key."""
    text = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(text.split())[:_LONGEST]
