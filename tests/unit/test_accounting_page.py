"""docs/accounting-tests.md: every promise of the accounting has tests, and each test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "accounting-tests.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| what holds"))]
NAMED = re.compile(r"`((?:unit|engine|integration|faults)/\w+\.py)::(test_\w+)`")
CASE = re.compile(r"case `(LK\d{3}-\w+)`")


def names_in(path: Path) -> set[str]:
    """The names of the tests in a file, without running or importing it."""
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_is_there() -> None:
    found = NAMED.findall(PAGE)
    assert len(found) > 100
    missing = [f"{f}::{t}" for f, t in found if not (p := PROJECT / "tests" / f).exists() or t not in names_in(p)]
    assert missing == []


def test_every_case_that_is_named_is_there() -> None:
    folder = PROJECT / "tests" / "cases" / "invalid"
    assert [name for name in CASE.findall(PAGE) if not (folder / f"{name}.txt").exists()] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_every_promise_names_its_tests(row: str) -> None:
    promise, tests = (cell.strip() for cell in row.strip("|").split("|"))
    assert promise
    assert NAMED.search(tests) or CASE.search(tests), "a promise without a test"
    left = CASE.sub("", NAMED.sub("", tests))
    assert re.fullmatch(r"[\s,]*", left), f"what is this: {left}"
