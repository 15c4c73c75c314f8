"""What can be wrong with the ledger's database, each with a name and what to do.

    LedgerLocked           another connection holds it for longer than a run waits (transient)
    LedgerUnreachable      the database server does not answer (transient)
    LedgerGone             it was removed, or knows less than the journal: it has to be rebuilt
"""

from __future__ import annotations

from resources.failures import DiskFull, NotWritable, Transient

REBUILD = "run `lake ledger rebuild`, which makes it again from raw, journal and tables; then run again"


class LedgerUnavailable(Exception):
    """No batch of any pipeline can end while this lasts."""


class LedgerLocked(LedgerUnavailable, Transient):
    """Another connection holds the database."""


class LedgerUnreachable(LedgerUnavailable, Transient):
    """The database does not answer, or cannot be read or written."""


class LedgerGone(LedgerUnavailable):
    """The database was removed, replaced, or lacks what the journal has."""


def named(error: Exception, where: str, seconds: float) -> Exception:
    """The error of the driver by what has to be done. `where` names the database without its password."""
    said = str(getattr(error, "orig", error)).lower()
    if "locked" in said or "busy" in said:
        return LedgerLocked(
            f"another connection has held the ledger {where} for more than {seconds} s; find it (a backup, a copy, an "
            "open shell) and end it, then run again: nothing is lost"
        )
    if "disk is full" in said:
        return DiskFull(f"no room left on the disk: {where}; make room, then run again: nothing is lost")
    if "readonly" in said or "unable to open" in said:
        return NotWritable(f"no right to write: {where}; give the user of the run the right, then run again")
    if "no such table" in said:
        return LedgerGone(f"the ledger {where} was replaced by another database; {REBUILD}")
    if "not a database" in said or "malformed" in said:
        return LedgerGone(f"the ledger {where} is damaged; {REBUILD}")
    return LedgerUnreachable(f"the ledger {where} does not answer; check the database and its disk, then run again")
