"""Control totals beyond the count of records: sums of columns and hashes of files, held against what was declared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from pipeline_xml.contract import Contract
from pipeline_xml.model import Control, CsvSource, Total
from processing.read_parse import RecordCountError, parse_range
from processing.scan_head import check_control
from processing.scan_result import Finding, Scan

_NUMBER = re.compile(r" *[+-]?[0-9]{1,38}(\.[0-9]{1,18})? *\Z")
_ARROW_NUMBER = r"^ *[+-]?[0-9]{1,38}(\.[0-9]{1,18})? *$"
_SCALE = 18
CODE = "control_total"


def check_totals(
    source: CsvSource, contract: Contract, scan: Scan, path: Path, hashes: Mapping[str, str]
) -> list[Finding]:
    """What the totals of a control record say that is not so; `scan.control` is the record, `path` what is scanned.

    `hashes` are those of the file as it was sent, by algorithm. Neither a total nor a cell stands in a message: the sum
    over one record is its value.
    """
    control = source.control
    if control is None:
        return []
    found: list[Finding] = []
    if control.file is not None:
        _, found = check_control(control, scan.control or None, scan.records, 0)
    if any(finding.severity == "error" for finding in (*found, *scan.errors)):
        return found
    wanted = {total.sum for total in control.totals if total.sum is not None}
    sums = _sums(source, contract, scan, path, sorted(wanted)) if wanted else {}
    for total in control.totals:
        fault = _fault(control, total, scan, sums, hashes)
        if fault:
            found.append(Finding(CODE, f"field {total.field} of the control record {fault}"))
    return found


def _fault(
    control: Control, total: Total, scan: Scan, sums: Mapping[str, Decimal | None], hashes: Mapping[str, str]
) -> str | None:
    if total.field > len(scan.control):
        return f"is not there: it has {len(scan.control)}"
    declared = scan.control[total.field - 1].strip()
    if total.hash is not None:
        same = declared.lower() == hashes.get(total.hash)
        return None if same else f"is not the {total.hash} of the file"
    if not _NUMBER.match(declared):
        return "is not a number"
    if total.sum is None:
        return None if Decimal(declared) == scan.records else f"is not the number of records, {scan.records}"
    summed = sums[total.sum]
    if summed is None:
        return f"cannot be compared: a cell of {total.sum} is not a number, or not there"
    return None if Decimal(declared) == summed else f"is not the sum of {total.sum}"


def _sums(
    source: CsvSource, contract: Contract, scan: Scan, path: Path, columns: Sequence[str]
) -> dict[str, Decimal | None]:
    """The exact sum of each column over all records, null cells left out; None where a cell cannot be read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = scan.header or source.columns or [field.name for field in contract.fields]
    sums: dict[str, Decimal | None] = dict.fromkeys(columns, Decimal(0))
    wide = pa.decimal256(76, _SCALE)
    with path.open("rb") as raw:
        for part in scan.ranges:
            raw.seek(part.start)
            try:
                parsed = parse_range(raw.read(part.end - part.start), part, scan, names, source, path.name, columns)
            except RecordCountError:
                return dict.fromkeys(columns)
            if parsed.broken:
                return dict.fromkeys(columns)
            for name in columns:
                cells, so_far = parsed.columns.column(name), sums[name]
                if so_far is None:
                    continue
                if not pc.all(pc.match_substring_regex(cells, _ARROW_NUMBER), min_count=0).as_py():
                    sums[name] = None
                    continue
                summed = pc.sum(pc.utf8_trim(cells, " ").cast(wide)).as_py()
                sums[name] = so_far + (summed or 0)
    return sums
