"""Committing against the snapshot that was looked at: look, compute, commit; on a conflict all of it again."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from resources.lake_table import CommitConflict, LakeTable, Snapshot

ATTEMPTS = 12


def committed(snapshot: Snapshot, name: str, version: int) -> bool:
    """Whether a transaction is in the table already: its version is at least the one asked for."""
    return snapshot.transaction(name) >= version


def next_odd(version: int) -> int:
    """The next version that means published: 0 -> 1, 1 -> 3, 2 -> 3."""
    return version + 2 if version % 2 else version + 1


def until_committed(table: LakeTable, commit: Callable[[Snapshot], int | None]) -> int | None:
    """Calls `commit` with the newest snapshot until it lands; its result, None where it found nothing to do.

    What goes wrong while another commit lands is tried again as well.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(CommitConflict),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        reraise=True,
    )

    def once() -> int | None:
        snapshot = table.snapshot()
        try:
            return commit(snapshot)
        except CommitConflict:
            raise
        except Exception as error:
            # Files of a version that is no longer the newest may be vacuumed while they are read.
            if table.snapshot().version == snapshot.version:
                raise
            raise CommitConflict(f"{table.root.name}: version {snapshot.version} is no longer the newest") from error

    result: int | None = retrying(once)
    return result
