"""One pipeline inside a run: performs it and says what became of each batch. Shared by assets and job pipelines."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import dagster as dg
from sqlalchemy.exc import IntegrityError

from datalake_assets import names
from datalake_assets.check_specs import evaluation, verdicts
from datalake_assets.events import evaluations, materializations, quarantined, reasons
from datalake_assets.work import Work
from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.parameters import RUN_DATE
from publishing.bound import ParameterMissing
from publishing.ledger_errors import LedgerGone
from publishing.outcome import BatchOutcome, CheckOutcome, PipelineOutcome
from resources.failures import NotWritable
from resources.secrets import SecretMissing
from sensors.schedules import RUN_DATE_TAG

PERMANENT = (SecretMissing, ParameterMissing, LedgerGone, NotWritable)  # somebody has to do something first
STATUS = "status"  # of a pipeline, in the metadata of the failure that ends it
Context = dg.AssetExecutionContext | dg.OpExecutionContext
Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


@dataclass(frozen=True, slots=True)
class Request:
    """What a run was asked for; all of it travels in run tags, so the UI, sensors and the command line ask alike."""

    partition: str | None = None
    business_date: date | None = None
    reprocess: bool = False
    claim: str | None = None
    claim_of: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)  # texts by name, the run date among them

    @staticmethod
    def of(tags: Mapping[str, str], partition: str | None) -> Request:
        text = partition or tags.get(names.BUSINESS_DATE_TAG)
        return Request(
            partition=partition,
            business_date=date.fromisoformat(text) if text else None,
            reprocess=tags.get(names.REPROCESS_TAG, "").lower() == "true",
            claim=tags.get(names.CLAIM_TAG),
            claim_of=tags.get(names.CLAIM_PIPELINE_TAG),
            parameters=parameters_of(tags),
        )

    def claim_for(self, checked: CheckedPipeline) -> str | None:
        """A claim is of one pipeline; the others of the run take whatever is ready."""
        return self.claim if self.claim_of == checked.pipeline.id else None

    def parameters_for(self, checked: CheckedPipeline) -> dict[str, str]:
        """Those that the pipeline reads; the others are for other pipelines of the job."""
        read = {value.name for value in checked.bound}
        return {name: text for name, text in self.parameters.items() if name in read}


def parameters_of(tags: Mapping[str, str]) -> dict[str, str]:
    """What the tags give of bound values. dg.Failure where the tag is not a JSON object of texts."""
    given = {RUN_DATE: tags[RUN_DATE_TAG]} if RUN_DATE_TAG in tags else {}
    try:
        written = json.loads(tags.get(names.PARAMETERS_TAG, "{}"))
    except ValueError:
        written = None
    if not isinstance(written, dict) or not all(isinstance(text, str) for text in written.values()):
        form = '{"name": "value"}'
        raise dg.Failure(f"the tag {names.PARAMETERS_TAG} is no JSON object of texts, such as {form}",
                         allow_retries=False)  # fmt: skip
    return given | written


def request_of(context: Context) -> Request:
    partition = context.partition_key if context.has_partition_key else None
    return Request.of(context.run.tags, partition)


def perform(context: Context, checked: CheckedPipeline) -> Generator[Event, None, PipelineOutcome]:
    """Runs the pipeline and yields what its batches say; dg.Failure where it is held (no retry helps) or failed.

    Events are yielded, because Dagster drops those that were logged through a context once the step raises; and also
    where the run broke off, because the batches that ended are published.
    """
    work: Work = context.resources.lake
    request = request_of(context)
    batches: list[BatchOutcome] = []

    def announce(batch: BatchOutcome) -> None:
        batches.append(batch)
        counts = batch.counts.as_dict()
        context.log.info(f"{checked.key}: batch {batch.key} attempt {batch.attempt} {batch.status} {counts}")

    try:
        outcome = work.run(
            checked,
            run_id=context.run.run_id,
            business_date=request.business_date,
            reprocess=request.reprocess,
            claim=request.claim_for(checked),
            announce=announce,
            parameters=request.parameters_for(checked),
        )
    except PERMANENT as error:
        raise dg.Failure(f"{checked.key}: {error}", allow_retries=False) from error
    finally:
        yield from _said(context, checked, batches)
    end(context, checked, outcome)
    return outcome


def end(context: Context, checked: CheckedPipeline, outcome: PipelineOutcome) -> None:
    """dg.Failure where the pipeline is held, for which no try again helps, or failed."""
    if outcome.status == "held":
        raise dg.Failure(f"{checked.key} is held: {reasons(outcome)}", {STATUS: "held"}, allow_retries=False)
    if outcome.status == "failed":
        why = outcome.error or reasons(outcome)
        raise dg.Failure(f"{checked.key} failed: {why}", {STATUS: "failed"}, allow_retries=outcome.transient)
    if outcome.status == "nothing_to_do":
        context.log.info(f"{checked.key}: nothing to do")


def check_published(
    context: Context, checked: CheckedPipeline
) -> tuple[tuple[CheckOutcome, ...], list[dg.AssetCheckEvaluation]]:
    """Evaluates the checks alone, on what is published."""
    work: Work = context.resources.lake
    request = request_of(context)
    outcomes = work.checks(checked, request.business_date)
    partition = request.partition or (request.business_date.isoformat() if request.business_date else None)
    return outcomes, [evaluation(checked, verdict, partition) for verdict in verdicts(checked, outcomes)]


def _said(context: Context, checked: CheckedPipeline, batches: list[BatchOutcome]) -> Iterator[Event]:
    # what could not even be read has the date of the look, which is no period of the feed
    dates = [batch.business_date for batch in batches if batch.checks or batch.status == "published"]
    add_partitions(context, names.business_dates(checked.pipeline.metadata.grain), dates)
    # what a replay rejects again lies in the partition of the batch that it came from
    rejected = [b for b in batches if b.quarantine is not None and b.quarantine.records and b.origin != "replay"]
    add_partitions(context, names.quarantine_partitions(checked), [batch.key for batch in rejected])
    for batch in batches:
        yield from materializations(checked, batch)
    work: Work = context.resources.lake
    known = {s.key: s for s in work.standings(checked, [b.key for b in rejected])} if rejected else {}
    for batch in rejected:
        if event := quarantined(checked, batch, known.get(batch.key)):
            yield event
    yield from evaluations(checked, batches)


def add_partitions(context: Context, partitions: dg.DynamicPartitionsDefinition, keys: list[str]) -> None:
    """Adds the keys that are missing; a run beside this one may add the same at the same moment."""
    if partitions.name is None or not keys:
        return
    distinct = list(dict.fromkeys(keys))
    try:
        context.instance.add_dynamic_partitions(partitions.name, distinct)
    except IntegrityError:
        context.instance.add_dynamic_partitions(partitions.name, distinct)
