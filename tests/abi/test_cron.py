from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest

from abi.config import load_config
from abi.cron import due_times, next_due
from abi.errors import UsageError

BERLIN = "Europe/Berlin"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "until", "expected"),
    [
        # an ordinary day in winter (UTC+1) and in summer (UTC+2)
        ("0 3 * * *", BERLIN, utc(2026, 1, 10), utc(2026, 1, 11), [utc(2026, 1, 10, 2)]),
        ("0 3 * * *", BERLIN, utc(2026, 7, 10), utc(2026, 7, 11), [utc(2026, 7, 10, 1)]),
        ("0 3 * * *", "UTC", utc(2026, 7, 10), utc(2026, 7, 11), [utc(2026, 7, 10, 3)]),
        # 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC; 02:30 does not exist and is due right after the change
        ("30 2 * * *", BERLIN, utc(2026, 3, 28, 23), utc(2026, 3, 29, 12), [utc(2026, 3, 29, 1)]),
        ("0 3 * * *", BERLIN, utc(2026, 3, 28, 23), utc(2026, 3, 29, 12), [utc(2026, 3, 29, 1)]),
        # 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC; 02:30 is shown at 00:30 and 01:30 UTC and is due once
        ("30 2 * * *", BERLIN, utc(2026, 10, 24, 23), utc(2026, 10, 25, 12), [utc(2026, 10, 25, 0, 30)]),
        ("0 3 * * *", BERLIN, utc(2026, 10, 24, 23), utc(2026, 10, 25, 12), [utc(2026, 10, 25, 2)]),
        # the start is not counted, the end is
        ("0 * * * *", "UTC", utc(2026, 1, 1, 3), utc(2026, 1, 1, 5), [utc(2026, 1, 1, 4), utc(2026, 1, 1, 5)]),
        ("0 * * * *", "UTC", utc(2026, 1, 1, 3, 10), utc(2026, 1, 1, 3, 50), []),
        # Fridays
        ("0 12 * * 5", "UTC", utc(2026, 1, 1), utc(2026, 1, 10), [utc(2026, 1, 2, 12), utc(2026, 1, 9, 12)]),
    ],
)
def test_due_times(cron, zone, after, until, expected):
    assert due_times(cron, zone, after, until) == tuple(expected)


def test_every_hour_of_the_longest_and_shortest_day_is_due_once():
    for day, hours in ((utc(2026, 3, 28, 23), 23), (utc(2026, 10, 24, 22), 25)):
        found = due_times("0 * * * *", BERLIN, day, day + timedelta(hours=hours))
        assert [b - a for a, b in itertools.pairwise(found)] == [timedelta(hours=1)] * (hours - 1)


def test_only_the_last_ones_are_listed():
    found = due_times("* * * * *", "UTC", utc(2020, 1, 1), utc(2026, 1, 1), limit=3)
    assert found == (utc(2025, 12, 31, 23, 58), utc(2025, 12, 31, 23, 59), utc(2026, 1, 1))


@pytest.mark.parametrize("second", [0, 1, 59])
def test_seconds_and_other_offsets_of_the_limits_do_not_matter(second):
    until = datetime(2026, 1, 1, 6, 0, second, 5, tzinfo=timezone(timedelta(hours=2)))
    assert due_times("0 4 * * *", "UTC", utc(2025, 12, 31, 12), until) == (utc(2026, 1, 1, 4),)


def test_next_due_is_past_the_moment():
    assert next_due("0 3 * * *", BERLIN, utc(2026, 3, 28, 2)) == utc(2026, 3, 29, 1)
    assert next_due("0 3 * * *", "UTC", utc(2026, 3, 28, 3)) == utc(2026, 3, 29, 3)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("cron", "@daily", "1 fields"),
        ("cron", "0 25 * * *", "bad hour"),
        ("cron", "0 0 30 2 *", "bad day"),
        ("cron", "0 0 3 * * *", "6 fields"),
        ("timezone", "Mars/Olympus", "Europe/Berlin"),
    ],
)
def test_what_is_no_schedule_is_said_when_settings_are_read(setting, value, said):
    with pytest.raises(UsageError) as error:
        load_config(None, {f"schedule.{setting}": value}, ambient=False)
    assert all(part in str(error.value) for part in (f"'schedule.{setting}'", "Expected", f"got {value!r}", said))
