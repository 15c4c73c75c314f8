"""The ticks of cron expressions: the windows of aggregates and the longest time between two runs go by them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from pipeline_xml.cron import ticks


@pytest.mark.parametrize(
    ("text", "moment", "before", "after"),
    [
        ("0 6 * * *", "2024-03-01T05:59", "2024-02-29T06:00", "2024-03-01T06:00"),
        ("0 6 * * *", "2024-03-01T06:00", "2024-03-01T06:00", "2024-03-02T06:00"),
        ("*/15 * * * *", "2023-12-31T23:50", "2023-12-31T23:45", "2024-01-01T00:00"),
        ("30 5 * * mon-fri", "2024-03-02T10:00", "2024-03-01T05:30", "2024-03-04T05:30"),
        ("0 0 29 2 *", "2096-03-01T00:00", "2096-02-29T00:00", "2104-02-29T00:00"),
        ("5 4 13 * 5", "2024-09-14T00:00", "2024-09-13T04:05", "2024-09-20T04:05"),  # either of the day fields
        ("0 12 1-7/3 jan,jul *", "2024-01-05T00:00", "2024-01-04T12:00", "2024-01-07T12:00"),
        ("0 0 30 2 *", "2024-01-05T00:00", None, None),
    ],
)
def test_ticks_around_a_moment(text: str, moment: str, before: str | None, after: str | None) -> None:
    found = ticks(text)
    here = datetime.fromisoformat(moment)
    assert found.at_or_before(here) == (datetime.fromisoformat(before) if before else None)
    assert found.after(here) == (datetime.fromisoformat(after) if after else None)


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("*/15 * * * *", timedelta(minutes=15)),
        ("0 8-18 * * *", timedelta(hours=14)),
        ("30 5 * * 1-5", timedelta(days=3)),
        ("0 0 1 * *", timedelta(days=31)),
        ("0 0 29 2 *", None),  # once in four years
    ],
)
def test_the_longest_gap(text: str, gap: timedelta | None) -> None:
    assert ticks(text).longest_gap() == gap
