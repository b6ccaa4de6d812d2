"""Cron expressions as Kubeflow Pipelines reads them: six fields, the first of which is seconds.

It reads them by github.com/robfig/cron 1.2.0. That library takes five fields too, as six without the last, so that
`0 2 * * *` would mean the second minute of every hour: here five fields are the ordinary ones, and six are always sent.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

HORIZON = 5 * 366
"""Days that are searched for the next time; the library looks as far, and takes what never comes for overdue."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

DESCRIPTORS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}


class _Kind(NamedTuple):
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_KINDS = (
    _Kind("seconds", 0, 59),
    _Kind("minutes", 0, 59),
    _Kind("hours", 0, 23),
    _Kind("days of the month", 1, 31),
    _Kind("months", 1, 12, _MONTHS),
    _Kind("days of the week", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """An expression that was read.

    Attributes:
        text: its six fields, as they are sent.
        starred: a day field says `*`: then both day fields must hold, else one of them is enough.
    """

    text: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    starred: bool

    def matches(self, moment: datetime.datetime) -> bool:
        """Return whether `moment`, in the zone that the expression is read in, is one of its times."""
        return (
            moment.second in self.seconds
            and moment.minute in self.minutes
            and moment.hour in self.hours
            and self._on(moment.date())
        )

    def _on(self, day: datetime.date) -> bool:
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (in_month and in_week if self.starred else in_month or in_week)

    def after(self, moment: datetime.datetime, zone: datetime.tzinfo) -> Iterator[datetime.datetime]:
        """Yield the times after `moment`, in `zone`.

        An hour that summer time leaves out is left out, and one that comes twice at its end counts twice.
        """
        first = moment.astimezone(zone).date()
        for number in range(HORIZON):
            day = first + datetime.timedelta(days=number)
            if not self._on(day):
                continue
            for hour, fold in itertools.product(sorted(self.hours), (0, 1)):
                for minute, second in itertools.product(sorted(self.minutes), sorted(self.seconds)):
                    time = datetime.time(hour, minute, second, fold=fold)
                    there = datetime.datetime.combine(day, time, zone).astimezone(datetime.UTC).replace(fold=0)
                    found = there.astimezone(zone)
                    if there > moment and (found.time(), found.fold) == (time, fold):
                        yield found


def parse(text: str) -> Cron:
    """Return the expression in `text`.

    Raises:
        ValueError: it is none, or its time never comes; the message says what would be right.
    """
    known = DESCRIPTORS.get(text.strip().lower(), text)
    if known.startswith("@"):
        raise ValueError(f"must be cron fields or one of {', '.join(DESCRIPTORS)}, got {text!r}")
    if known.upper().startswith(("TZ=", "CRON_TZ=")):
        raise ValueError("must not name a time zone: Kubeflow Pipelines does not read one there (say time_zone)")
    fields = known.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise ValueError(
            "must have five fields (minute, hour, day of the month, month, day of the week), or six with the second "
            f"first, got {len(fields)}"
        )
    seconds, minutes, hours, days, months, weekdays = map(_field, fields, _KINDS)
    starred = any(part.startswith(("*", "?")) for field in (fields[3], fields[5]) for part in field.split(","))
    found = Cron(" ".join(fields), seconds, minutes, hours, days, months, weekdays, starred)
    for year in range(2000, 2028):  # the calendar repeats itself after 28 years
        first = datetime.date(year, 1, 1)
        if not any(found._on(first + datetime.timedelta(days=number)) for number in range(HORIZON)):
            raise ValueError(f"never comes, or not for five years: there is no such day, got {text!r}")
    return found


def _field(text: str, kind: _Kind) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        low, hyphen, high = span.partition("-")
        first, last = (kind.least, kind.most) if span in ("*", "?") else (_number(low, kind), kind.most)
        if hyphen:
            last = _number(high, kind)
        elif span not in ("*", "?") and not slash:
            last = first
        if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
            raise ValueError(f"{kind.name}: a step must be a number above 0, got {part!r}")
        if first > last:
            raise ValueError(f"{kind.name}: a range must not end before it begins, got {part!r}")
        values.update(range(first, last + 1, int(step) if slash else 1))
    return frozenset(values)


def _number(text: str, kind: _Kind) -> int:
    if text.lower() in kind.names:
        return kind.names.index(text.lower()) + kind.least
    if text.isascii() and text.isdigit() and kind.least <= int(text) <= kind.most:
        return int(text)
    names = f" or {kind.names[0].upper()}-{kind.names[-1].upper()}" if kind.names else ""
    raise ValueError(f"{kind.name}: must be {kind.least}-{kind.most}{names}, got {text!r}")
