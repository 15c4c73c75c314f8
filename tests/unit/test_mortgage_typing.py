"""The product's scan and typing of real and damaged registers against the second opinion in plain Python."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "demo"))

import damage  # noqa: E402  # the demo's scripts are no package: they run with nothing installed
import plain_contract  # noqa: E402
from expected import Landed, expectation  # noqa: E402

from pipeline_xml.contract_read import read_contract  # noqa: E402
from pipeline_xml.location import Location  # noqa: E402
from pipeline_xml.model import Control, CsvSource  # noqa: E402
from pipeline_xml.problems import Problems  # noqa: E402
from processing.scan import Scanner  # noqa: E402
from processing.validate import validate  # noqa: E402

FILES = damage.build(20201231)
LISTED = {line["name"]: line for line in expectation(FILES, damage.CONTRACT)["files"]}
PROBLEMS = Problems()
CONTRACT = read_contract(plain_contract.LAR, "lar.json", PROBLEMS)


@pytest.mark.parametrize("item", FILES, ids=lambda item: item.name)
def test_the_scan_counts_the_records_and_finds_what_breaks_a_file(item: Landed) -> None:
    assert CONTRACT is not None, PROBLEMS.found
    here = Location("lar.xml")
    control = Control(where=here, record="first", field=13, business_date_field=3)
    source = CsvSource(where=here, id="lar", header=False, delimiter="|", quote=None, control=control)
    scanner = Scanner(source, CONTRACT)
    scanner.feed(item.data)
    scan, listed = scanner.finish(), LISTED[item.name]
    assert scan.records == listed["records"]
    assert [f.code for f in scan.errors] == ([item.held] if item.held else [])
    if item.held == "encoding":
        assert scan.errors[0].record == listed["record"]


@pytest.mark.parametrize("item", [f for f in FILES if f.held is None], ids=lambda item: item.name)
def test_values_codes_and_violations_are_the_same(item: Landed) -> None:
    assert CONTRACT is not None, PROBLEMS.found
    names = [field.name for field in CONTRACT.fields]
    records = [line.split("|") for line in item.lines[1:]]
    whole = [cells for cells in records if len(cells) == len(names)]
    batch = pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in zip(*whole, strict=True)], names)
    typed, found = validate(batch, CONTRACT)
    columns = {c.name: a.to_pylist() for c, a in zip(CONTRACT.columns, typed, strict=True)}
    reasons = found.array(batch.num_rows).to_pylist()
    for place, cells in enumerate(whole):
        row, violations = plain_contract.typed_row(damage.CONTRACT, cells)
        assert [(r["column"], r["code"]) for r in reasons[place] or ()] == violations
        assert {name: values[place] for name, values in columns.items()} == {n: _as_typed(n, v) for n, v in row.items()}


def _as_typed(name: str, value: Any) -> Any:
    """Numbers without x-type are doubles in the product; the second opinion keeps every digit."""
    field = damage.CONTRACT["properties"].get(name, {})
    return float(value) if isinstance(value, Decimal) and "x-type" not in field else value
