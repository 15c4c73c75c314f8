"""SLAs that have passed: of a schedule's tick, or of files that settled, counted to the publication."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.cron import ticks
from pipeline_xml.durations import parse_duration
from publishing.expected import missing
from publishing.journal import Journal
from publishing.ledger import Batch, Claim, LandedFile, Ledger
from publishing.run_entries import newest_run, run_entry

LOOK_BACK = timedelta(days=2)  # a deadline that nobody was awake to see for so long is told no more
RUNS = 200  # runs of a pipeline that are looked at; more than anybody starts between a tick and its deadline


@dataclass(frozen=True, slots=True)
class Miss:
    """A promise that was not kept. `since` names what it counts from, the same whenever it is asked; times are UTC."""

    pipeline: str
    since: str
    begun: datetime
    due: datetime


def misses(
    ledger: Ledger,
    journal: Journal,
    pipeline: CheckedPipeline,
    schedule: str | None,
    time_zone: str,
    since: datetime,
    until: datetime,
) -> Iterator[Miss]:
    """Those of one pipeline that were due after `since`, up to `until` (with zones; LOOK_BACK apart at most).

    `schedule` is what starts it: its own, or that of its job.
    """
    for each in missing(ledger, pipeline, since, until):
        said = f"file {each.business_date.isoformat()} {each.sender or ''}".strip()
        yield Miss(pipeline.key, said, each.due, each.due)
    sla = pipeline.pipeline.metadata.sla
    if sla is None:
        return
    allowed, since = parse_duration(sla), max(since, until - LOOK_BACK)
    if schedule:
        yield from _of_ticks(journal, pipeline.key, schedule, time_zone, allowed, since, until)
    yield from _of_batches(ledger, pipeline.key, allowed, since, until)


def _of_ticks(
    journal: Journal,
    pipeline: str,
    schedule: str,
    time_zone: str,
    allowed: timedelta,
    since: datetime,
    until: datetime,
) -> Iterator[Miss]:
    """A tick is kept by a run between it and its deadline that published.

    One with nothing to do keeps it only where a publication came after the deadline of the tick before: what this tick
    was to bring came early, such as with a file that landed and started a run by itself.
    """
    passed = list(_ticks_between(schedule, time_zone, since - allowed, until - allowed))
    runs = _good_runs(journal, pipeline) if passed else ()
    first = passed[0].astimezone(ZoneInfo(time_zone)) if passed else None
    earlier = ticks(schedule).at_or_before(first - timedelta(seconds=1)) if first is not None else None
    before = earlier.astimezone(UTC) if earlier is not None else None
    for tick in passed:
        due = tick + allowed
        within = [published for begun, ended, published in runs if tick <= begun and ended <= due]
        early = any(p and ended <= tick and (before is None or ended > before + allowed) for _, ended, p in runs)
        if not any(within) and not (within and early):
            yield Miss(pipeline, f"tick {tick.isoformat()}", tick, due)
        before = tick


def _ticks_between(schedule: str, time_zone: str, since: datetime, until: datetime) -> Iterator[datetime]:
    """In UTC: an SLA is hours that pass, also on the day on which the clock on the wall skips one or repeats it."""
    found, moment = ticks(schedule), since.astimezone(ZoneInfo(time_zone))
    while (following := found.after(moment)) is not None and following <= until:
        yield following.astimezone(UTC)
        moment = following


def _good_runs(journal: Journal, pipeline: str) -> Sequence[tuple[datetime, datetime, bool]]:
    """(begun, ended, whether it published) of the runs that ended well."""
    newest = newest_run(journal, pipeline)
    found = []
    for number in range(max(1, newest - RUNS + 1), newest + 1):
        name = run_entry(pipeline, number, "ended")
        if journal.exists(name):
            ended = journal.read(name)
            if ended["status"] in ("published", "nothing_to_do") and ended.get("ended_at"):
                opened = journal.read(run_entry(pipeline, number, "opened"))
                moments = (opened["started_at"], ended["ended_at"])
                begun, end = (datetime.fromisoformat(moment) for moment in moments)
                found.append((begun, end, ended["status"] == "published"))
    return found


def _of_batches(
    ledger: Ledger, pipeline: str, allowed: timedelta, since: datetime, until: datetime
) -> Iterator[Miss]:
    """Batches that are not published yet although their last file settled so long ago; held ones are late too."""
    settled = select(LandedFile.batch_id, Claim.claimed_at).join(Claim, Claim.id == LandedFile.claim_id)
    with ledger.read() as session:
        late = session.scalars(
            select(Batch).where(
                Batch.pipeline == pipeline,
                Batch.status.in_(("open", "failed", "held")),
                Batch.origin != "replay",
                Batch.created_at > (since - allowed).astimezone(UTC).replace(tzinfo=None),
            )
        ).all()
        claimed: dict[str, datetime] = {}
        for batch_id, moment in session.execute(settled.where(LandedFile.batch_id.in_([b.id for b in late]))):
            claimed[str(batch_id)] = max(moment, claimed.get(str(batch_id), moment))
    for batch in late:
        begun = claimed.get(batch.id, batch.created_at).replace(tzinfo=UTC)
        if since < begun + allowed <= until:
            yield Miss(pipeline, f"batch {batch.id}", begun, begun + allowed)
