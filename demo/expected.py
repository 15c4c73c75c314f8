"""What must become of the files of a landing zone, layer by layer, worked out by plain Python."""

from __future__ import annotations

import csv
import hashlib
import hmac
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import plain_contract
import plain_edits

HERE = Path(__file__).resolve().parent
LOOKUPS = plain_contract.PROJECT / "config/applications/mortgage/lookups"
KEY_NAME = "MORTGAGE_MASK_KEY"
TERMS = ("in", "accepted", "quarantined", "deduplicated", "filtered", "superseded", "skipped")

Typed = dict[str, Any]


@dataclass
class Landed:
    """A file of the landing zone. `held` is the code of what breaks the file, `record` the record that is to blame."""

    name: str
    data: bytes
    done: str
    held: str | None = None
    record: int | None = None
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def lines(self) -> list[str]:
        return self.data.decode("utf-8" if self.held != "encoding" else "latin-1").splitlines()

    @cached_property
    def year(self) -> int:
        return int(self.lines[0].split("|")[2])


@dataclass
class Accepted:
    """A record that staging takes, with what orders it: the file's place in the order of names, the record's number."""

    row: Typed
    arrival: tuple[int, int]


def mask_key() -> bytes:
    """The demo's key: the environment's, else that of the file that the demo sets its environment from."""
    if KEY_NAME in os.environ:
        return os.environ[KEY_NAME].encode()
    lines = (HERE / "environment").read_text(encoding="utf-8").splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{KEY_NAME}=")).encode()


