"""Lookup tables `lookups/<id>.csv` with the contract `<id>.json` beside: found, read once, and checked row by row.

A lookup is part of the definitions: a row of it that breaks its contract is a mistake in the definitions, found before
anything runs, and never a reason to quarantine somebody else's record.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from pipeline_xml.check_nested import flat
from pipeline_xml.checked import Reference
from pipeline_xml.contract import Contract, Field
from pipeline_xml.contract_read import read_contract
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code
from pipeline_xml.scan import read_bytes

UNKNOWN_LOOKUP = code(
    "LK320", "A lookup's reference names no table in common/lookups or in the application's lookups folder."
)
BAD_LOOKUP = code("LK321", "A lookup table breaks its contract: header, width, a value, or a key that occurs twice.")

MAX_BYTES = 64 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*\Z")
_SHOWN = 5


class Lookups:
    """The lookup tables of a config root."""

    def __init__(self, root: Path, problems: Problems) -> None:
        self.root, self.problems = root, problems
        self._read: dict[Path, Reference | None] = {}

    def reference(self, app: str, name: str, where: Location) -> Reference | None:
        """The lookup of that name, common ones first, or None after a problem was reported."""
        folders = (self.root / "common" / "lookups", self.root / "applications" / app / "lookups")
        if _NAME.match(name):
            for folder in folders:
                path = folder / f"{name}.csv"
                if path.exists():
                    return self._reference(name, path)
        known = sorted({p.stem for folder in folders for p in folder.glob("*.csv")})
        UNKNOWN_LOOKUP.report(self.problems, f"unknown lookup '{name}'", where, known)
        return None

    def _reference(self, name: str, path: Path) -> Reference | None:
        if path not in self._read:
            self._read[path] = self._load(name, path)
        return self._read[path]

    def _load(self, name: str, path: Path) -> Reference | None:
        schema, file = path.with_suffix(".json"), path.relative_to(self.root).as_posix()
        contract = read_contract(schema, schema.relative_to(self.root).as_posix(), self.problems)
        data = read_bytes(path, file, self.problems, MAX_BYTES)
        if contract is None or data is None or not flat(self.problems, contract, "a lookup", contract.where):
            return None
        found = list(_findings(data.decode("utf-8"), contract))
        for line, message in found[:_SHOWN]:
            BAD_LOOKUP.report(self.problems, message, Location(file, line))
        if found:
            return None
        return Reference(name, path, contract, hashlib.sha256(data).hexdigest())


def _findings(text: str, contract: Contract) -> list[tuple[int, str]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[int, str]] = []
    try:
        header = next(rows, [])
        names = [f.name for f in contract.fields]
        if header != names:
            return [(1, f"the header is not that of its contract, which has: {', '.join(names)}")]
        keys = [names.index(k) for k in contract.primary_key]
        seen: set[tuple[str, ...]] = set()
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                found.append((rows.line_num, f"{len(row)} cells where {len(names)} are expected"))
                continue
            found += [
                (rows.line_num, f"the cell of '{field.name}' is no {'non-empty ' if not cell else ''}{field.type}")
                for field, cell in zip(contract.fields, row, strict=True)
                if not _fits(field, cell)
            ]
            key = tuple(row[i] for i in keys)
            if keys and key in seen:
                found.append((rows.line_num, f"the key ({', '.join(contract.primary_key)}) occurs twice"))
            seen.add(key)
    except csv.Error as error:
        found.append((rows.line_num, f"not CSV: {error}"))
    return found


def _fits(field: Field, cell: str) -> bool:
    """Whether the cell is empty and may be, one of the codes, or a value of the type. Constraints are for feeds."""
    if cell == "":
        return field.nullable
    if cell in field.codes:
        return True
    kind = field.type.kind
    try:
        if kind in ("int", "bigint"):
            return re.fullmatch(r"[+-]?[0-9]+", cell) is not None and abs(int(cell)) < 2 ** (
                31 if kind == "int" else 63
            )
        if kind in ("decimal", "double"):
            return (
                re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", cell) is not None
                and Decimal(cell).is_finite()
            )
        if kind == "boolean":
            return cell in ("true", "false")
        if field.format is None and kind == "date":
            return date.fromisoformat(cell) is not None
        if field.format is None and kind == "timestamp":
            return datetime.fromisoformat(cell) is not None
    except (ValueError, InvalidOperation):
        return False
    return True
