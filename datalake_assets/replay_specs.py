"""The replay of a pipeline as Dagster shows it: an asset over its quarantined batches, its checks, and what it says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from datalake_assets import names
from datalake_assets.previews import previews_accepted
from datalake_assets.translate import code_reference, group, tags
from pipeline_xml.checked import CheckedPipeline, remediation_sla
from pipeline_xml.model import Workflow
from publishing.outcome import CheckOutcome
from publishing.replay_checks import NOTHING_LOST, RECONCILED
from publishing.standing import Standing

CHECKS = {
    RECONCILED: "Of each file: quarantined = open + replayed + resolved + discarded + superseded + withdrawn.",
    NOTHING_LOST: "Every quarantined record has one entry in one state, and what was replayed stands in the targets.",
}


def replays(checked: CheckedPipeline) -> bool:
    """A pipeline that skips what is wrong quarantines nothing, and has no way back."""
    return checked.pipeline.error_policy.on_record_error == "quarantine"


def replay_spec(root: Path, checked: CheckedPipeline, workflow: Workflow | None) -> dg.AssetSpec:
    """`skippable`, so that its checks can also run alone."""
    places = [workflow.where] if workflow else []
    sla = remediation_sla(checked, workflow)
    return dg.AssetSpec(
        key=names.replay_key(checked),
        deps=[names.quarantine_key(checked)],
        skippable=True,
        group_name=group(checked.pipeline.app, "exceptions"),
        description=f"Materialise a partition to replay what was approved of a batch that {checked.key} rejected. "
        "Each corrected record reaches the targets at most once; what is wrong again goes back to quarantine.",
        owners=names.owners(workflow.owner if workflow and workflow.owner else checked.pipeline.metadata.owner),
        kinds={"delta", "replay"},
        tags=tags(checked),
        partitions_def=names.quarantine_partitions(checked),
        metadata={
            "dagster/code_references": code_reference(root, *places, checked.pipeline.error_policy.where),
            "replay_mode": workflow.replay if workflow else "manual",
            **({"workflow": workflow.id} if workflow else {}),
            **({"remediation_sla": sla} if sla else {}),
        },
    )


@previews_accepted()
def replay_check_specs(checked: CheckedPipeline) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name,
            asset=names.replay_key(checked),
            description=text,
            metadata={"code": "platform"},
            partitions_def=names.quarantine_partitions(checked),
        )
        for name, text in CHECKS.items()
    ]


def standing_metadata(standing: Standing, at: datetime) -> dict[str, Any]:
    """Ages and counts by state; numbers, so that the asset's page plots them over its batches."""
    return {
        "age_hours": round(standing.age_hours(at), 3),
        "tries": standing.tries,
        **{f"state_{name}": count for name, count in sorted(standing.states.items())},
        **({} if "open" in standing.states else {"state_open": 0}),
    }


def restated(checked: CheckedPipeline, standing: Standing, at: datetime) -> dg.AssetMaterialization:
    """The quarantine's partition after a replay: what is left of it."""
    return dg.AssetMaterialization(
        names.quarantine_key(checked),
        description=f"{standing.open} of {standing.records} records of batch {standing.key} are open",
        partition=standing.key,
        metadata={
            "dagster/row_count": standing.records,
            "batch": standing.batch,
            "business_date": standing.business_date,
            **standing_metadata(standing, at),
        },
    )


def replayed(
    checked: CheckedPipeline, before: Standing | None, after: Standing, at: datetime, run_id: str
) -> dg.AssetMaterialization:
    """What a replay did to one batch: the difference between how it stood and how it stands."""
    was = before.states if before else {}

    def more(state: str) -> int:
        return after.states.get(state, 0) - was.get(state, 0)

    again = after.tries - (before.tries if before else 0)
    accepted = f"{more('resolved')} accepted by its next attempt, " if more("resolved") else ""
    return dg.AssetMaterialization(
        names.replay_key(checked),
        description=f"{more('replayed')} records of batch {after.key} replayed, {accepted}{again} rejected again, "
        f"{after.open} still open",
        partition=after.key,
        metadata={
            "records_replayed": more("replayed"),
            "records_rejected_again": again,
            "records_superseded": more("superseded"),
            "records_resolved": more("resolved"),
            "records_still_open": after.open,
            "batch": after.batch,
            "business_date": after.business_date,
            **standing_metadata(after, at),
        },
        tags={"dagster/data_version": f"{after.batch}-{run_id}"},
    )


def replay_evaluations(
    checked: CheckedPipeline, key: str | None, outcomes: Iterable[CheckOutcome]
) -> Iterable[dg.AssetCheckEvaluation]:
    for outcome in outcomes:
        yield dg.AssetCheckEvaluation(
            asset_key=names.replay_key(checked),
            check_name=outcome.name,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=outcome.description[:500] or None,
            metadata={"failed_records": outcome.failed_rows},
            partition=key,
        )
