"""What people decide about a zone, one of its files or a sender: pause, ignore, resume, retry.

Decisions that last are journal entries, `landing/<app>/<zone>/<id>.json` and `<id>.ended.json`: they are in force again
after the ledger was made anew.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from publishing.journal_entries import LANDING
from publishing.lake import Lake
from publishing.ledger import Ledger, now
from publishing.look import Watched
from publishing.zone_files import NO_FILE, WAITING, LandingDecision, ZoneFile
from resources.zone import Sighting

PAUSE, IGNORE = "pause", "ignore"
ZONE, FILE, SENDER = "zone", "file", "sender"


class NoSuchFile(Exception):
    """A name that does not lie in the zone, as far as the last look saw; says which names do."""


class NothingDecided(Exception):
    """Nothing is paused or ignored that could be taken up again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The decisions over a zone that are in force."""

    at: Watched
    decisions: Sequence[LandingDecision]

    @property
    def paused(self) -> str | None:
        """Why the whole zone is not looked into."""
        found = next((d for d in self.decisions if d.what == ZONE), None)
        return f"paused by {found.actor}: {found.reason}" if found else None

    def over(self, name: str) -> LandingDecision | None:
        """What keeps a file from being taken: about itself, else about its sender."""
        senders = {feed.sender(name) for feed in self.at.feeds} - {None}
        of_file = (d for d in self.decisions if d.what == FILE and d.value == name)
        of_sender = (d for d in self.decisions if d.what == SENDER and d.value in senders)
        return next(of_file, None) or next(of_sender, None)

    def waits(self, seen: Sighting) -> bool:
        return bool(self.decisions) and self.over(seen.name) is not None


def standing(ledger: Ledger, at: Watched) -> Standing:
    with ledger.read() as session:
        chosen = select(LandingDecision).where(LandingDecision.zone == at.key, LandingDecision.ended_at.is_(None))
        return Standing(at, session.scalars(chosen.order_by(LandingDecision.made_at, LandingDecision.id)).all())


def decide(
    session: Session, at: Watched, kind: str, what: str, value: str, actor: str, role: str, reason: str
) -> LandingDecision:
    """Adds a decision to the caller's transaction; NoSuchFile where it is about a file that does not lie there."""
    if what == FILE and session.get(ZoneFile, (at.key, value)) is None:
        raise no_such_file(session, at, value)
    made = LandingDecision(
        id=uuid.uuid4().hex, zone=at.key, kind=kind, what=what, value=value, actor=actor, role=role, reason=reason,
        made_at=now(), ended_at=None, ended_by=None,
    )  # fmt: skip
    session.add(made)
    return made


def resume(session: Session, at: Watched, what: str, value: str, actor: str) -> list[LandingDecision]:
    """Ends what was decided about a zone, a file or a sender; NothingDecided where nothing was."""
    chosen = select(LandingDecision).where(LandingDecision.zone == at.key, LandingDecision.ended_at.is_(None))
    found = session.scalars(chosen.where(LandingDecision.what == what, LandingDecision.value == value)).all()
    if not found:
        others = [f"{d.what} {d.value}".strip() for d in session.scalars(chosen)]
        raise NothingDecided(
            f"{what} {value}".strip() + f" of {at.key} is neither paused nor ignored; what is: "
            f"{', '.join(others) or 'nothing'}"
        )
    for each in found:
        each.ended_at, each.ended_by = now(), actor
    return list(found)


def retry(session: Session, at: Watched, name: str) -> None:
    """The next look takes the file as if it had just come: another occurrence. NoSuchFile where none lies there."""
    row = session.get(ZoneFile, (at.key, name))
    if row is None or row.state == NO_FILE:
        raise no_such_file(session, at, name)
    changed = {"occurrence": ZoneFile.occurrence + 1, "state": WAITING, "tries": 0, "not_before": 0.0}
    session.execute(update(ZoneFile).where(ZoneFile.zone == at.key, ZoneFile.name == name).values(changed))


def no_such_file(session: Session, at: Watched, name: str) -> NoSuchFile:
    there = select(ZoneFile.name).where(ZoneFile.zone == at.key).order_by(ZoneFile.name).limit(5)
    names = ", ".join(session.scalars(there)) or "none"
    return NoSuchFile(f"no file '{name}' lies in {at.key}, as the last look saw it; for example: {names}")


def journal_decisions(lake: Lake, at: Watched) -> None:
    """Writes what the journal lacks of the decisions over a zone."""
    with lake.ledger.read() as session:
        rows = session.scalars(select(LandingDecision).where(LandingDecision.zone == at.key)).all()
    for row in rows:
        name = f"{LANDING}/{row.zone}/{row.id}"
        if not lake.journal.exists(f"{name}.json"):
            lake.journal.write(f"{name}.json", _document(row))
        if row.ended_at is not None and not lake.journal.exists(f"{name}.ended.json"):
            ended = {"id": row.id, "ended_at": row.ended_at.isoformat(), "ended_by": row.ended_by}
            lake.journal.write(f"{name}.ended.json", ended)


def restore_landing(session: Session, documents: Sequence[dict[str, Any]]) -> None:
    """Decisions over zones, from their journal entries."""
    ended = {d["id"]: d for d in documents if "ended_at" in d}
    for each in (d for d in documents if "kind" in d):
        over = ended.get(each["id"], {})
        at = datetime.fromisoformat(over["ended_at"]) if over else None
        made = {**each, "made_at": datetime.fromisoformat(each["made_at"])}
        session.add(LandingDecision(**made, ended_at=at, ended_by=over.get("ended_by")))


def _document(row: LandingDecision) -> dict[str, Any]:
    names = ("id", "zone", "kind", "what", "value", "actor", "role", "reason")
    return {**{name: getattr(row, name) for name in names}, "made_at": row.made_at.isoformat()}
