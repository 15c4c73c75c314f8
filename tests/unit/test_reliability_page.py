"""docs/reliability.md speaks of every failpoint and scenario there is, and its numbers are of these failpoints."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from publishing.failpoints import POINTS

PROJECT = Path(__file__).parents[2]
PAGE = runpy.run_path(str(PROJECT / "scripts" / "reliability_page.py"))


def test_the_numbers_are_of_the_failpoints_there_are() -> None:
    """Where it fails, failpoints came or went: run `make faults`, then `make docs`."""
    numbers = json.loads((PROJECT / "docs" / "reliability.json").read_text())
    killed = {line["at"] for line in numbers if line["engine"] == "sail"} & set(POINTS)
    assert killed == set(POINTS)
    assert {line["different"] for line in numbers} == {0}
    assert sum(line["same"] for line in numbers if line["engine"] == "sail") >= 200
    assert sum(line["same"] for line in numbers if line["engine"] == "spark") >= 33


def test_every_scenario_says_what_happens_and_what_comes_of_it() -> None:
    found = list(PAGE["scenarios"]())
    assert len(found) > 20
    files = {path.stem.removeprefix("test_scenarios_") for path in PAGE["SCENARIOS"].glob("test_scenarios_*.py")}
    assert files == set(PAGE["TITLES"]), "a group without a title in scripts/reliability_page.py"
    assert {scenario.group for scenario in found} == files
