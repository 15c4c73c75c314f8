"""Replaying inside a run: by the asset over quarantined batches, or by the job that a sensor or `lake replay` asks."""

# Annotations stay objects here: Dagster reads that of `context` and understands no text.
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from datalake_assets import names
from datalake_assets.events import evaluations, materializations
from datalake_assets.perform import Context, Event, add_partitions, end
from datalake_assets.replay_specs import (
    CHECKS,
    replay_check_specs,
    replay_evaluations,
    replay_spec,
    replayed,
    restated,
)
from datalake_assets.work import Work
from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import ROLES, Workflow
from publishing.ledger import now
from publishing.outcome import BatchOutcome, CheckOutcome
from publishing.standing import Standing
from resources.secrets import SecretMissing
from stewardship.actors import STEWARD, Actor

BATCHES_A_RUN = 25  # of a backfill: a run costs seconds before it does anything


def replay_assets(root: Path, checked: CheckedPipeline, workflow: Workflow | None) -> dg.AssetsDefinition:
    """Materialising a partition replays that batch; selecting only checks evaluates them."""

    @dg.multi_asset(
        name=f"{names.pipeline_op(checked)}__replay",
        specs=[replay_spec(root, checked, workflow)],
        check_specs=replay_check_specs(checked),
        can_subset=True,
        required_resource_keys={"lake"},
        backfill_policy=dg.BackfillPolicy.multi_run(BATCHES_A_RUN),
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[Any]:
        replays = bool(context.op_execution_context.selected_asset_keys)
        if not (context.has_partition_key or context.has_partition_key_range):
            # The page of the checks executes them without a partition: all batches are meant.
            yield from perform_replay(context, checked, None) if replays else _every_batch(context, checked)
            return
        for key in context.partition_keys:
            yield from perform_replay(context, checked, key) if replays else _checked(context, checked, [key])

    return body


def perform_replay(context: Context, checked: CheckedPipeline, batch_key: str | None) -> Iterator[Event]:
    """Replays one quarantined batch, or all with approved corrections, and says what became of each.

    dg.Failure where it is held or failed. What ended before is said all the same, as in `perform`.
    """
    work: Work = context.resources.lake
    keys = None if batch_key is None else [batch_key]
    before = {standing.key: standing for standing in work.standings(checked, keys)}
    if batch_key is not None and batch_key not in before:
        raise dg.Failure(f"{checked.key} has no quarantined batch {batch_key}", allow_retries=False)
    batches: list[BatchOutcome] = []

    def announce(batch: BatchOutcome) -> None:
        batches.append(batch)
        context.log.info(f"{checked.key}: replay {batch.key} {batch.status} {batch.counts.as_dict()}")

    try:
        outcome = work.replay(
            checked, run_id=context.run.run_id, batch_key=batch_key, actor=asked_by(context.run.tags), announce=announce
        )
    except SecretMissing as missing:
        raise dg.Failure(f"{checked.key}: {missing}", allow_retries=False) from missing
    finally:
        dates = [batch.business_date for batch in batches if batch.status == "published"]
        add_partitions(context, names.business_dates(checked.pipeline.metadata.grain), dates)
        for batch in batches:
            yield from materializations(checked, batch)
        yield from evaluations(checked, batches)  # of a batch that came back by its next attempt
        yield from _said(context, checked, before, work.standings(checked, keys), batch_key)
    end(context, checked, outcome)


def asked_by(tags: Mapping[str, str]) -> Actor:
    """Who asked: the command line and the sensor say so in tags. Open source Dagster does not know who clicks."""
    role = next((role for role in ROLES if role == tags.get(names.ROLE_TAG)), STEWARD)
    return Actor(tags.get(names.ACTOR_TAG, "dagster"), role)


def _said(
    context: Context,
    checked: CheckedPipeline,
    before: dict[str, Standing],
    after: Sequence[Standing],
    batch_key: str | None,
) -> Iterator[Event]:
    """Of the batch that was asked for, and of all that stand otherwise than before."""
    told = [s for s in after if s.key == batch_key or s != before.get(s.key)]
    add_partitions(context, names.quarantine_partitions(checked), [standing.key for standing in told])
    at = now()
    for standing in told:
        yield restated(checked, standing, at)
        yield replayed(checked, before.get(standing.key), standing, at, context.run.run_id)
    yield from _checked(context, checked, [standing.key for standing in told])


def _checked(context: Context, checked: CheckedPipeline, keys: Sequence[str]) -> Iterator[dg.AssetCheckEvaluation]:
    work: Work = context.resources.lake
    for key in keys:
        yield from replay_evaluations(checked, key, work.replay_checks(checked, key))


def _every_batch(context: Context, checked: CheckedPipeline) -> Iterator[dg.AssetCheckEvaluation]:
    """Each batch, and all together without a partition, as they were asked for."""
    work: Work = context.resources.lake
    found: dict[str, list[CheckOutcome]] = {name: [] for name in CHECKS}
    for standing in work.standings(checked):
        outcomes = work.replay_checks(checked, standing.key)
        yield from replay_evaluations(checked, standing.key, outcomes)
        for outcome in outcomes:
            found[outcome.name].append(outcome)
    together = [
        CheckOutcome(
            name=name,
            severity="error",
            passed=all(outcome.passed for outcome in outcomes),
            failed_rows=sum(outcome.failed_rows for outcome in outcomes),
            description=f"{sum(not outcome.passed for outcome in outcomes)} of {len(outcomes)} batches failed",
        )
        for name, outcomes in found.items()
    ]
    yield from replay_evaluations(checked, None, together)
