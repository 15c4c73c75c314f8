"""Holds what a run says about itself against the damage list.

    lake run mortgage/hmda_filing --json > run.json;  python demo/compare.py run.json OUT_DIR/damage.json

Prints a line for each file and batch and what differs; exit 1 where anything does. Differences are returned by
`differences`, so that a test can ask the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

TERMS = ("in", "accepted", "quarantined", "deduplicated", "filtered", "superseded", "skipped")
LAYERS = {"standardization": "mortgage/loan_application"}


def _batches(run: Mapping[str, Any], pipeline: str) -> list[dict[str, Any]]:
    return [b for p in run["pipelines"] if p["pipeline"] == pipeline for b in p["batches"]]


def _terms(counts: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(counts[term] for term in TERMS)


def closes(counts: Mapping[str, int]) -> bool:
    """Whether the equation holds."""
    return counts["in"] == sum(_terms(counts)[1:])


def differences(run: Mapping[str, Any], listed: Mapping[str, Any]) -> Iterator[str]:
    """What the run reports otherwise than the list expects; nothing where they agree."""
    staging = _batches(run, "mortgage/lar")
    reported = {f["uri"].rsplit("/", 1)[-1]: f for b in staging for f in b["files"]}
    for line in listed["files"]:
        found = reported.get(line["name"])
        if found is None:
            if line["status"] != "duplicate":  # a copy is in no batch, so a run need not speak of it
                yield f"{line['name']}: not in the report, expected {line['status']}"
            continue
        if found["status"] != line["status"]:
            yield f"{line['name']}: {found['status']}, expected {line['status']}"
        if line["reason"] and line["reason"] not in (found["reason"] or ""):
            yield f"{line['name']}: held for '{found['reason']}', expected '{line['reason']}'"
        if line["counts"] and _terms(found["counts"]) != _terms(line["counts"]):
            yield f"{line['name']}: {found['counts']}, expected {line['counts']}"
    for name in reported.keys() - {line["name"] for line in listed["files"]}:
        yield f"{name}: in the report, not in the list"
    yield from _days("staging", [b for b in staging if b["status"] == "published"], listed["staging"])
    for layer, pipeline in LAYERS.items():
        batches = [b for b in _batches(run, pipeline) if b["status"] == "published"]
        yield from _days(layer, batches, listed[layer]["batches"])


def _days(layer: str, batches: Sequence[Mapping[str, Any]], listed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Published batches of a business date together: how files were cut into batches is not the list's business."""
    days = {item["business_date"]: _terms(item["counts"]) for item in listed}
    found: dict[str, tuple[int, ...]] = {}
    for batch in batches:
        day, terms = batch["business_date"], _terms(batch["counts"])
        found[day] = tuple(a + b for a, b in zip(found.get(day, (0,) * len(TERMS)), terms, strict=True))
        if not closes(batch["counts"]):
            yield f"{layer} {day}: the equation does not close: {dict(zip(TERMS, terms, strict=True))}"
    for day in sorted(days.keys() | found.keys()):
        if days.get(day) != found.get(day):
            yield f"{layer} {day}: {found.get(day)}, expected {days.get(day)} ({', '.join(TERMS)})"


def main(arguments: list[str]) -> int:
    run, listed = (json.loads(Path(name).read_text(encoding="utf-8")) for name in arguments)
    for line in listed["files"]:
        counts = " ".join(f"{n:>6}" for n in _terms(line["counts"])) if line["counts"] else ""
        print(f"{line['name']:40} {line['status']:10} {counts}")
    found = list(differences(run, listed))
    print("\n".join(found) if found else "the run agrees with the damage list")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
