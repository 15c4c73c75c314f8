"""What stewards decided, in the journal: written after each action's transaction, with what a crash left out before."""

from __future__ import annotations

from publishing import failpoints
from publishing.decisions_journal import decisions_made, journal_decisions
from publishing.lake import Lake
from publishing.ops import write_down
from stewardship import audit


def journal_decided(lake: Lake, pipeline: str) -> None:
    """`journal_all` once a decision over batches or corrections is committed."""
    failpoints.reached("decision.made")
    journal_all(lake, pipeline)


def journal_all(lake: Lake, pipeline: str | None = None) -> None:
    """Of one pipeline, or of all; the audit trail is one for all."""
    made = None
    if pipeline is not None:
        with lake.ledger.read() as session:
            made = decisions_made(session, pipeline)  # before: what another makes meanwhile is not told yet
    journal_decisions(lake, pipeline)
    audit.journal_entries(lake)
    if pipeline is not None:
        write_down(lake, pipeline, made)  # also as events of the operations table
