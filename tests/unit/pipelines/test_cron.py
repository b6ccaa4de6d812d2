"""Cron expressions and time zones, as Kubeflow Pipelines reads and honours them."""

from __future__ import annotations

import datetime
import itertools

import pytest

from evalhub_pipelines.client.scheduling import cron, schedule_times, time_zones

NEW_YEAR = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)  # a Thursday


def times(text: str, zone: str = "UTC", after: datetime.datetime = NEW_YEAR, count: int = 3) -> list[str]:
    found = cron.parse(text).after(after, time_zones.find(zone))
    return [f"{time:%Y-%m-%d %H:%M:%S}" for time in itertools.islice(found, count)]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        pytest.param("0 2 * * *", "0 0 2 * * *", id="five fields begin with minutes"),
        pytest.param("30 0 2 * * *", "30 0 2 * * *", id="six fields begin with seconds"),
        pytest.param("  */15 8-18/2 1,15 * MON-FRI ", "0 */15 8-18/2 1,15 * MON-FRI", id="lists, ranges, steps, names"),
        pytest.param("0 0 ? jan-Mar,12 ?", "0 0 0 ? jan-Mar,12 ?", id="question marks and months"),
        pytest.param("@daily", "0 0 0 * * *", id="daily"),
        pytest.param("@Weekly", "0 0 0 * * 0", id="weekly"),
        pytest.param("@yearly", "0 0 0 1 1 *", id="yearly"),
        pytest.param("0 0 29 2 *", "0 0 0 29 2 *", id="a leap day"),
    ],
)
def test_what_is_sent_has_six_fields(text: str, sent: str) -> None:
    assert cron.parse(text).text == sent


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("* * * *", "five fields", id="four fields"),
        pytest.param("0 0 0 1 1 * 2026", "five fields", id="a year"),
        pytest.param("", "five fields", id="nothing"),
        pytest.param("@every 1h", "must be cron fields or one of @yearly", id="every"),
        pytest.param("@reboot", "must be cron fields or one of @yearly", id="reboot"),
        pytest.param("CRON_TZ=Europe/Berlin 0 2 * * *", "must not name a time zone", id="a zone in it"),
        pytest.param("TZ=UTC 0 2 * * *", "must not name a time zone", id="another zone in it"),
        pytest.param("60 * * * *", "minutes: must be 0-59", id="minute 60"),
        pytest.param("0 24 * * *", "hours: must be 0-23", id="hour 24"),
        pytest.param("0 0 0 * *", "days of the month: must be 1-31", id="day 0"),
        pytest.param("0 0 * 13 *", "months: must be 1-12 or JAN-DEC", id="month 13"),
        pytest.param("0 0 * * 7", "days of the week: must be 0-6 or SUN-SAT", id="Sunday is 0"),
        pytest.param("0 0 * * FRI-MON", "must not end before it begins", id="a range that wraps"),
        pytest.param("*/0 * * * *", "a step must be a number above 0", id="step 0"),
        pytest.param("*/x * * * *", "a step must be a number above 0", id="step x"),
        pytest.param("1,,2 * * * *", "minutes: must be 0-59", id="an empty entry"),
        pytest.param("-1 * * * *", "minutes: must be 0-59", id="a negative number"),
        pytest.param("L * * * *", "minutes: must be 0-59", id="a letter"),
        pytest.param("0 0 L * *", "days of the month", id="the last day"),
        pytest.param("0 0 * * MON#1", "days of the week", id="the first Monday"),
        pytest.param("0 0 30 2 *", "never comes", id="30 February"),
        pytest.param("0 0 31 4,6,9,11 *", "never comes", id="the 31st of short months"),
        pytest.param("0 0 29 2 */6", "or not for five years", id="leap days at weekends, in 2032 and then in 2044"),
    ],
)
def test_what_would_mean_something_else_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cron.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "0 2 * * *", ["2026-01-01 02:00:00", "2026-01-02 02:00:00", "2026-01-03 02:00:00"], id="every night"
        ),
        pytest.param(
            "30 0/20 5 * * *", ["2026-01-01 05:00:30", "2026-01-01 05:20:30", "2026-01-01 05:40:30"], id="from 0 on"
        ),
        pytest.param(
            "0 0 * * MON-FRI", ["2026-01-02 00:00:00", "2026-01-05 00:00:00", "2026-01-06 00:00:00"], id="working days"
        ),
        pytest.param(
            "0 0 1 * MON", ["2026-01-05 00:00:00", "2026-01-12 00:00:00", "2026-01-19 00:00:00"], id="either day field"
        ),
        pytest.param(
            "0 0 */2 * MON",
            ["2026-01-05 00:00:00", "2026-01-19 00:00:00", "2026-02-09 00:00:00"],
            id="both day fields where one has a star",
        ),
        pytest.param("0 0 29 2 *", ["2028-02-29 00:00:00"], id="leap days within five years"),
    ],
)
def test_the_next_times_are_those_of_the_library_of_kubeflow(text: str, expected: list[str]) -> None:
    assert times(text) == expected


