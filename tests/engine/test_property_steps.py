"""Random pipelines over random small tables: no record is lost, the order of rows means nothing, the engines agree."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processing import frame as f
from resources.engine import Engine, open_engine
from tests.random_steps import PROPERTIES, Steps, rows
from tests.step_frames import apply

SEEDS = range(60)


@pytest.fixture(scope="module")
def embedded() -> Iterator[Engine]:
    with open_engine("sail", None) as engine:
        yield engine


def outcome(engine: Engine, root: Path, steps: str, table: list[dict[str, Any]]) -> tuple[Any, ...]:
    """The types; every row as a text, in an order of their own; the statuses of records by their number."""
    (root / "secrets").mkdir(parents=True)
    (root / "secrets" / "KEY").write_text("a key of more than sixteen bytes")
    found = apply(engine, root, steps, PROPERTIES, table, keys={"default": "KEY"}).toArrow()
    types = sorted(f"{field.name} {field.type}" for field in found.schema if not field.name.startswith("_"))
    statuses = sorted((row[f.SOURCE_RECORD] or 0, row[f.STATUS] or f.ACCEPTED) for row in found.to_pylist())
    told = []
    for row in found.to_pylist():
        errors = sorted((e["rule"], e["column"], e["code"]) for e in row.pop(f.ERRORS) or ())
        told.append(f"{sorted(row.items())} {errors}")
    return types, sorted(told), statuses


@pytest.mark.parametrize("seed", SEEDS)
def test_any_pipeline(engine: Engine, embedded: Engine, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    made = Steps(chance)
    steps, table = made.some(chance.randint(2, 6)), rows(chance)
    for number, row in enumerate(table, 1):
        row |= {f.SOURCE_RECORD: number, f.RECORD_ID: f"r-{number:010}"}
    here = outcome(engine, tmp_path / "a", steps, table)
    there = outcome(embedded, tmp_path / "b", steps, list(reversed(table)))
    assert here == there, steps
    if made.records:  # each record is there once, in one state
        _, _, statuses = here
        assert [number for number, _ in statuses] == list(range(1, len(table) + 1)), steps
        assert {status for _, status in statuses} <= set(f.STATUSES), steps
        rejected = {row[f.SOURCE_RECORD] for row in table if row.get(f.STATUS)}
        assert rejected <= {number for number, status in statuses if status == f.QUARANTINED}, steps
