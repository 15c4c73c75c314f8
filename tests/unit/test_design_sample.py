"""The first sample of the design, unchanged, with the contracts it names: every finding, in the words of `lake check`.

Its variant that runs (column repaired, databases swapped for lake tables) is the golden case tests/cases/valid/design.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipeline_xml.load import check_path
from pipeline_xml.render import render_text
from processing.transformations import registry

TESTS = Path(__file__).resolve().parents[1]
VARIANT = TESTS / "cases" / "valid" / "design" / "config" / "applications" / "customer-team"
FINDINGS = TESTS / "data" / "xml" / "design_findings.txt"


def laid_out(root: Path) -> Path:
    """A config root with both samples as they stand in the design."""
    home = root / "applications" / "customer-team"
    for folder in ("lookups", "staging/schemas"):
        shutil.copytree(VARIANT / folder, home / folder)
    for name, place in (("design_pipeline.xml", "staging/pipelines"), ("design_job.xml", "service/jobs")):
        (home / place).mkdir(parents=True)
        shutil.copy(TESTS / "data" / "xml" / name, home / place / name)
    exported = {"type": "object", "properties": {"country_name": {"type": ["string", "null"]}}}
    (home / "service" / "schemas").mkdir()
    (home / "service" / "schemas" / "crm_export.json").write_text(json.dumps(exported))
    (home / "staging" / "resources").mkdir()
    key = '<resources><maskKey id="default" secretRef="CUSTOMER_MASK_KEY"/></resources>'
    (home / "staging" / "resources" / "keys.xml").write_text(key)
    return root


def test_the_findings_are_exactly_these(tmp_path: Path) -> None:
    root = laid_out(tmp_path)
    assert render_text(check_path(root, registry()), root, "config/") == FINDINGS.read_text()


def test_the_column_that_is_not_selected_is_found_where_it_stands() -> None:
    """The design's own mistake: its SQL selects customer_id, its join asks for customer_db.id."""
    text = FINDINGS.read_text()
    assert "design_pipeline.xml:23:101: LK211" in text
    assert "unknown column 'id' of 'customer_db'" in text
