"""Time zones of schedules: an installation reads every schedule in one zone, its own.

It is the environment variable CRON_SCHEDULE_TIMEZONE of Kubeflow Pipelines' scheduled workflow controller, UTC unless
somebody set it; the API neither tells it nor takes one with a schedule.
"""

from __future__ import annotations

import datetime
import zoneinfo

from evalhub_pipelines import documents

YEARS_AHEAD = 5


def find(name: str) -> datetime.tzinfo:
    """Return the time zone of that name.

    Raises:
        ValueError: there is none.
    """
    if name == "UTC":
        # known without the system's database too
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        near = documents.near(name, zoneinfo.available_timezones())
        raise ValueError(f"must be a time zone such as UTC or Europe/Berlin, got {name!r}{near}") from None


def check_honoured(wanted: str, installation: str) -> None:
    """Refuse a time zone whose clock is not the one that the installation reads schedules by.

    Raises:
        ValueError: it is not, or one of them does not exist.
    """
    zone, theirs = find(wanted), find(installation)
    if _clock(zone) == _clock(theirs):
        return
    raise ValueError(
        f"cannot be {wanted}: this installation reads schedules in {installation} (say time_zone: {installation} and "
        "write cron in it; if the installation's CRON_SCHEDULE_TIMEZONE is another, give --cluster-time-zone)"
    )


def _clock(zone: datetime.tzinfo) -> list[datetime.timedelta | None]:
    """Return the offsets from UTC of every day in the years ahead, so that two names of one clock are alike."""
    noon = datetime.datetime.now(datetime.UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    return [
        (noon + datetime.timedelta(days=number)).astimezone(zone).utcoffset() for number in range(YEARS_AHEAD * 366)
    ]
