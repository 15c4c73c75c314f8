"""Named places between two effects of a batch, where a test can end the process as a crash would.

Nothing outside the process can switch one on: `arm` is called by the fault harness in a child of its own. A test holds
that every point of the registry is passed in exactly one place, and that no place passes an unknown one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

POINTS: Mapping[str, str] = {
    "claim.persisted": "looks and claim are in the ledger, nothing is read",
    "raw.copied": "one file stands in raw, the ledger knows nothing of it",
    "raw.unpacked": "the members of one archive stand in raw, the ledger knows the archive only",
    "claim.copied": "all files of a claim stand in raw, and the journal says so; nothing is persisted",
    "intake.persisted": "batches, files and delivery keys are in the ledger, not in the journal",
    "claim.journaled": "what a claim became is in the journal, the ledger still calls it unsettled",
    "journal.batch": "one batch's membership is in the journal",
    "claim.settled": "the ledger knows that the journal has it all, no attempt is opened",
    "batches.reopened": "a reprocess is asked for, in journal and ledger; no attempt is opened",
    "attempt.opened": "the attempt is pinned in the ledger, not in the journal",
    "scan.journaled": "what a later attempt found in its files is in the journal, nothing is staged",
    "stage.records": "records are staged and split by status, not counted",
    "stage.finished": "everything is staged and judged, there is no manifest",
    "manifest.written": "the manifest is in the journal, nothing is published",
    "quarantine.written": "the rejects' file stands in the quarantine table's folder, uncommitted",
    "quarantine.committed": "the rejects are committed, no target is",
    "replay.persisted": "a replay batch is in the ledger, not in the journal",
    "discard.committed": "the entries of a discard are discarded, the ledger still waits for it",
    "restate.written": "entries with their new states stand in the quarantine table's folder, uncommitted",
    "restate.committed": "the new states of entries are committed",
    "target.linked": "the rows' files stand in the target's folder, uncommitted",
    "target.committed": "an append or overwrite target is committed",
    "merge.contested": "winners and losers of a merge are staged, nothing is committed",
    "merge.committed": "a merge target is committed",
    "rebuild.staged": "all batches of a merge target are computed again, nothing is committed",
    "rebuild.committed": "a merge target is rebuilt, outcomes are not counted anew",
    "rebuild.linked": "the files of a table that is made again stand in its folder, uncommitted",
    "export.written": "the export's file stands in its folder, unnamed by its manifest",
    "export.published": "the export's manifest names the new file, the old one still stands",
    "decision.made": "a decision is in the ledger, not in the journal, and nothing was done about it",
    "takeback.target": "a target has taken batches back",
    "takeback.quarantine": "targets and quarantine have taken batches back, the ledger has not",
    "outcome.journaled": "the outcome is in the journal, the ledger still calls the batch open",
    "ledger.ended": "the ledger knows the end, the staged files still stand",
    "run.opened": "the run stands in the journal, nothing is done",
    "run.ended": "how the run ended is in the journal, the operations tables know nothing of it",
    "ops.written": "rows of an operations table stand in its folder, uncommitted",
    "events.committed": "the run's events are committed, the run itself is not",
    "run.recorded": "the run stands in both operations tables",
}

_armed: tuple[str, int, int] | None = None
_passed: dict[str, int] | None = None


def arm(name: str, passing: int = 1, by: int = signal.SIGKILL) -> None:
    """Sends this process a signal when the point is passed for the `passing`-th time. Tests only.

    SIGKILL ends it as a crash does; SIGSTOP holds it there until somebody else sends SIGCONT.
    """
    global _armed
    if name not in POINTS:
        raise KeyError(f"no failpoint '{name}'; there are: {', '.join(POINTS)}")
    _armed = (name, passing, by)


def count() -> dict[str, int]:
    """How often each point is passed from now on; the dictionary fills as they are. Tests only."""
    global _passed
    _passed = {}
    return _passed


def reached(name: str) -> None:
    """Marks a place; does nothing unless it is armed or counted."""
    global _armed
    if _passed is not None:
        _passed[name] = _passed.get(name, 0) + 1
    if _armed is None or _armed[0] != name:
        return
    _, passing, by = _armed
    if passing > 1:
        _armed = (name, passing - 1, by)
        return
    _armed = None
    os.kill(os.getpid(), by)
