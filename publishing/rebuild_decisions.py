"""What people decided, made again from the journal; and what lies in quarantine, counted from its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog
from publishing import decisions as d
from publishing.corrections import load_changes
from publishing.decisions import BatchDecision, Correction, Rerun, TouchedRecord
from publishing.journal_entries import BatchEntries, Document, Entries, ended_at
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.quarantined import count_entries, store_counted
from publishing.rebuild_batches import go_on_above
from publishing.units import GONE

VERDICTS = {"approved": d.APPROVED, "rejected": d.REJECTED}


def restore_decisions(session: Session, entries: Entries) -> None:
    """Corrections with their verdicts and the batch that published them, and decisions over batches."""
    used = published_by(entries)
    for each in entries.batches.values():
        for document in each.of_kind("correction"):
            session.add(_correction(document, each, used, entries))
        for document in each.of_kind("decision"):
            session.add(
                BatchDecision(
                    id=document["decision"],
                    batch_id=document["batch"],
                    kind=document["kind"],
                    actor=document["actor"],
                    role=document["role"],
                    reason=document["reason"],
                    made_at=datetime.fromisoformat(document["made_at"]),
                    waivers=document.get("waivers") or {},
                )
            )
    session.flush()


def published_by(entries: Entries) -> dict[str, str]:
    """Correction -> the replay it belongs to, else the batch of the first published attempt that obeyed it.

    Else the batch whose attempt was asked for because of it, and has not ended.
    """
    found: dict[str, str] = {}
    obeyed: list[tuple[tuple[int, str], str, list[str]]] = []
    for each in entries.batches.values():
        if each.batch is not None and each.batch["origin"] == "replay":
            if _alone(entries, each.id, each.batch) or entries.handed_over(each):
                continue
            found |= dict.fromkeys(each.batch["window"]["corrections"], each.id)
        for number, outcome in each.ended("published").items():
            ids = each.attempts[number].get("manifest", {}).get("corrections", [])
            obeyed.append((ended_at(outcome), each.id, ids))
    for _, batch_id, ids in sorted(obeyed):
        for correction in ids:
            found.setdefault(correction, batch_id)
    for correction, asked in entries.asked_for.items():
        for batch_id, number in sorted(asked):
            attempts = entries.batches[batch_id].attempts if batch_id in entries.batches else {}
            if not any("outcome" in each for n, each in attempts.items() if n >= number):
                found.setdefault(correction, batch_id)
    return found


def _alone(entries: Entries, replay: str, document: Document) -> bool:
    """Whether a replay was taken back without the batch of its records: then its corrections wait for another."""
    moment = entries.taken_back.get(replay)
    return moment is not None and moment != entries.taken_back.get(document["window"]["source"])


def _correction(document: Document, of: BatchEntries, used: dict[str, str], entries: Entries) -> Correction:
    revoked = f"correction-{document['correction']}.revoked.json" in of.others
    belongs_to = used.get(document["correction"]) if document["kind"] == d.CORRECT else None
    if revoked and not (belongs_to and entries.is_replay(belongs_to)):
        belongs_to = None  # an attempt was asked for because of it, and reads the records without it
    verdict = of.others.get(f"correction-{document['correction']}.verdict.json")
    return Correction(
        id=document["correction"],
        pipeline=document["pipeline"],
        batch_id=document["batch"],
        kind=document["kind"],
        state=d.REVOKED if revoked else VERDICTS[verdict["verdict"]] if verdict else d.PROPOSED,
        records=document["records"],
        actor=document["actor"],
        role=document["role"],
        reason=document["reason"],
        made_at=datetime.fromisoformat(document["made_at"]),
        sealed=document["sealed"],
        replay_id=belongs_to,
    )


def restore_quarantined(lake: Lake, session: Session) -> None:
    """One row for each batch that has entries in a quarantine table, and one for each record somebody acted on."""
    for pipeline in session.scalars(select(Batch.pipeline).distinct()).all():
        table = lake.quarantine(pipeline)
        if table.exists:
            snapshot = table.snapshot()
            for batch_id, counted in count_entries(snapshot, snapshot.files()).items():
                store_counted(session, batch_id, counted)
        _touched(lake, session, pipeline)


def _touched(lake: Lake, session: Session, pipeline: str) -> None:
    chosen = select(Correction).where(Correction.pipeline == pipeline).order_by(Correction.made_at, Correction.id)
    newest: dict[str, Correction] = {}
    for correction in session.scalars(chosen):
        newest |= dict.fromkeys(load_changes(lake, correction)["record_id"].to_pylist(), correction)
    if not newest:
        return
    standing = dict(_standing(lake, pipeline, list(newest)))
    status = {batch.id: batch.status for batch in session.scalars(select(Batch).where(Batch.pipeline == pipeline))}
    states: dict[Correction, dict[str, tuple[str, int]]] = {}
    for record, correction in newest.items():
        entry, tries = standing.get(record, (d.RESOLVED, 0))
        state = correction.state
        if status.get(correction.batch_id) in GONE:
            state = d.WITHDRAWN
        elif state == d.APPROVED:
            waits = correction.replay_id is None or status.get(correction.replay_id) in ("open", "failed", "held")
            state = entry if entry not in ("open", "held") else d.APPROVED if waits else d.FAILED
        states.setdefault(correction, {})[record] = (state, tries or int(state == d.FAILED))
    for correction, found in states.items():
        told = Counter(state for state, _ in found.values())
        fate = correction.state if correction.state in told else told.most_common(1)[0][0]  # while one waits, it does
        correction.fate = fate if fate != correction.state else None
        for record, (state, tries) in found.items():
            own = state if state != fate else None
            touched = {"record_id": record, "correction_id": correction.id, "state": own, "tries": tries}
            session.add(TouchedRecord(pipeline=pipeline, **touched))
    session.flush()


def _standing(lake: Lake, pipeline: str, records: list[str]) -> Iterator[tuple[str, tuple[str, int]]]:
    """(record, (state of its entry, how often a replay of it was rejected)) of those in quarantine."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    table = lake.quarantine(pipeline)
    if not table.exists:
        return
    snapshot = table.snapshot()
    columns = [c for c in ("record_id", "state", "tries") if c in snapshot.schema().names]
    wanted = ds.field("record_id").isin(pa.array(records, pa.string()))
    for row in snapshot.dataset().to_table(columns=columns, filter=wanted).to_pylist():
        yield row["record_id"], (row["state"], row.get("tries") or 0)