def masked(text: str, key: bytes) -> str:
    """HMAC-SHA-256 of the text's UTF-8 bytes, in lower-case hexadecimal."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def expectation(files: Sequence[Landed], contract: Mapping[str, Any]) -> dict[str, Any]:
    """The list: files and records of staging, then what the two later layers must hold."""
    listed: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    accepted: dict[int, list[Accepted]] = defaultdict(list)
    edits: dict[int, Counter[str]] = defaultdict(Counter)
    seen_bytes: set[tuple[int, str]] = set()
    seen_actions: dict[int, set[tuple[str, ...]]] = defaultdict(set)
    for order, item in enumerate(files):
        digest = hashlib.sha256(item.data).hexdigest()
        rows = item.lines[1:]
        line = {
            "name": item.name, "sha256": digest, "records": len(rows), "business_date": f"{item.year}-12-31",
            "status": "published", "reason": item.held, "done": item.done, "record": item.record,
        }  # fmt: skip
        listed.append(line)
        if item.held or (item.year, digest) in seen_bytes:
            line["status"] = "held" if item.held else "duplicate"
            line["counts"] = None
            continue
        seen_bytes.add((item.year, digest))
        counts = Counter({"in": len(rows)})
        for number, text in enumerate(rows, start=1):
            note = item.notes.get(number, {})
            row, errors = _judge(contract, text.split("|"), item.year, edits[item.year])
            key = tuple(str(row.get(k)) for k in ("lei", "uli", "action_taken", "action_taken_date"))
            end = "quarantined" if errors else "deduplicated" if key in seen_actions[item.year] else "accepted"
            counts[end] += 1
            if end == "accepted":
                seen_actions[item.year].add(key)
                accepted[item.year].append(Accepted(row, (order, number)))
            if note or errors:
                done = note.get("done", item.done)
                records.append(
                    {"file": item.name, "record": number, **note, "done": done, "end": end, "errors": errors}
                )
        line["counts"] = {term: counts[term] for term in TERMS}
    days = sorted(accepted)
    return {
        "mask": {"strategy": "hash", "is": "HMAC-SHA-256 of the UTF-8 text, hexadecimal", "key": KEY_NAME},
        "files": listed,
        "records": records,
        "staging": [_batch(day, listed, edits[day]) for day in days],
        **_later_layers(accepted, [r for r in records if "corrects" in r]),
    }


def _judge(
    contract: Mapping[str, Any], cells: list[str], year: int, edits: Counter[str]
) -> tuple[Typed, list[dict[str, str]]]:
    """The typed record, and every reason to set it aside: all of them, not the first."""
    if len(cells) != len(contract["properties"]):
        return {}, [{"code": "ragged"}]
    row, violations = plain_contract.typed_row(contract, cells)
    broken = plain_edits.broken(plain_edits.ERRORS, row, year)
    edits.update(broken)
    if row["uli"] is not None and row["lei"] is not None:
        edits.update(plain_edits.broken(plain_edits.WARNINGS, row, year))
    return row, [*({"column": c, "code": k} for c, k in violations), *({"rule": name} for name in broken)]


def _batch(day: int, files: list[dict[str, Any]], edits: Counter[str]) -> dict[str, Any]:
    mine = [f for f in files if f["business_date"] == f"{day}-12-31" and f["status"] == "published"]
    return {
        "business_date": f"{day}-12-31",
        "files": [f["name"] for f in mine],
        "counts": {term: sum(f["counts"][term] for f in mine) for term in TERMS},
        "records_breaking": dict(sorted(edits.items())),
    }


def _later_layers(accepted: Mapping[int, list[Accepted]], corrections: list[dict[str, Any]]) -> dict[str, Any]:
    key = mask_key()
    batches: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    corrected: list[dict[str, Any]] = []
    for day, rows in sorted(accepted.items()):
        latest: dict[str, Accepted] = {}
        for item in rows:
            held = latest.get(item.row["uli"])
            if held is None or _order(item) > _order(held):
                latest[item.row["uli"]] = item
        counts = Counter({"in": len(rows), "accepted": len(latest), "superseded": len(rows) - len(latest)})
        batches.append({"business_date": f"{day}-12-31", "counts": {term: counts[term] for term in TERMS}})
        groups += _groups(day, [item.row for item in latest.values()])
        corrected += [
            {"uli": c["corrects"], "uli_masked": masked(c["corrects"], key), **_action(latest[c["corrects"]].row)}
            for c in corrections
            if c["corrects"] in latest
        ]
    total = sum(b["counts"]["accepted"] for b in batches)
    return {
        "standardization": {"batches": batches, "rows": total, "corrected": corrected},
        "service": {"rows": len(groups), "groups": groups},
    }


def _order(item: Accepted) -> tuple[Any, tuple[int, int]]:
    return item.row["action_taken_date"], item.arrival


def _action(row: Typed) -> dict[str, Any]:
    return {"action_taken": row["action_taken"], "action_taken_date": row["action_taken_date"].isoformat()}


def _lookup(name: str, key: str, value: str) -> dict[str | None, str]:
    with (LOOKUPS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return {row[key]: row[value] for row in csv.DictReader(file)}


def _groups(day: int, rows: list[Typed]) -> list[dict[str, Any]]:
    """County lending of one year. Amounts are decimals as text; the average is rounded half up to six digits."""
    counties = _lookup("county_loan_limit", "county_code", "county_name")
    types = _lookup("loan_type", "loan_type", "loan_type_name")
    baseline = Decimal(_lookup("national_loan_limit", "filing_year", "baseline_limit")[str(day)])
    by: dict[tuple[str | None, str | None, int], list[Typed]] = defaultdict(list)
    for row in rows:
        by[row["state_code"], row["county_code"], row["loan_type"]].append(row)
    out = []
    for (state, county, kind), members in sorted(by.items(), key=lambda group: str(group[0])):
        amounts = [row["loan_amount"].quantize(Decimal("0.01")) for row in members]
        average = (sum(amounts) / len(amounts)).quantize(Decimal("0.000001"), ROUND_HALF_UP)
        out.append(
            {
                "filing_year": day, "state_code": state, "county_code": county, "county_name": counties.get(county),
                "loan_type": kind, "loan_type_name": types[str(kind)], "applications": len(members),
                "originations": sum(row["action_taken"] == 1 for row in members),
                "high_balance_loans": sum(amount > baseline for amount in amounts),
                "loan_amount_total": str(sum(amounts)), "loan_amount_average": str(average),
                "loan_amount_min": str(min(amounts)), "loan_amount_max": str(max(amounts)),
            }
        )  # fmt: skip
    return out
