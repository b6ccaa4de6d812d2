"""What a schedule on the server says of itself, in its description: Kubeflow Pipelines keeps nothing else of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.client.runs.run_description import LIMIT, one_line

_HEAD = "Kept by `evalhub-kfp schedule apply`"
_NEEDED = ("schedule", "digest", "generation", "time_zone")
_OTHERS = ("collection", "version", "owner", "model")
"""Said where there is room: what they say is also in the parameters and the version of the pipeline."""
_LINE = re.compile(r"([a-z_]+): (.*)")


@dataclass(frozen=True)
class ScheduleRecord:
    """A schedule's own words.

    Attributes:
        schedule: its name.
        digest: of everything that it was made of; equal for equal files.
        time_zone: that its cron is read in.
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
    model: str
    owner: str = ""
    generation: int = 1

    def text(self) -> str:
        """Return the description, a line `key: value` for everything that is known and that there is room for.

        Raises:
            EvalHubError: the name of the schedule leaves none.
        """
        known = {name: one_line(str(getattr(self, name))) for name in (*_NEEDED, *_OTHERS)}
        text = "\n".join([_HEAD, *(f"{name}: {known[name]}" for name in _NEEDED)])
        if len(text) > LIMIT:
            raise EvalHubError(f"schedule {self.schedule[:40]!r}: its name or time zone is too long")
        for name in _OTHERS:
            line = f"\n{name}: {known[name]}"
            if known[name] and len(text) + len(line) <= LIMIT:
                text += line
        return text


def parse(text: str | None) -> ScheduleRecord | None:
    """Return what a description says, None where somebody else wrote it."""
    lines = (text or "").splitlines()
    if not lines or lines[0] != _HEAD:
        return None
    found = {match[1]: match[2] for line in lines if (match := _LINE.fullmatch(line))}
    number = found.pop("generation", "")
    known = {name: found.get(name, "") for name in (*_NEEDED, *_OTHERS) if name != "generation"}
    if not (known["schedule"] and known["digest"] and number.isascii() and number.isdigit()):
        return None
    return ScheduleRecord(**known, generation=int(number))
