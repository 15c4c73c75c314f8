"""`lake ledger verify`: ledger, raw, journal, tables and quarantine held against each other; each difference by name.

What a run has still to bring to its end (open and failed batches) is no difference: the next run does. Nothing is
changed, and nothing is locked: run it while no pipeline runs.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline_xml.checked import Catalog
from publishing.differences import Difference
from publishing.journal_entries import read_journal
from publishing.lake import Lake
from publishing.verify_exports import verify_exports
from publishing.verify_ledger import verify_ledger, verify_raw
from publishing.verify_quarantine import verify_quarantine
from publishing.verify_tables import published, verify_tables


def verify(lake: Lake, catalog: Catalog, application: str | None = None, hashes: bool = True) -> list[Difference]:
    """Every difference; of one application where it is named. Without `hashes` raw files are told by their size."""
    entries = read_journal(lake.journal.root)
    found = [*verify_ledger(lake, entries, application), *verify_raw(lake, hashes, application)]
    known = published(lake)
    if application is not None:
        catalog = replace(catalog, applications=tuple(a for a in catalog.applications if a.name == application))
        known = {batch_id: each for batch_id, each in known.items() if each.app == application}
    found += [*verify_tables(lake, catalog, known), *verify_quarantine(lake, known)]
    return [*found, *verify_exports(lake, catalog, known)]
