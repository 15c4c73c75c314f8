"""Holds the tables that a run left behind against the damage list: what is in them, not what the run says of itself.

    python demo/tables.py LAKE_ROOT DAMAGE_JSON

Tables are read with `deltalake` and exports with the standard library; nothing of the product is imported. Prints a
line for each comparison, `ok` or `DIFFERENT`; exit 1 where anything differs.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

GROUP = ("filing_year", "state_code", "county_code", "loan_type")
_SIX_DIGITS = Decimal("0.000001")  # the list rounds averages so; the table holds a double
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison. `what` says what was compared and, where it differs, how: places and counts, never a value."""

    ok: bool
    what: str

    def __str__(self) -> str:
        return f"{'ok       ' if self.ok else 'DIFFERENT'} {self.what}"


def compare(root: Path, listed: Mapping[str, Any]) -> Iterator[Line]:
    """Every comparison of what stands in the lake with the list, layer by layer."""
    home = root / "applications" / "mortgage"
    yield from _raw(root, listed)
    yield from _staging(home, listed)
    yield from _quarantine(home, listed)
    yield from _standardization(home, listed)
    yield from _service(home, listed)


def rows(table: Path, columns: list[str]) -> list[dict[str, Any]]:
    """The rows of a Delta table; none where no such table was ever written."""
    if not (table / "_delta_log").is_dir():
        return []
    # Arrow's own file system: deltalake's is a Python object, which one of Arrow's threads may let go of while the
    # process ends, and that aborts it (exit 134 in two of five runs on Python 3.11).
    files = SubTreeFileSystem(str(table), LocalFileSystem())
    rows_of = DeltaTable(str(table)).to_pyarrow_dataset(filesystem=files)
    found: list[dict[str, Any]] = rows_of.to_table(columns).to_pylist()
    return found


def _same(what: str, found: object, expected: object) -> Line:
    return Line(found == expected, what if found == expected else f"{what}: found {found}, listed {expected}")


def _raw(root: Path, listed: Mapping[str, Any]) -> Iterator[Line]:
    """Every file that came in, held ones too, is kept byte for byte."""
    kept = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (root / "raw").rglob("*") if p.is_file()}
    missing = sorted(f["name"] for f in listed["files"] if f["sha256"] not in kept)
    what = f"raw: all {len(listed['files'])} files are kept byte for byte"
    yield Line(not missing, what if not missing else f"{what}: not {', '.join(missing)}")


def _staging(home: Path, listed: Mapping[str, Any]) -> Iterator[Line]:
    found = rows(home / "staging" / "lar", ["_source_file", "_source_record", "_business_date"])
    by_file = Counter(r["_source_file"] for r in found)
    for item in listed["files"]:
        accepted = item["counts"]["accepted"] if item["counts"] else 0
        yield _same(f"staging: {accepted} rows of {item['name']} ({item['status']})", by_file[item["name"]], accepted)
    strangers = sorted(by_file.keys() - {f["name"] for f in listed["files"]})
    yield _same("staging: rows of no other file", strangers, [])
    by_day = Counter(r["_business_date"].isoformat() for r in found)
    for day in listed["staging"]:
        expected = day["counts"]["accepted"]
        yield _same(f"staging: {expected} rows of {day['business_date']}", by_day[day["business_date"]], expected)
    places = Counter((r["_source_file"], r["_source_record"]) for r in found)
    yield _same("staging: no record stands twice", sum(n > 1 for n in places.values()), 0)
    out = [(r["file"], r["record"]) for r in listed["records"] if r["end"] != "accepted"]
    wrong = sorted(place for place in out if place in places)
    what = f"staging: none of the {len(out)} records listed as rejected or duplicate"
    yield Line(not wrong, what if not wrong else f"{what}: {_places(wrong)} stand there")


def _quarantine(home: Path, listed: Mapping[str, Any]) -> Iterator[Line]:
    """Exactly the listed records, each with exactly the listed reasons; only places are named."""
    found: dict[tuple[str, int], Counter[str]] = {}
    doubled = 0
    for row in rows(home / "exceptions" / "lar", ["source_file", "source_record", "errors"]):
        place = (row["source_file"], row["source_record"])
        doubled += place in found
        found[place] = Counter(_reason(e) for e in row["errors"] if e["severity"] == "error")
    expected = {
        (r["file"], r["record"]): Counter(_reason(e) for e in r["errors"])
        for r in listed["records"]
        if r["end"] == "quarantined"
    }
    yield _same("quarantine: no record stands twice", doubled, 0)
    for name in sorted({file for file, _ in found.keys() | expected.keys()}):
        mine = {p for p in found if p[0] == name}
        theirs = {p for p in expected if p[0] == name}
        what = f"quarantine: exactly the {len(theirs)} listed records of {name}"
        if mine == theirs:
            yield Line(True, what)
        else:
            yield Line(False, f"{what}: too many {_places(mine - theirs)}, missing {_places(theirs - mine)}")
        both = sorted(mine & theirs)
        wrong = [p for p in both if found[p] != expected[p]]
        reasons = sum(sum(expected[p].values()) for p in both)
        what = f"quarantine: exactly the {reasons} listed reasons of {name}"
        yield Line(not wrong, what if not wrong else f"{what}: others at {_places(wrong)}")


