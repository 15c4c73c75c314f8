"""What `lake ledger verify` can find: each kind with a stable code, what it means, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

_REBUILD = "`lake ledger rebuild` makes the ledger again from the journal"
_RESTORE = "bring the file back from a copy; until then no retry, reprocess or rebuild can read it"
_BY_HAND = "find out who wrote to the table beside the platform, and take its change back"
_AGAIN = "`lake run … --reprocess` publishes the batch again from raw"

# code: (what it means, what to do)
CODES: Mapping[str, tuple[str, str]] = {
    "batch_not_in_journal": ("the ledger has a batch that the journal has not", "bring the journal back from a copy"),
    "batch_not_in_ledger": ("the journal has a batch that the ledger has not", _REBUILD),
    "batch_differs": ("ledger and journal say different things of a batch", _REBUILD),
    "file_differs": ("ledger and journal say different things of a file", _REBUILD),
    "attempt_differs": ("ledger and journal say different things of an attempt", _REBUILD),
    "claim_not_in_journal": (
        "the ledger has a claim that the journal has not: a rebuild would see its files as new ones",
        "keep copies of the ledger; files delivered once more are told by their content all the same",
    ),
    "claim_not_in_ledger": ("the journal has a claim that the ledger has not", _REBUILD),
    "delivery_without_batch": ("a delivery key belongs to no batch that stands", _REBUILD),
    "delivery_missing": ("a file of a batch has no delivery key: delivered again it would be taken again", _REBUILD),
    "decision_differs": ("ledger and journal say different things of a decision or correction", _REBUILD),
    "sealed_missing": ("the sealed values of a correction are gone", "bring the journal back from a copy"),
    "outcome_does_not_close": ("the counts of an outcome do not add up", "report it: it should not be possible"),
    "raw_missing": ("the raw copy of a file is gone", _RESTORE),
    "raw_differs": ("the raw copy of a file is not what was taken in", _RESTORE),
    "transaction_missing": ("a published batch has no transaction in a target", _AGAIN),
    "transaction_left": ("a target holds the transaction of a batch that is not published", _REBUILD),
    "rows_differ": ("a target holds more or fewer rows of a batch than it published", f"{_BY_HAND}; then {_AGAIN}"),
    "rows_of_unknown_batch": ("a target holds rows of a batch that the ledger does not know", _REBUILD),
    "rows_not_published": ("a target holds rows of a batch that is not published there", _BY_HAND),
    "record_doubled": ("a record stands more than once in a table", _BY_HAND),
    "entry_doubled": ("a rejected record stands more than once in quarantine", _BY_HAND),
    "entries_of_unknown_batch": ("quarantine holds entries of a batch that the ledger does not know", _REBUILD),
    "entries_differ": ("quarantine holds another number of entries than the batch rejected", _AGAIN),
    "entry_state_unknown": ("an entry is in a state that does not exist", _BY_HAND),
    "entry_state_differs": ("an entry is in a state that its batch cannot have", _AGAIN),
    "quarantined_differs": ("the ledger's summary of a batch in quarantine is not that of the table", _REBUILD),
    "export_part_missing": ("the manifest of an export names a file that is gone", _AGAIN),
    "export_rows_differ": ("a file of an export has another number of rows than its manifest says", _AGAIN),
    "export_of_unknown_batch": ("an export holds a part of a batch that is not published", _AGAIN),
    "export_part_unnamed": ("an export does not name the part of a published batch", _AGAIN),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be. `subject` names it (app/pipeline, a batch's key, a table, a file)."""

    code: str
    subject: str
    found: str
    expected: str

    @property
    def meaning(self) -> str:
        return CODES[self.code][0]

    @property
    def todo(self) -> str:
        return CODES[self.code][1]

    def as_dict(self) -> dict[str, str]:
        return {**asdict(self), "meaning": self.meaning, "todo": self.todo}
