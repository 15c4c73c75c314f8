"""Rows of `ops.quarantine_events`, made from the journal alone: what happened to quarantined records, in numbers.

An event's id is made of what it tells, so the same event told twice has the same id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import Any

from publishing.decisions_journal import decided
from publishing.journal import batch_entry
from publishing.lake import Lake
from publishing.quarantine import DISCARDED, GIVEN_UP, HELD, OPEN


def attempt_events(pipeline: str, outcome: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The events of an attempt: rejected by rule; of a later one what it resolved; of a replay what became of it; of a
    snapshot what it superseded of those before it.

    `before` is the outcome of the attempt before it.
    """
    ops, counts = outcome["ops"], outcome["counts"]
    replay = outcome["origin"] == "replay"
    source = (ops.get("window") or {}).get("source") if replay else None
    base = {
        **_common(pipeline, outcome, ops),
        "occurred_at": datetime.fromisoformat(ops["ended_at"]),
        "batch_id": source or outcome["batch"],
        "attempt": outcome["attempt"],
        "replay_batch_id": outcome["batch"] if replay else None,
        "run_id": ops["run_id"],
    }
    found = []

    def tell(event: str, records: int, status: str, rule: str | None = None, of: int | None = None) -> None:
        identity = f"{outcome['batch']}/{outcome['attempt']}/{event}/{rule or ''}"
        total = records if of is None else of
        numbers = {"records": records, "batch_records": total, "remediation_status": status, "rule_id": rule}
        found.append({**base, "event_id": identity, "event": event, **numbers})

    if counts["quarantined"]:
        event = "rejected_again" if replay else "quarantined"
        status = HELD if outcome["status"] == "held" and not replay else OPEN
        for rule, records in sorted(ops["rules"].items()):
            given_up = rule == GIVEN_UP
            tell(event, records, DISCARDED if given_up else status, rule, counts["quarantined"])
    if replay and outcome["status"] == "published":
        for event, term in (("replayed", "accepted"), ("superseded", "superseded")):
            if counts[term]:
                tell(event, counts[term], event)
    for gone in ops.get("replaced", ()):
        identity = f"{outcome['batch']}/{outcome['attempt']}/superseded/{gone['batch']}"
        whose = {"batch_id": gone["batch"], "batch_key": gone["key"], "attempt": gone["attempt"]}
        numbers = {"records": gone["records"], "batch_records": gone["records"], "rule_id": None}
        what = {"event_id": identity, "event": "superseded", "remediation_status": "superseded"}
        found.append({**base, **whose, **numbers, **what})
    now, past = ops["states"], ((before or {}).get("ops") or {}).get("states") or {}
    if (resolved := now.get("resolved", 0) - past.get("resolved", 0)) > 0:
        tell("resolved", resolved, "resolved")
    return found


def decision_events(lake: Lake, pipeline: str, told: Collection[str]) -> list[dict[str, Any]]:
    """What stewards decided about records and batches of the pipeline, as far as the journal has it; not what was told.

    Only of what is new an entry is read: there may be many decisions.
    """
    with lake.ledger.read() as session:
        made = [each for each in decided(session, pipeline) if each.event_id not in told]
    common: dict[str, dict[str, Any]] = {}
    found = []
    for each in made:
        entry, proposal = _entry(lake, each.entry), _entry(lake, each.proposal) if each.proposal else {}
        if entry is None or proposal is None:
            continue
        if each.batch not in common:
            batch = _entry(lake, batch_entry(pipeline, each.batch)) or {}
            common[each.batch] = _common(pipeline, batch, _first_ops(lake, pipeline, each.batch))
        found.append(
            {
                **common[each.batch],
                "event_id": each.event_id,
                "event": each.event,
                "occurred_at": _moment(entry["made_at"]),
                "batch_id": each.batch,
                "decision_id": each.id,
                "records": proposal.get("records", 1 if entry.get("record") else None),
                "remediation_status": each.event,
                "actor": entry.get("actor"),
                "role": entry.get("role"),
            }
        )
    return found


def _common(pipeline: str, batch: Mapping[str, Any], ops: Mapping[str, Any]) -> dict[str, Any]:
    """What every event of a batch says. `batch` is its entry in the journal or an outcome of it."""
    day = batch.get("business_date")
    return {
        "application": pipeline.partition("/")[0],
        "pipeline": pipeline,
        "layer": ops.get("layer"),
        "product_processor": ops.get("product_processor"),
        "batch_key": batch.get("key"),
        "business_date": date.fromisoformat(day) if day else None,
    }


def _first_ops(lake: Lake, pipeline: str, batch_id: str) -> dict[str, Any]:
    """The operations facts of the batch's first outcome: later ones come and go, and an event is told once."""
    folder = lake.journal.root / pipeline / batch_id
    for path in sorted(folder.glob("attempt-*.outcome.json")):
        ops: dict[str, Any] = lake.journal.read(str(path.relative_to(lake.journal.root))).get("ops") or {}
        return ops
    return {}


def _entry(lake: Lake, name: str) -> dict[str, Any] | None:
    return lake.journal.read(name) if lake.journal.exists(name) else None


def _moment(text: str) -> datetime:
    """A moment of the journal; one without a zone is UTC, as the ledger stores it."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
