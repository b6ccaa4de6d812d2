"""What a schedule on the server says of itself, in its description: Kubeflow Pipelines keeps nothing else of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

_HEAD = "Kept by `evalhub-kfp schedule apply`: change its file, and apply that."
_LINE = re.compile(r"([a-z_]+): (.*)")


@dataclass(frozen=True)
class ScheduleRecord:
    """A schedule's own words.

    Attributes:
        schedule: its name.
        digest: of everything that it was made of; equal for equal files.
        time_zone: that its cron is read in.
        plan: digest of the plan that its runs evaluate.
        model: its name.
        owner: who applied it.
        generation: one more than that of any other of its name that whoever made it knew of: times of the server are
            whole seconds.
    """

    schedule: str
    digest: str
    time_zone: str
    collection: str
    version: str
    plan: str
    model: str
    owner: str = ""
    generation: int = 1

    def text(self) -> str:
        """Return the description, a line `key: value` for everything that is known."""
        known = [(field.name, _one_line(str(getattr(self, field.name)))) for field in fields(self)]
        return "\n".join([_HEAD, *(f"{name}: {value}" for name, value in known if value)])


def parse(text: str | None) -> ScheduleRecord | None:
    """Return what a description says, None where somebody else wrote it."""
    lines = (text or "").splitlines()
    if not lines or lines[0] != _HEAD:
        return None
    found = {match[1]: match[2] for line in lines if (match := _LINE.fullmatch(line))}
    number = found.pop("generation", "")
    known = {field.name: found.get(field.name, "") for field in fields(ScheduleRecord) if field.name != "generation"}
    if not (known["schedule"] and known["digest"] and number.isascii() and number.isdigit()):
        return None
    return ScheduleRecord(**known, generation=int(number))


def _one_line(value: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in value).split())
