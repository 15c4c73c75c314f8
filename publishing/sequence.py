"""Numbers in the names of files: gaps and repeats are found, for each sender, and within a date where so agreed.

A number after a gap is held until what is missing has come; then its next attempt goes on by itself. The others go on
meanwhile. A number that came before with other content is held until somebody decides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource
from publishing.arrived import Arrived, sequence_of
from publishing.faults import together
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile

GAP, REPEATED = "sequence_gap", "sequence_repeated"
Scope = tuple[str | None, date | None]  # sender, and the business date where numbers begin anew with each
NO_NUMBER = "sequence: its name holds no number where one was agreed; have it sent again under its full name"


def numbered(session: Session, pipeline: CheckedPipeline, there: Sequence[Arrived]) -> list[Arrived]:
    """The files of a claim with what is wrong with their numbers, against one another and all that came before."""
    source = pipeline.driving.source
    if not isinstance(source, FileSource) or source.delivery is None or source.delivery.sequence == "none":
        return list(there)
    mine: dict[Scope, dict[int, Arrived]] = {}  # each number with the first file of the claim that has it
    for item in there:
        number = sequence_of(source, item.name)
        if item.aside is None and number is not None:
            mine.setdefault(_scope(source, item.sender, item.business_date), {}).setdefault(number, item)
    known = {scope: _known(session, pipeline.key, scope, numbers) for scope, numbers in mine.items()}

    def fault(item: Arrived) -> str | None:
        number = sequence_of(source, item.name)
        if number is None:
            return NO_NUMBER
        scope = _scope(source, item.sender, item.business_date)
        before, first = known[scope], mine[scope][number]
        if first.copy.content_id != item.copy.content_id:
            return f"{REPEATED}: number {number} came as {first.name} too, with other content; withdraw one of the two"
        return before.repeated(number, item.copy.content_id) or before.gap(number, mine[scope])

    faults = [None if item.aside is not None else fault(item) for item in there]
    return [item if found is None else _faulty(item, found) for item, found in zip(there, faults, strict=True)]


def sequence_faults(session: Session, source: FileSource, file: LandedFile) -> list[str]:
    """What is wrong with the number of a file that came before, as things stand now."""
    if source.delivery is None or source.delivery.sequence == "none":
        return []
    if file.sequence is None:
        return [NO_NUMBER]
    known = _known(session, file.pipeline, _scope(source, file.sender, file.business_date), [file.sequence])
    fault = known.repeated(file.sequence, file.content_id, file.arrival) or known.gap(file.sequence)
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


def _scope(source: FileSource, sender: str | None, day: date) -> Scope:
    assert source.delivery is not None  # noqa: S101 - the callers looked
    return sender, day if source.delivery.sequence == "perDate" else None


@dataclass(frozen=True, slots=True)
class _Known:
    """What came before in a scope, around some numbers. `first` is where its numbers begin; None before any came.

    `files` are (number, content id, arrival), from the greatest number below those that are asked about.
    """

    first: int | None
    files: Sequence[tuple[int, str, int]]

    def repeated(self, number: int, content: str, arrival: int | None = None) -> str | None:
        """What is wrong where the number came with other content; of a file that came itself, before its arrival."""
        others = (at for n, other, at in self.files if n == number and other != content)
        before = next((at for at in others if arrival is None or at < arrival), None)
        if before is None:
            return None
        return f"{REPEATED}: number {number} came before (arrival {before}) with other content; withdraw one of the two"

    def gap(self, number: int, mine: Collection[int] = ()) -> str | None:
        """What is missing right before a number. Running numbers begin with the first that ever came."""
        numbers = {number, *(n for n, _, _ in self.files), *mine}
        first = min(numbers) if self.first is None else min(self.first, *numbers)
        last = max((each for each in numbers if each < number), default=first - 1)
        if last >= number - 1:
            return None
        missing = f"{last + 1}" if last + 2 == number else f"{last + 1} to {number - 1}"
        return f"{GAP}: {missing} did not come before {number}; it goes on once that has come, or is released"


def _known(session: Session, pipeline: str, scope: Scope, numbers: Collection[int]) -> _Known:
    """Three looks along an index: a feed of years has a million numbers, and a claim asks about the newest."""
    sender, day = scope
    of_scope = [
        LandedFile.pipeline == pipeline, LandedFile.sender.is_not_distinct_from(sender),
        LandedFile.sequence.is_not(None), LandedFile.batch_id.is_not(None), LandedFile.status != "withdrawn",
    ]  # fmt: skip
    if day is not None:
        of_scope.append(LandedFile.business_date == day)
    number = select(LandedFile.sequence).where(*of_scope).limit(1)
    first = 1 if day is not None else session.scalar(number.order_by(LandedFile.sequence))
    below = session.scalar(number.where(LandedFile.sequence < min(numbers)).order_by(LandedFile.sequence.desc()))
    chosen = select(LandedFile.sequence, LandedFile.content_id, LandedFile.arrival).where(
        *of_scope, LandedFile.sequence.between(min(numbers) if below is None else below, max(numbers))
    )
    rows = session.execute(chosen.order_by(LandedFile.arrival))
    return _Known(first, [(n, content, arrival) for n, content, arrival in rows if n is not None])


def _faulty(item: Arrived, fault: str) -> Arrived:
    return replace(item, fault=together((item.fault, fault)))
