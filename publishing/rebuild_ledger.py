"""`lake ledger rebuild`: the ledger made again from raw, journal and tables, beside the old one, then put in its place.

The old one is kept: `ledger.db.before-<time>`, on PostgreSQL a schema of that name. Tables are read as they are now, so
it works after a checkpoint and a cleanup of their logs, which erase what commits said of themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine, func, inspect, make_url, select, text
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog
from publishing.journal_entries import Entries, read_journal
from publishing.lake import Lake
from publishing.landing_decisions import restore_landing
from publishing.ledger import LOCK, Attempt, Batch, Claim, LandedFile, Ledger
from publishing.rebuild_batches import restore_batches
from publishing.rebuild_decisions import restore_decisions, restore_quarantined, restore_reruns
from resources.durable import fsync

Restore = Callable[[Session, Entries], None]


class PipelineRuns(Exception):
    """A run holds the lock of a pipeline, and a ledger is not rebuilt under it (transient: wait for its end)."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How much came back, and where the old ledger is kept; None where there was none."""

    claims: int
    files: int
    batches: int
    attempts: int
    open: int
    kept: str | None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def rebuild(lake: Lake, catalog: Catalog, also: Sequence[Restore] = ()) -> Rebuilt:
    """Makes a new ledger and swaps it in; PipelineRuns while a run holds a pipeline.

    `also` restores tables of rooms below from the same entries, in the same transaction.
    """
    with _all_alone(lake, catalog):
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        url = lake.settings.ledger or f"sqlite:///{lake.settings.data / 'ledger.db'}"
        if make_url(url).get_backend_name() == "sqlite":
            return _beside(lake, catalog, also, Path(make_url(url).database or ""), moment)
        return _in_a_schema(lake, catalog, also, url, moment)


@contextmanager
def _all_alone(lake: Lake, catalog: Catalog) -> Iterator[None]:
    """Holds the lock of every pipeline that is defined or ever ran; raises instead of waiting."""
    root = lake.settings.data / "locks"
    known = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} if root.is_dir() else set()
    known |= {pipeline.key for application in catalog.applications for pipeline in application.pipelines}
    with ExitStack() as stack:
        for pipeline in sorted(known):
            path = root / pipeline
            path.parent.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(path.open("a"))
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PipelineRuns(
                    f"{pipeline} runs now; the ledger is rebuilt when no pipeline runs: wait for its end, then again"
                ) from None
        yield


def _fill(lake: Lake, catalog: Catalog, also: Sequence[Restore], fresh: Ledger, kept: str | None) -> Rebuilt:
    entries = read_journal(lake.journal.root)
    with fresh.write() as session:
        restore_batches(session, entries)
        restore_decisions(session, entries)
        restore_landing(session, entries.landing)
        for restore in also:
            restore(session, entries)
        restore_quarantined(lake, session)
        restore_reruns(session, entries, catalog)
        session.flush()
        numbers = [session.scalar(select(func.count()).select_from(each)) or 0
                   for each in (Claim, LandedFile, Batch, Attempt)]  # fmt: skip
        still_open = session.scalar(select(func.count()).select_from(Batch).where(Batch.status == "open")) or 0
    return Rebuilt(numbers[0], numbers[1], numbers[2], numbers[3], still_open, kept)


def _beside(lake: Lake, catalog: Catalog, also: Sequence[Restore], path: Path, moment: str) -> Rebuilt:
    """SQLite: into a file beside, which takes the name in one step. Who still writes to the old one is told."""
    aside = path.with_name(f"{path.name}.rebuild-{moment}")
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.with_name(f"{path.name}.before-{moment}") if path.exists() else None
    fresh = Ledger(f"sqlite:///{aside}")
    try:
        found = _fill(lake, catalog, also, fresh, str(before) if before else None)
    finally:
        fresh.close()
    _whole(aside)
    _whole(path)
    if before is not None:
        before.hardlink_to(path)
    for ending in ("-wal", "-shm"):  # they belong to the old file, and would be read into the new one
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(path.with_name(f"{path.name}.before-{moment}{ending}"))
    aside.replace(path)
    fsync(path.parent)
    return found


def _whole(path: Path) -> None:
    """Brings what stands in the log of a SQLite file into the file itself, as far as it can be read."""
    if not path.exists():
        return
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _in_a_schema(lake: Lake, catalog: Catalog, also: Sequence[Restore], url: str, moment: str) -> Rebuilt:
    """PostgreSQL: into a schema of its own; then its tables and the old ones change places in one transaction."""
    aside, before = f"ledger_rebuild_{moment.lower()}", f"ledger_before_{moment.lower()}"
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            place = str(connection.execute(text("SELECT current_schema()")).scalar())
            old = inspect(connection).has_table("alembic_version")
            for killed in [s for s in inspect(connection).get_schema_names() if s.startswith("ledger_rebuild_")]:
                connection.execute(text(f'DROP SCHEMA "{killed}" CASCADE'))
            connection.execute(text(f'CREATE SCHEMA "{aside}"'))
        # render_as_string keeps a password that stands in the URL; it is handed to the driver and to nobody else.
        chosen = make_url(url).update_query_dict({"options": f"-csearch_path={aside}"})
        fresh = Ledger(chosen.render_as_string(hide_password=False))
        try:
            found = _fill(lake, catalog, also, fresh, before if old else None)
        finally:
            fresh.close()
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            if old:
                connection.execute(text(f'CREATE SCHEMA "{before}"'))
            own = inspect(connection).get_table_names(schema=aside)
            standing = set(inspect(connection).get_table_names(schema=place)) & set(own)
            for name in sorted(standing):
                connection.execute(text(f'ALTER TABLE "{place}"."{name}" SET SCHEMA "{before}"'))
            for name in own:
                connection.execute(text(f'ALTER TABLE "{aside}"."{name}" SET SCHEMA "{place}"'))
            connection.execute(text(f'DROP SCHEMA "{aside}"'))
    finally:
        engine.dispose()
    return found
