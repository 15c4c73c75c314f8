"""Numbers in the names of files: gaps and repeats are found, for each sender, and within a date where so agreed.

A number after a gap is held until what is missing has come; then its next attempt goes on by itself. The others go on
meanwhile. A number that came before with other content is held until somebody decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource
from publishing.arrived import Arrived, sequence_of
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile

GAP, REPEATED = "sequence_gap", "sequence_repeated"
NO_NUMBER = "sequence: its name holds no number where one was agreed; have it sent again under its full name"


def numbered(session: Session, pipeline: CheckedPipeline, there: Sequence[Arrived]) -> list[Arrived]:
    """The files of a claim with what is wrong with their numbers, against one another and all that came before."""
    source = pipeline.driving.source
    if not isinstance(source, FileSource) or source.delivery is None or source.delivery.sequence == "none":
        return list(there)
    found: list[Arrived] = []
    with_numbers = [(item, sequence_of(source, item.name)) for item in there if item.aside is None]
    for item in there:
        number = sequence_of(source, item.name)
        if item.aside is not None:
            found.append(item)
            continue
        if number is None:
            found.append(_faulty(item, NO_NUMBER))
            continue
        scope = _scope(source, pipeline.key, item.sender, item.business_date)
        known = _known(session, scope)
        mine = {n: other for other, n in with_numbers if n is not None and _same_scope(source, item, other)}
        fault = _repeated(known, number, item.copy.content_id)
        numbers = {*(n for n, _, _ in known), *mine}
        fault = fault or _gap(source, numbers, number)
        found.append(_faulty(item, fault) if fault else item)
    return found


def sequence_faults(session: Session, source: FileSource, file: LandedFile) -> list[str]:
    """What is wrong with the number of a file that came before, as things stand now."""
    if source.delivery is None or source.delivery.sequence == "none":
        return []
    if file.sequence is None:
        return [NO_NUMBER]
    known = _known(session, _scope(source, file.pipeline, file.sender, file.business_date))
    others = [each for each in known if each[2] < file.arrival]
    fault = _repeated(others, file.sequence, file.content_id) or _gap(source, {n for n, _, _ in known}, file.sequence)
    return [fault] if fault else []


def go_on(lake: Lake, session: Session, pipeline: CheckedPipeline) -> None:
    """Asks for the next attempt of batches that a gap held which is closed now, in the caller's transaction."""
    source = pipeline.driving.source
    if not isinstance(source, FileSource) or source.delivery is None or source.delivery.sequence == "none":
        return
    session.flush()
    asked: dict[str, int] = {}
    held = select(Batch).where(Batch.pipeline == pipeline.key, Batch.status == "held", Batch.reason.contains(GAP))
    for batch in session.scalars(held.order_by(Batch.arrival)):
        files = session.scalars(select(LandedFile).where(LandedFile.batch_id == batch.id)).all()
        if any(fault.startswith(GAP) for file in files for fault in sequence_faults(session, source, file)):
            continue
        if session.get(Attempt, (batch.id, batch.attempt)) is not None:
            batch.attempt += 1
        batch.status = "open"
        asked[batch.id] = batch.attempt
    journal_reopened(lake, pipeline.key, asked)


def _scope(source: FileSource, pipeline: str, sender: str | None, day: object) -> list[ColumnElement[bool]]:
    same = [
        LandedFile.pipeline == pipeline, LandedFile.sender.is_not_distinct_from(sender),
        LandedFile.sequence.is_not(None), LandedFile.batch_id.is_not(None), LandedFile.status != "withdrawn",
    ]  # fmt: skip
    assert source.delivery is not None  # noqa: S101 - the callers looked
    return [*same, LandedFile.business_date == day] if source.delivery.sequence == "perDate" else same


def _same_scope(source: FileSource, one: Arrived, other: Arrived) -> bool:
    assert source.delivery is not None  # noqa: S101 - the caller looked
    per_date = source.delivery.sequence == "perDate"
    return one.sender == other.sender and (not per_date or one.business_date == other.business_date)


def _known(session: Session, scope: Sequence[ColumnElement[bool]]) -> list[tuple[int, str, int]]:
    """(number, content id, arrival) of what came before."""
    chosen = select(LandedFile.sequence, LandedFile.content_id, LandedFile.arrival).where(*scope)
    return [(number, content, arrival) for number, content, arrival in session.execute(chosen) if number is not None]


def _repeated(known: Sequence[tuple[int, str, int]], number: int, content: str) -> str | None:
    before = next((arrival for n, other, arrival in known if n == number and other != content), None)
    if before is None:
        return None
    return f"{REPEATED}: number {number} came before (arrival {before}) with other content; withdraw one of the two"


def _gap(source: FileSource, numbers: set[int], number: int) -> str | None:
    """What is missing right before a number. Running numbers begin with the first that ever came."""
    assert source.delivery is not None  # noqa: S101 - the callers looked
    first = 1 if source.delivery.sequence == "perDate" else min(numbers)
    last = max((each for each in numbers if each < number), default=first - 1)
    if last >= number - 1:
        return None
    missing = f"{last + 1}" if last + 2 == number else f"{last + 1} to {number - 1}"
    return f"{GAP}: {missing} did not come before {number}; it goes on once that has come, or is released"


def _faulty(item: Arrived, fault: str) -> Arrived:
    return replace(item, fault="; ".join(filter(None, (item.fault, fault)))[:500])