def restore_reruns(session: Session, entries: Entries, catalog: Catalog) -> None:
    """Readers of what changed by a decision, a reprocess or a replay, where none of their runs began since and none was
    asked for; and what they were asked for before.
    """
    for done in entries.reruns_done.values():
        asked = datetime.fromisoformat(done["asked_at"])
        day = date.fromisoformat(done["business_date"])
        told = {"pipeline": done["pipeline"], "business_date": day, "cause": done["cause"], "asked_at": asked}
        session.add(Rerun(id=done["number"], done=True, **told))
    session.flush()
    go_on_above(session, Rerun.id)
    written: dict[Any, list[str]] = {}
    for application in catalog.applications:
        for pipeline in application.pipelines:
            for source in pipeline.sources:
                if source.upstream:
                    written.setdefault(source.upstream, []).append(pipeline.key)
    for batch in session.scalars(select(Batch).order_by(Batch.arrival, Batch.id)):
        app, _, name = batch.pipeline.partition("/")
        writer = catalog.pipeline(app, name)
        own = entries.batches.get(batch.id)
        if writer is None or own is None:
            continue
        replay = batch.origin == "replay"
        moments = [ended_at(o)[1] for n, o in own.ended("published").items() if n > 1 or replay]
        moments += [entries.taken_back[batch.id]] if batch.id in entries.taken_back and not replay else []
        last = max(moments, default="")
        readers = {reader for target in writer.targets for reader in written.get(target.asset, ())}
        for reader in sorted(readers):
            if not last or entries.newest_runs.get(reader, "") >= last:
                continue
            asked = datetime.fromisoformat(last).replace(tzinfo=None)
            seen_to = entries.reruns_done.get(reader)
            if seen_to is None or datetime.fromisoformat(seen_to["asked_at"]) < asked:
                cause = f"{batch.key} changed; asked again when the ledger was made again"
                session.add(Rerun(pipeline=reader, business_date=batch.business_date, cause=cause, asked_at=asked))