def _reason(error: Mapping[str, Any]) -> str:
    """`column:code` for a column that breaks the contract, the name of a rule that spans columns, or `ragged`."""
    if error.get("code") == "ragged":
        return "ragged"
    if error.get("code") in (None, "rule"):
        return str(error["rule"])
    return f"{error['column']}:{error['code']}"


def _places(places: Any) -> str:
    shown = [f"{file}#{record}" for file, record in sorted(places)]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more if shown else "none"


def _standardization(home: Path, listed: Mapping[str, Any]) -> Iterator[Line]:
    wanted = listed["standardization"]
    found = rows(
        home / "standardization" / "loan_application", ["uli", "action_taken", "action_taken_date", "_business_date"]
    )
    yield _same(f"standardization: {wanted['rows']} rows", len(found), wanted["rows"])
    by_day = Counter(r["_business_date"].isoformat() for r in found)
    for batch in wanted["batches"]:
        expected = batch["counts"]["accepted"]
        what = f"standardization: {expected} rows of {batch['business_date']}"
        yield _same(what, by_day[batch["business_date"]], expected)
    actions: dict[str, list[tuple[int, date]]] = {}
    for r in found:
        actions.setdefault(r["uli"], []).append((r["action_taken"], r["action_taken_date"]))
    yield _same("standardization: one row an identifier", sum(len(a) > 1 for a in actions.values()), 0)
    right = [
        actions.get(c["uli_masked"]) == [(c["action_taken"], date.fromisoformat(c["action_taken_date"]))]
        for c in wanted["corrected"]
    ]
    what = f"standardization: the latest action of {len(right)} re-filed loans"
    yield _same(what, sum(right), len(right))
    plain = sum(c["uli"] in actions for c in wanted["corrected"])
    yield _same("standardization: no identifier of them stands unmasked", plain, 0)


def _service(home: Path, listed: Mapping[str, Any]) -> Iterator[Line]:
    groups = listed["service"]["groups"]
    names = list(groups[0])
    found = rows(home / "service" / "county_lending", names)
    yield _same(f"service: {len(groups)} groups of county, state and loan type", len(found), len(groups))
    yield _groups("service: every group with its counts and amounts", found, groups)
    yield _same("service: applications in all", sum(r["applications"] for r in found), _applications(groups))
    for year in sorted({g["filing_year"] for g in groups}):
        mine = [g for g in groups if g["filing_year"] == year]
        exported = _export(home / "service" / "exports" / "county_lending" / str(year) / "12" / "31", names)
        yield _groups(f"export: the gzip CSV of {year} holds the {len(mine)} groups", exported, mine)


def _applications(groups: list[dict[str, Any]]) -> int:
    return sum(g["applications"] for g in groups)


def _export(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    """The rows of the parts that the manifest names, as texts; a header that differs makes an empty export."""
    manifest = folder / "_manifest.json"
    found: list[dict[str, Any]] = []
    for part in json.loads(manifest.read_text(encoding="utf-8"))["parts"] if manifest.is_file() else []:
        with gzip.open(folder / part["file"], "rt", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if list(reader.fieldnames or ()) != names:
                return []
            found += list(reader)
    return found


def _groups(what: str, found: list[dict[str, Any]], listed: list[dict[str, Any]]) -> Line:
    left, right = ({_key(g): g for g in side} for side in (found, listed))
    wrong = [key for key in left.keys() | right.keys() if not _equal(left.get(key), right.get(key))]
    if not wrong and len(found) == len(listed):
        return Line(True, what)
    return Line(False, f"{what}: {len(wrong)} groups differ, {len(found)} found, {len(listed)} listed")


def _key(group: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple("" if group[name] is None else str(group[name]) for name in GROUP)


def _equal(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> bool:
    if left is None or right is None:
        return False
    return all(_same_cell(name, left[name], right[name]) for name in right)


def _same_cell(name: str, left: object, right: object) -> bool:
    if left in (None, "") or right in (None, ""):
        return left in (None, "") and right in (None, "")
    if name.startswith("loan_amount"):
        slack = _SIX_DIGITS if name.endswith("average") else 0
        return abs(Decimal(str(left)) - Decimal(str(right))) <= slack
    return str(left) == str(right)


def main(arguments: list[str]) -> int:
    lines = list(compare(Path(arguments[0]), json.loads(Path(arguments[1]).read_text(encoding="utf-8"))))
    print("\n".join(map(str, lines)))
    return int(not all(line.ok for line in lines))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
