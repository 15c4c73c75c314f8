"""A crash at each failpoint, and the run after it, ends like a run without one. `make faults` has many more."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from publishing import failpoints

PROJECT = Path(__file__).resolve().parents[2]


def test_a_crash_at_each_failpoint_changes_nothing() -> None:
    """In a process of its own: it forks, and this one may have an engine's threads."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.run", "--short"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{len(failpoints.POINTS)} crashes, 0 with a difference" in done.stdout


def test_every_failpoint_is_passed_in_one_place_and_no_other_is() -> None:
    passed: Counter[str] = Counter()
    for path in sorted([*(PROJECT / "publishing").glob("*.py"), *(PROJECT / "stewardship").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reached":
                (argument,) = node.args
                assert isinstance(argument, ast.Constant), f"{path}:{node.lineno}: the name must stand there"
                passed[argument.value] += 1
    assert passed == Counter(failpoints.POINTS.keys())


def test_an_unknown_failpoint_cannot_be_armed() -> None:
    with pytest.raises(KeyError, match=r"manifest\.written"):
        failpoints.arm("manifest.writen")
