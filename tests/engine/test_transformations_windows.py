"""Aggregates over stretches of time and with totals above the groups, the same on both engines."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resources.engine import Engine
from tests.step_frames import INT, TEXT, run

WHEN = {"type": "string", "format": "date-time"}
PROPERTIES = {"g": TEXT, "h": TEXT, "n": INT, "at": WHEN, "d": {"type": "string", "format": "date"}}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


ROWS: list[dict[str, Any]] = [
    {"g": "a", "h": "x", "n": 1, "at": at("2024-02-29T23:59:59"), "d": date(2024, 2, 29)},
    {"g": "a", "h": "x", "n": 2, "at": at("2024-03-01T00:00:00"), "d": date(2024, 3, 1)},
    {"g": "a", "h": "y", "n": 4, "at": at("2024-03-04T12:30:00"), "d": date(2024, 3, 4)},
    {"g": "b", "h": "x", "n": 8, "at": at("2024-03-03T23:00:00"), "d": date(2024, 3, 3)},
    {"g": None, "h": "x", "n": 16, "at": None, "d": None},
    {"g": "b", "h": None, "n": 32, "at": at("1969-12-31T23:30:00"), "d": date(1969, 12, 31)},
]


def aggregated(engine: Engine, root: Path, attributes: str, metrics: str = "sum:n:n") -> list[tuple[Any, ...]]:
    step = f'<aggregate source="s" metrics="{metrics}" {attributes}/>'
    out = run(engine, root, step, PROPERTIES, ROWS)
    return sorted((tuple(row.values()) for row in out.rows.values()), key=str)


@pytest.mark.parametrize(
    ("every", "windows"),
    [
        ("hourly", [("1969-12-31T23", 1, 32), ("2024-02-29T23", 1, 1), ("2024-03-01T00", 1, 2), ("2024-03-03T23", 1, 8),
                    ("2024-03-04T12", 1, 4)]),
        ("daily", [("1969-12-31", 24, 32), ("2024-02-29", 24, 1), ("2024-03-01", 24, 2), ("2024-03-03", 24, 8),
                   ("2024-03-04", 24, 4)]),
        ("weekly", [("1969-12-29", 168, 32), ("2024-02-26", 168, 11), ("2024-03-04", 168, 4)]),
        ("monthly", [("1969-12-01", 744, 32), ("2024-02-01", 696, 1), ("2024-03-01", 744, 14)]),
        ("0 12 * * 1", [("1969-12-29T12", 168, 32), ("2024-02-26T12", 168, 11), ("2024-03-04T12", 168, 4)]),
    ],
)  # fmt: skip
def test_windows_follow_each_other(
    engine: Engine, tmp_path: Path, every: str, windows: list[tuple[str, int, int]]
) -> None:
    wanted: list[tuple[Any, ...]] = [(at(s), at(s) + timedelta(hours=hours), n) for s, hours, n in windows]
    found = aggregated(engine, tmp_path, f'groupBy="," window="{every}" timeColumn="at"')
    assert found == sorted([*wanted, (None, None, 16)], key=str)


def test_windows_of_dates_and_groups(engine: Engine, tmp_path: Path) -> None:
    found = aggregated(engine, tmp_path, 'groupBy="g" window="monthly" timeColumn="d"', "count:rows,sum:n:n")
    months = {name: (at(f"{name}-01"), at(end)) for name, end in
              (("1969-12", "1970-01-01"), ("2024-02", "2024-03-01"), ("2024-03", "2024-04-01"))}  # fmt: skip
    wanted = [
        ("a", *months["2024-02"], 1, 1),
        ("a", *months["2024-03"], 2, 6),
        ("b", *months["1969-12"], 1, 32),
        ("b", *months["2024-03"], 1, 8),
        (None, None, None, 1, 16),
    ]
    assert found == sorted(wanted, key=str)


def test_rolling_windows_share_rows(engine: Engine, tmp_path: Path) -> None:
    found = aggregated(engine, tmp_path, 'groupBy="g" rolling="P3D" timeColumn="at"')

    def until(day: str) -> tuple[datetime, datetime]:
        return at(day) - timedelta(days=3), at(day)

    wanted = [
        ("a", *until("2024-03-01"), 1),
        ("a", *until("2024-03-02"), 3),
        ("a", *until("2024-03-05"), 4),
        ("b", *until("2024-03-04"), 8),
        ("b", *until("1970-01-01"), 32),
        (None, None, None, 16),
    ]
    assert found == sorted(wanted, key=str)


def test_rollup_tells_totals_from_groups_without_a_name(engine: Engine, tmp_path: Path) -> None:
    found = aggregated(engine, tmp_path, 'groupBy="g,h" rollup="true"')
    wanted = [
        ("a", "x", 0, 3), ("a", "y", 0, 4), ("b", "x", 0, 8), ("b", None, 0, 32), (None, "x", 0, 16),
        ("a", None, 1, 7), ("b", None, 1, 40), (None, None, 1, 16), (None, None, 2, 63),
    ]  # fmt: skip
    assert found == sorted(wanted, key=str)


def test_totals_of_rolling_windows_are_over_all_rows_of_the_window(engine: Engine, tmp_path: Path) -> None:
    found = aggregated(engine, tmp_path, 'groupBy="g" rollup="true" rolling="P3D" timeColumn="at"')
    totals = [row[2:] for row in found if row[3] == 1]
    assert sorted(totals, key=str) == sorted(
        [(at("1970-01-01"), 1, 32), (at("2024-03-01"), 1, 1), (at("2024-03-02"), 1, 3), (at("2024-03-04"), 1, 10),
         (at("2024-03-05"), 1, 12), (None, 1, 16)],
        key=str,
    )  # fmt: skip
