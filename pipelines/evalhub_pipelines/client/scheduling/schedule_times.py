"""When the runs of a schedule start, and whether those that were started were due then."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable

from evalhub_pipelines.client.scheduling import cron, time_zones

SHOWN = 5
"""How many of the next times are told."""


def coming(
    expression: str,
    time_zone: str,
    start: datetime.datetime | None = None,
    end: datetime.datetime | None = None,
) -> tuple[datetime.datetime, ...]:
    """Return the next times of a cron expression in its time zone, between two moments."""
    now = datetime.datetime.now(datetime.UTC)
    # the first time may be the start itself
    since = max(now, start - datetime.timedelta(seconds=1)) if start else now
    times = cron.parse(expression).after(since, time_zones.find(time_zone))
    return tuple(itertools.islice(itertools.takewhile(lambda time: end is None or time <= end, times), SHOWN))


def astray(expression: str, time_zone: str, due: Iterable[datetime.datetime]) -> datetime.datetime | None:
    """Return one of the moments that is no time of the expression in its time zone, None where all are."""
    known, zone = cron.parse(expression), time_zones.find(time_zone)
    return next((moment for moment in due if not known.matches(moment.astimezone(zone))), None)
