"""Every kind of finding has a case, and each case is told in exactly these words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_xml.load import check_path
from tests.definition_cases import BASE, FOLDER, cases, code_of, expected_file, rendered
from tests.plain_steps import STEPS

PROJECT = Path(__file__).resolve().parents[2]
_BOOK = """
import json, sys
import pipeline_xml.load
from pipeline_xml.expressions.codes import EXPRESSION_CODES
from pipeline_xml.rulebook import BOOK
heavy = [m for m in sys.modules if m.split(".")[0] in ("pyspark", "pandas", "pyarrow", "dagster", "deltalake")]
from processing.transformations import registry
registry()
print(json.dumps({"codes": sorted({*BOOK, *EXPRESSION_CODES}), "heavy": heavy}))
"""


@pytest.fixture(scope="module")
def fresh() -> dict[str, list[str]]:
    """What a process knows that imported the language, and its codes together with those of the steps."""
    done = subprocess.run([sys.executable, "-c", _BOOK], capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_the_base_of_all_cases_is_correct() -> None:
    assert check_path(BASE, STEPS) == ()


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_case_is_told(case: Path, tmp_path: Path) -> None:
    assert rendered(case, tmp_path / "config") == expected_file(case).read_text()


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_case_is_about_its_code(case: Path) -> None:
    assert f": {code_of(case)} " in expected_file(case).read_text()


def test_every_code_has_a_case(fresh: dict[str, list[str]]) -> None:
    assert [c for c in fresh["codes"] if c not in {code_of(case) for case in cases()}] == []


def test_every_code_in_the_code_stands_in_the_catalogue(fresh: dict[str, list[str]]) -> None:
    rooms = ("pipeline_xml", "processing", "resources", "publishing", "stewardship", "sensors", "datalake_assets")
    sources = [p.read_text() for room in (*rooms, "command_line") for p in (PROJECT / room).rglob("*.py")]
    assert {found for text in sources for found in re.findall(r'"(LK\d{3})"', text)} == set(fresh["codes"])


def test_every_expectation_belongs_to_a_case() -> None:
    assert {p.name for p in FOLDER.glob("*.txt")} == {expected_file(c).name for c in cases()}


def test_the_language_loads_without_an_engine(fresh: dict[str, list[str]]) -> None:
    assert fresh["heavy"] == []
