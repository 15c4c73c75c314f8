"""Problems as text, JSON and annotations; and the page of rules is the one that the code prints."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_line.main import app
from pipeline_xml.location import Location
from pipeline_xml.problems import Problem
from pipeline_xml.render import render_github, render_json, render_text
from tests.definition_cases import lay_out

PROJECT = Path(__file__).parents[2]
FILE = "applications/retail/staging/pipelines/customers.xml"
PROBLEM = Problem(
    "LK204",
    "unknown column 'custmer_id' in <deduplicate keys>",
    Location(FILE, 2, 43),
    valid=("customer_id", "status", "updated_at"),
)
EXPECTED = f"""\
config/{FILE}:2:43: LK204 {PROBLEM.message}
    1 |   <transformations>
    2 |     <deduplicate source="customers" keys="custmer_id" keep="latest"/>
      |                                           ^ columns are: {", ".join(PROBLEM.valid)}. Did you mean customer_id?
"""


def test_text_has_excerpt_caret_and_advice(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    line = '    <deduplicate source="customers" keys="custmer_id" keep="latest"/>'
    path.write_text(f"  <transformations>\n{line}\n")
    assert render_text([PROBLEM], tmp_path, "config/") == EXPECTED


def test_text_without_a_file(tmp_path: Path) -> None:
    assert render_text([PROBLEM], tmp_path).splitlines()[1].startswith("      = columns are: ")


def test_json_has_the_agreed_keys() -> None:
    [found] = json.loads(render_json([PROBLEM]))
    assert list(found) == ["file", "line", "column", "code", "severity", "message"]
    assert (found["file"], found["line"], found["column"]) == (FILE, 2, 43)
    assert "Did you mean customer_id?" in found["message"]


def test_annotations_escape_what_would_end_them() -> None:
    problem = Problem("LK101", "50% of\nit", Location("a,b:c.xml", 3, 4), "warning")
    assert render_github([problem]) == "::warning file=a%2Cb%3Ac.xml,line=3,col=4,title=LK101::50%25 of%0Ait"


def test_annotations_name_files_as_the_repository_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = PROJECT / "tests" / "cases" / "invalid" / "LK101-wrong_layer.xml"
    root = lay_out(case, tmp_path / "lake" / "config")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATALAKE_CONFIG", str(root))
    done = CliRunner().invoke(app, ["check", "--format", "github"])
    places = [line.partition("file=")[2].partition(",")[0] for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert places
    assert all((tmp_path / place).is_file() for place in places)


def test_the_page_of_rules_is_up_to_date() -> None:
    pages = runpy.run_path(str(PROJECT / "scripts" / "generate_docs.py"))["PAGES"]
    for name, page in pages.items():
        assert (PROJECT / "docs" / name).read_text() == page(), "run python scripts/generate_docs.py"
