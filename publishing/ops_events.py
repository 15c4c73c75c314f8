"""Rows of `ops.quarantine_events`, made from the journal alone: what happened to quarantined records, in numbers.

An event's id is made of what it tells, so the same event told twice has the same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import select

from publishing.decisions import BatchDecision, Correction
from publishing.decisions_journal import assignment_entry, assignments
from publishing.journal import batch_entry
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.quarantine import DISCARDED, GIVEN_UP, HELD, OPEN

_PROPOSED = {"correct": "correction_proposed", "discard": "discard_proposed"}
_DECIDED = {"release": "released", "withdraw": "withdrawn", "unpublish": "unpublished"}


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


def decision_events(lake: Lake, pipeline: str) -> list[dict[str, Any]]:
    """What stewards decided about records and batches of the pipeline, as far as the journal has it."""
    with lake.ledger.read() as session:
        corrections = select(Correction.id, Correction.batch_id).where(Correction.pipeline == pipeline)
        made = sorted((batch_id, each) for each, batch_id in session.execute(corrections))
        decisions = select(BatchDecision.id, BatchDecision.batch_id).join(Batch, BatchDecision.batch_id == Batch.id)
        decisions = decisions.where(Batch.pipeline == pipeline)
        decided = sorted((batch_id, each) for each, batch_id in session.execute(decisions))
        assigned = [(row.batch_id, assignment_entry(pipeline, row)) for row in assignments(session, pipeline)]
    found = []
    for batch_id, identity in made:
        proposed = _entry(lake, f"{pipeline}/{batch_id}/correction-{identity}.json")
        if proposed is None:
            continue
        found.append(_decision(lake, pipeline, batch_id, identity, _PROPOSED[proposed["kind"]], proposed))
        verdict = _entry(lake, f"{pipeline}/{batch_id}/correction-{identity}.verdict.json")
        if verdict is not None:
            told = {**verdict, "records": proposed["records"]}
            found.append(_decision(lake, pipeline, batch_id, identity, verdict["verdict"], told))
        revoked = _entry(lake, f"{pipeline}/{batch_id}/correction-{identity}.revoked.json")
        if revoked is not None:
            told = {**revoked, "records": proposed["records"]}
            found.append(_decision(lake, pipeline, batch_id, identity, "revoked", told))
    for batch_id, identity in decided:
        decision = _entry(lake, f"{pipeline}/{batch_id}/decision-{identity}.json")
        if decision is not None:
            event = _DECIDED.get(decision["kind"], decision["kind"])
            found.append(_decision(lake, pipeline, batch_id, identity, event, decision))
    for batch_id, name in assigned:
        assignment = _entry(lake, name)
        if assignment is not None:
            identity = name.rpartition("assignment-")[2].removesuffix(".json")
            told = {**assignment, "records": 1 if assignment["record"] else None}
            found.append(_decision(lake, pipeline, batch_id, identity, "assigned", told))
    return found


def _decision(
    lake: Lake, pipeline: str, batch_id: str, identity: str, event: str, told: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        **_common(pipeline, _entry(lake, batch_entry(pipeline, batch_id)) or {}, _first_ops(lake, pipeline, batch_id)),
        "event_id": f"{identity}/{event}",
        "event": event,
        "occurred_at": _moment(told["made_at"]),
        "batch_id": batch_id,
        "decision_id": identity,
        "records": told.get("records"),
        "remediation_status": event,
        "actor": told.get("actor"),
        "role": told.get("role"),
    }


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
