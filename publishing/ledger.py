"""The ledger: what was seen, claimed, persisted and published. A cache of journal and tables, never their master.

Exactly one rule lives in its constraints: a delivery key belongs to the first batch persisted with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Engine,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from publishing.ledger_errors import REBUILD, LedgerGone, named
from resources.settings import Settings

HEAD = "0013"
BUSY_SECONDS = 30  # how long a transaction waits for another connection of SQLite
URI = String(2048).with_variant(String(8192), "postgresql")  # which measures: a key of S3 is quoted, three for one byte
LOCK = 7_201_611  # the advisory lock of PostgreSQL that every writing transaction takes


class Base(DeclarativeBase):
    """Tables of the ledger; migrations are in publishing/revisions."""


class Claim(Base):
    """A set of looks taken together, made before anything is read; its id is the run key."""

    __tablename__ = "claim"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    pipeline: Mapped[str] = mapped_column(String(200), index=True)
    zone: Mapped[str] = mapped_column(String(200))
    claimed_at: Mapped[datetime]
    settled: Mapped[bool] = mapped_column(default=False, index=True)


class Look(Base):
    """A file as it stood in its zone. A look is in one claim; the same look is never claimed twice.

    `content_id` once it is copied: from then on the raw file is read, whatever becomes of the one in the zone. `beside`
    is what lay there of its checksums and control file. Where it could not be copied, `outcome` is changed, gone or
    unreadable, and `note` says more.
    """

    __tablename__ = "look"
    __table_args__ = (UniqueConstraint("pipeline", "zone", "name", "size", "version", "occurrence"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    claim_id: Mapped[str] = mapped_column(ForeignKey("claim.id"), index=True)
    pipeline: Mapped[str] = mapped_column(String(200))
    zone: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(1024))
    uri: Mapped[str] = mapped_column(URI)
    size: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[str] = mapped_column(String(200))
    occurrence: Mapped[int] = mapped_column(default=0)
    content_id: Mapped[str | None] = mapped_column(String(64))
    outcome: Mapped[str | None] = mapped_column(String(20))
    note: Mapped[str | None] = mapped_column(String(500))
    beside: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))


class LandedFile(Base):
    """A file in raw. `arrival` is its sequence number; `facts` is what the boundary scan found; `note` what is worth
    knowing of its delivery and breaks nothing.

    `archive` is the content id of the archive that it was unpacked from; that one is a file of status unpacked.
    `sequence` is the number in its name, where that was agreed; `records_id` what its records are, whatever their order
    and form, where that was. `late` says why a file is late; None of one that is not.
    """

    __tablename__ = "landed_file"
    __table_args__ = (
        Index("ix_landed_file_pipeline_name", "pipeline", "name"),
        Index("ix_landed_file_pipeline_sequence", "pipeline", "sequence"),
        Index("ix_landed_file_pipeline_sender_date", "pipeline", "sender", "business_date"),
    )
    arrival: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    pipeline: Mapped[str] = mapped_column(String(200), index=True)
    claim_id: Mapped[str] = mapped_column(ForeignKey("claim.id"), index=True)
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("batch.id"), index=True)
    name: Mapped[str] = mapped_column(String(1024))
    uri: Mapped[str] = mapped_column(URI)
    content_id: Mapped[str] = mapped_column(String(64), index=True)
    delivery_key: Mapped[str] = mapped_column(String(64), index=True)
    business_date: Mapped[date]
    sender: Mapped[str | None] = mapped_column(String(200))
    size: Mapped[int] = mapped_column(BigInteger)
    raw: Mapped[str] = mapped_column(String(2048))
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(20), index=True)
    reason: Mapped[str | None] = mapped_column(String(500))
    archive: Mapped[str | None] = mapped_column(String(64))
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    records_id: Mapped[str | None] = mapped_column(String(64), index=True)
    note: Mapped[str | None] = mapped_column(String(500))
    late: Mapped[str | None] = mapped_column(String(200))


class Delivery(Base):
    """Which batch a delivery key belongs to, until that batch is withdrawn."""

    __tablename__ = "delivery"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), index=True)


class Batch(Base):
    """The unit that commits. status: open, published, held, superseded, withdrawn, unpublished.

    `origin`: files, table, replay. `window`: the range of a lake-table batch; of a replay, the batch it came from.
    """

    __tablename__ = "batch"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(300), unique=True)
    pipeline: Mapped[str] = mapped_column(String(200), index=True)
    business_date: Mapped[date] = mapped_column(index=True)
    origin: Mapped[str] = mapped_column(String(20))
    sender: Mapped[str | None] = mapped_column(String(200))
    arrival: Mapped[int] = mapped_column(index=True)
    window: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(20), index=True)
    reason: Mapped[str | None] = mapped_column(String(500))
    attempt: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]


class Attempt(Base):
    """One try at a batch with everything pinned that decides its result; `outcome` once it ended."""

    __tablename__ = "attempt"
    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    definition_hash: Mapped[str] = mapped_column(String(64))
    rule_hash: Mapped[str] = mapped_column(String(64))
    references: Mapped[dict[str, str]] = mapped_column("reference_hashes", JSON)
    opened_at: Mapped[datetime]
    run_id: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


def now() -> datetime:
    """UTC without zone, as the ledger stores it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Ledger:
    """Sessions over one database. SQLite runs in WAL mode and waits BUSY_SECONDS for another connection.

    On either database one transaction writes at a time: what it reads nobody changes meanwhile.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # What stands in the ledger stands in no error: names of files, cells of control records.
        self.engine: Engine = create_engine(url, hide_parameters=True)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _sqlite_settings)
        with self._told():
            self._migrate()
        self._file = self._identity()

    @staticmethod
    def at(data: Path) -> Ledger:
        """The SQLite ledger of a lake root."""
        data.mkdir(parents=True, exist_ok=True)
        return Ledger(f"sqlite:///{data / 'ledger.db'}")

    @staticmethod
    def of(settings: Settings) -> Ledger:
        """The ledger that DATALAKE_LEDGER names, else the SQLite file of the lake root."""
        return Ledger(settings.ledger) if settings.ledger else Ledger.at(settings.data)

    def _migrate(self) -> None:
        # Alembic costs a tenth of a second to import: only where the database is not at the head yet.
        with self.engine.connect() as connection:
            if inspect(connection).has_table("alembic_version"):
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
                if found == HEAD:
                    return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.set_main_option("version_locations", str(Path(__file__).parent / "revisions"))
        config.set_main_option("path_separator", "os")
        with self.engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any error. What it reads nobody changes meanwhile."""
        with self._told(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "sqlite":
                # The driver begins at the first change only: two writers would both read what they then both change.
                session.execute(text("BEGIN IMMEDIATE"))
            else:
                session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            self._still_there()
            yield session
            self._still_there()

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self._told(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Says what the database cannot do in our own words."""
        try:
            yield
        except (IntegrityError, ProgrammingError, DataError):  # what was asked is wrong, not the database
            raise
        except (DatabaseError, sqlite3.DatabaseError) as error:
            raise named(error, self.engine.url.render_as_string(hide_password=True), BUSY_SECONDS) from error

    def _identity(self) -> int | None:
        """The inode of SQLite's file; None of another database, and of a file that is not there."""
        path = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        return Path(path).stat().st_ino if path and Path(path).exists() else None

    def _still_there(self) -> None:
        """A removed file takes every transaction of an open connection, and keeps none of them."""
        if self._file != self._identity():
            raise LedgerGone(f"the ledger {self.engine.url.database} was removed or replaced while in use; {REBUILD}")

    def close(self) -> None:
        self.engine.dispose()


def _sqlite_settings(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    # The change to WAL does not wait for another connection that makes it too: it is tried again.
    retrying = Retrying(
        retry=retry_if_exception(lambda error: "locked" in str(error)),  # a full disk does not pass by waiting
        stop=stop_after_delay(BUSY_SECONDS),
        wait=wait_random_exponential(multiplier=0.01, max=0.5),
        reraise=True,
    )
    retrying(cursor.execute, "PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
