"""What a run says of itself in its description: a run of Kubeflow Pipelines has no labels."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from evalhub_components.errors import EvalHubError

LIMIT = 255
"""Characters of a description: MySQL takes no longer one, which is found out when the run's workflow has been started
(kubeflow/pipelines: DefaultStringSize in client_manager.go, CreateRun in resource_manager.go)."""

WIDEST = "\uffff"
"""The last character that it takes: the server speaks a UTF-8 of at most three bytes a character with it."""

_LINE = re.compile(r"([a-z_]+): (.*)")
_NEEDED = ("owner", "tags", "submission")
_SHORTEST = 30  # characters of a line whose end is left out
_OWNERS = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN")
_COMMITS = ("GITHUB_SHA", "CI_COMMIT_SHA")
REVISION = "org.opencontainers.image.revision"
"""The annotation of the evidence that names a commit."""


@dataclass(frozen=True)
class RunDescription:
    """What is known of a run beside what Kubeflow Pipelines keeps; None where nobody said it.

    What matters most comes first: of the others is written what there is room for. The plan is part of the name of the
    pipeline's version.

    Attributes:
        owner: who submitted it.
        tags: in their order, each once.
        submission: different for every submission: it tells whether a request whose answer was lost has arrived.
        collection: id of the collection.
        version: of the collection.
        git_commit: that it was submitted for.
        model: name of the model.
        description: what eval.yaml says of the evaluation; its end is left out where it is too long.
    """

    owner: str | None = None
    tags: tuple[str, ...] = ()
    submission: str | None = None
    collection: str | None = None
    version: str | None = None
    git_commit: str | None = None
    model: str | None = None
    description: str | None = None

    def text(self) -> str:
        """Return the description: a line `key: value` for all that is known, one for each tag.

        Raises:
            EvalHubError: there is no room for what runs are looked for by.
        """
        text = ""
        for field in fields(self):
            for line in self._lines(field.name):
                room = LIMIT - len(text) - bool(text)
                if len(line) > room and field.name in _NEEDED:
                    cure = "fewer or shorter ones: --tag, --owner, tags in an eval.yaml"
                    raise EvalHubError(f"tags and owner of a run: have more than {LIMIT} characters together ({cure})")
                if len(line) > room >= _SHORTEST and field.name == "description":
                    line = f"{line[: room - 3]}..."
                if len(line) <= room:
                    text += f"\n{line}" if text else line
        return text

    def _lines(self, name: str) -> list[str]:
        value = getattr(self, name)
        if name == "tags":
            return [f"tag: {one_line(tag)}" for tag in value]
        return [f"{name}: {one_line(value)}"] if value else []


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


def one_line(value: str) -> str:
    """Return `value` as one line that passes for no other key, in characters that the server's database takes."""
    shown = (character if character.isprintable() else " " for character in value)
    return " ".join("".join(character if character <= WIDEST else "\ufffd" for character in shown).split())
