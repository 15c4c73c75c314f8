"""What a replay would do to records of a batch, computed aside: for a steward who looks before he proposes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from processing import frame as f
from publishing.bound import bound_values, pinned_before
from publishing.corrections import stacked
from publishing.decide import waived
from publishing.decisions import CORRECT
from publishing.inputs import approved, aware, landed, whole_batch
from publishing.lake import Lake
from publishing.ledger import Batch, now
from publishing.manifest import Manifest
from publishing.private_folder import private_folder
from publishing.replay import TRIAL, only_changed, replays_by_attempt, scan_where_changed
from publishing.replay_fate import staged_columns
from publishing.stage import AttemptInput, count_rules, stage


@dataclass(frozen=True, slots=True)
class Trial:
    """What a replay would do: `would_pass` of `records`, and how many break each rule still.

    `held`: what would hold the batch back, where its next attempt replays them and a rule over the whole blocks it.
    """

    records: int
    would_pass: int
    rules: dict[str, int]
    held: str | None = None


def trial(lake: Lake, pipeline: CheckedPipeline, batch: Batch, changes: Any) -> Trial:
    """What would become of these records of a batch if the changes were approved and replayed; commits nothing.

    `changes` is a set as publishing.corrections.changes_table makes it. Where records cannot be judged alone the whole
    batch is computed.
    """
    files = landed(lake, batch)
    scan_where_changed(lake, pipeline, batch, files)
    aside = f"{TRIAL}{uuid.uuid4().hex}"
    root = lake.staged_root(pipeline.key, aside, 0)
    whole = replays_by_attempt(pipeline)
    with lake.ledger.read() as session:
        bound = bound_values(pipeline, pinned_before(session, batch), batch.business_date)
    given = AttemptInput(aside, 0, batch.business_date, aware(now()), judged=whole, bound=bound)
    with private_folder(lake.staged, root.parent):
        folder = root / "overlay"
        before = approved(lake, batch, files)
        if whole:
            with lake.ledger.read() as session:
                given = replace(given, waived=waived(session, batch.id, pipeline.rule_hash))
            layers = {**before, aside: (CORRECT, changes)}
            reading = whole_batch(lake, pipeline, batch, files, given, layers, folder)
        else:
            both = stacked([*before.values(), (CORRECT, changes)])
            reading = only_changed(lake, pipeline, given, files, folder, both)
        return _told(lake, stage(lake, pipeline, reading), changes)


def _told(lake: Lake, manifest: Manifest, changes: Any) -> Trial:
    import pyarrow.compute as pc

    records = changes["record_id"].combine_chunks()
    wrong = 0
    rules: dict[str, int] = {}
    rejecting: dict[str, int] = {}
    for status in (f.QUARANTINED, f.SKIPPED):
        rows = staged_columns(lake, manifest, status, [f.RECORD_ID, f.ERRORS])
        mine = rows.filter(pc.is_in(rows[f.RECORD_ID], value_set=records))
        wrong += mine.num_rows
        count_rules(mine[f.ERRORS].combine_chunks(), rules, rejecting)
    return Trial(len(records), len(records) - wrong, rejecting, manifest.held)
