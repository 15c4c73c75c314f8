"""What the ledger remembers of each zone: what lies there, as of the last look, and how the zone itself is doing.

None of it is master of anything: lost, it is made again by the next look, which takes no file twice.
What people decided about a zone, a file or a sender stands in the journal as well.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from publishing.ledger import URI, Base

WAITING = "waiting"  # it settles, or waits to be claimed
TAKEN = "taken"  # every pipeline that it is for has claimed it
UNMATCHED = "unmatched"  # no pipeline asks for such a name
BESIDE = "beside"  # a done-marker or checksum of another file, or a manifest that was read
NO_FILE = "not_a_file"  # a folder, a pipe, a link that leads out


class ZoneFile(Base):
    """A name in a zone. `since` is when it was first seen as it is now, in seconds since 1970 by our clock, `looks` on
    how many looks; `missing` on how many looks in a row it was not there; `occurrence` counts its comings.

    `tries` and `not_before` slow down what could not be read.
    """

    __tablename__ = "zone_file"
    __table_args__ = (Index("ix_zone_file_state", "zone", "state", "name"),)
    zone: Mapped[str] = mapped_column(String(400), primary_key=True)
    name: Mapped[str] = mapped_column(String(1024), primary_key=True)
    uri: Mapped[str] = mapped_column(URI)
    size: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[str] = mapped_column(String(200))
    modified: Mapped[float]
    since: Mapped[float]
    looks: Mapped[int]
    missing: Mapped[int]
    occurrence: Mapped[int]
    state: Mapped[str] = mapped_column(String(20))
    tries: Mapped[int]
    not_before: Mapped[float]


class ZoneState(Base):
    """`feeds` is the fingerprint of the pipelines and patterns that its files were matched with. `failures` in a row;
    `retry_at` (seconds since 1970) is when a zone that fails is tried again, `fault` why it failed last."""

    __tablename__ = "zone_state"
    zone: Mapped[str] = mapped_column(String(400), primary_key=True)
    looked_at: Mapped[datetime | None]
    feeds: Mapped[str] = mapped_column(String(64))
    failures: Mapped[int]
    retry_at: Mapped[float]
    fault: Mapped[str | None] = mapped_column(String(500))


class ManifestLine(Base):
    """A file that a manifest names and that was not taken yet. `sums`: by algorithm, the line with its checksum."""

    __tablename__ = "manifest_line"
    zone: Mapped[str] = mapped_column(String(400), primary_key=True)
    name: Mapped[str] = mapped_column(String(1024), primary_key=True)
    manifest: Mapped[str] = mapped_column(String(1024), primary_key=True)
    sums: Mapped[dict[str, str]] = mapped_column(JSON)


class LandingDecision(Base):
    """kind: pause, ignore. `what` is zone, file or sender; `value` the file's name or the sender, empty for a zone."""

    __tablename__ = "landing_decision"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    zone: Mapped[str] = mapped_column(String(400), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    what: Mapped[str] = mapped_column(String(20))
    value: Mapped[str] = mapped_column(String(1024))
    actor: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(50))
    reason: Mapped[str] = mapped_column(String(500))
    made_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(String(200))
