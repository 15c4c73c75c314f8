"""Files that were claimed and could not be copied: the look says why, and the name is looked at again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.orm import Session

from publishing.ledger import Look
from publishing.look import Watched
from publishing.zone_files import WAITING, ZoneFile
from resources.zone import ChangedWhileRead

CHANGED, GONE, UNREADABLE = "changed", "gone", "unreadable"
FIRST_WAIT, LONGEST_WAIT = 60.0, 3600.0  # seconds until sensors try an unreadable file again; doubled each time


@dataclass(frozen=True, slots=True)
class Missed:
    """A look whose file could not be copied. outcome: changed, gone, unreadable."""

    look: Look
    outcome: str


def missed_by(look: Look, error: Exception) -> Missed:
    if isinstance(error, ChangedWhileRead):
        look.note, outcome = str(error), CHANGED
    elif isinstance(error, FileNotFoundError):
        look.note, outcome = "it was removed before it was copied", GONE
    else:
        look.note, outcome = getattr(error, "strerror", None) or UNREADABLE, UNREADABLE
    look.note = look.note[:500]
    return Missed(look, outcome)


def note_missed(session: Session, at: Watched, missed: Sequence[Missed]) -> None:
    """Each look keeps what became of it; the same file, if it is there still, is a new look."""
    for each in missed:
        known = session.get_one(Look, each.look.id)
        known.outcome, known.note = each.outcome, each.look.note
        changed = {"occurrence": ZoneFile.occurrence + 1, "state": WAITING}
        # One that was seen with other content since is a new look already.
        same = (ZoneFile.size == known.size, ZoneFile.version == known.version)
        of_name = (ZoneFile.zone == at.key, ZoneFile.name == known.name, ZoneFile.occurrence == known.occurrence)
        session.execute(update(ZoneFile).where(*of_name, *same).values(changed))
        if each.outcome == UNREADABLE:
            row = session.get(ZoneFile, (at.key, known.name), populate_existing=True)
            if row is not None:
                row.tries += 1
                row.not_before = time.time() + min(FIRST_WAIT * 2 ** min(row.tries - 1, 10), LONGEST_WAIT)