def test_the_hour_that_summer_time_leaves_out_is_left_out() -> None:
    before = datetime.datetime(2026, 3, 28, tzinfo=datetime.UTC)
    assert times("30 2 * * *", "Europe/Berlin", before, 2) == ["2026-03-28 02:30:00", "2026-03-30 02:30:00"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("30 2 * * *", ["25T02:30:00+0200", "25T02:30:00+0100", "26T02:30:00+0100"], id="every night"),
        pytest.param("0 2,3 * * *", ["25T02:00:00+0200", "25T02:00:00+0100", "25T03:00:00+0100"], id="and after it"),
    ],
)
def test_the_hour_that_comes_twice_at_the_end_of_summer_time_counts_twice(text: str, expected: list[str]) -> None:
    before = datetime.datetime(2026, 10, 24, 12, tzinfo=datetime.UTC)
    found = itertools.islice(cron.parse(text).after(before, time_zones.find("Europe/Berlin")), 3)
    assert [f"{time:%dT%H:%M:%S%z}" for time in found] == expected


@pytest.mark.parametrize(
    ("wanted", "installation"),
    [("UTC", "UTC"), ("Etc/UTC", "UTC"), ("Europe/Berlin", "Europe/Berlin"), ("Europe/Vienna", "Europe/Berlin")],
)
def test_a_zone_with_the_clock_of_the_installation_is_honoured(wanted: str, installation: str) -> None:
    time_zones.check_honoured(wanted, installation)


@pytest.mark.parametrize(
    ("wanted", "installation", "words"),
    [
        pytest.param("Europe/Berlin", "UTC", "this installation reads schedules in UTC", id="another clock"),
        pytest.param("Europe/London", "UTC", "this installation reads schedules in UTC", id="alike in winter"),
        pytest.param("UTC", "Asia/Tokyo", "reads schedules in Asia/Tokyo", id="the installation has another"),
        pytest.param("Europe/Berln", "UTC", "did you mean 'Europe/Berlin'", id="misspelt"),
        pytest.param("../../etc/passwd", "UTC", "must be a time zone", id="a path"),
        pytest.param("Europe", "UTC", "must be a time zone", id="a folder of zones"),
        pytest.param("", "UTC", "must be a time zone", id="nothing"),
    ],
)
def test_any_other_zone_is_refused(wanted: str, installation: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        time_zones.check_honoured(wanted, installation)


def test_the_next_times_are_between_start_and_end() -> None:
    now = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = now + datetime.timedelta(days=10), now + datetime.timedelta(days=12)
    assert schedule_times.coming("0 0 0 * * *", "UTC", start, end) == (start, start + datetime.timedelta(days=1), end)
    assert schedule_times.coming("0 0 0 * * *", "UTC", None, now) == ()


def test_a_run_that_was_due_at_no_time_of_its_schedule_is_noticed() -> None:
    due = datetime.datetime(2026, 7, 1, 2, tzinfo=datetime.UTC)
    assert schedule_times.astray("0 0 2 * * *", "UTC", [due]) is None
    assert schedule_times.astray("0 0 2 * * *", "Europe/Berlin", [due]) == due
