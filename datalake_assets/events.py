"""What a run says about a batch, as Dagster events. Pure functions; no value of a record is in any of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import dagster as dg

from datalake_assets import names
from datalake_assets.check_specs import evaluation, verdicts
from datalake_assets.replay_specs import standing_metadata
from pipeline_xml.checked import CheckedPipeline
from publishing.ledger import now
from publishing.outcome import BatchOutcome, CheckOutcome, Counts, PipelineOutcome
from publishing.standing import Standing

_TERMS = tuple(Counts().as_dict())


def materializations(checked: CheckedPipeline, batch: BatchOutcome) -> Iterator[dg.AssetMaterialization]:
    """One for each target of a published batch, in the partition of its business date."""
    if batch.status != "published":
        return
    by_name = {target.name: target for target in batch.targets}
    for target in checked.targets:
        written = by_name.get("/".join(target.asset))
        if written is None:
            continue
        metadata: dict[str, dg.RawMetadataValue] = {
            "dagster/row_count": written.rows_written,
            "dagster/uri": written.path,
            **batch_metadata(batch),
        }
        if written.version is not None:
            metadata["delta_version"] = written.version
        yield dg.AssetMaterialization(
            names.target_key(target),
            description=f"batch {batch.key}, attempt {batch.attempt}",
            partition=batch.business_date,
            metadata=metadata,
            tags={"dagster/data_version": f"{batch.batch}-{batch.attempt}"},
        )


def quarantined(
    checked: CheckedPipeline, batch: BatchOutcome, standing: Standing | None
) -> dg.AssetMaterialization | None:
    """The partition of a batch that left records in quarantine, held batches included; None where it left none.

    `standing` is how its entries stand, those of earlier attempts among them.
    """
    if batch.quarantine is None or batch.quarantine.records == 0:
        return None
    by_rule = sorted(batch.quarantined_by_rule.items(), key=lambda pair: (-pair[1], pair[0]))
    return dg.AssetMaterialization(
        names.quarantine_key(checked),
        description=f"{batch.quarantine.records} records of batch {batch.key}",
        partition=batch.key,
        metadata={
            "dagster/row_count": batch.quarantine.records,
            "dagster/uri": batch.quarantine.path,
            "reconciliation": reconciliation(batch),  # shown in this order: what came in, then why some stayed out
            "records_by_rule": dg.TableMetadataValue(
                records=[dg.TableRecord({"rule": rule, "records": count}) for rule, count in by_rule],
                schema=dg.TableSchema([dg.TableColumn("rule", "string"), dg.TableColumn("records", "int")]),
            ),
            **batch_metadata(batch),
            **(standing_metadata(standing, now()) if standing else {}),
        },
    )


def batch_metadata(batch: BatchOutcome) -> dict[str, dg.RawMetadataValue]:
    """Shared by all events of a batch; numbers are plotted over time by the asset's page."""
    counts = batch.counts
    found: dict[str, dg.RawMetadataValue] = {
        "batch": batch.batch,
        "business_date": batch.business_date,
        "attempt": batch.attempt,
        "status": batch.status,
        "reconciliation": reconciliation(batch),
        "reconciles": counts.closes,
        "quarantine_rate": counts.quarantined / counts.in_ if counts.in_ else 0.0,
        "seconds": float(batch.seconds),
        **{f"records_{name}": count for name, count in counts.as_dict().items()},
    }
    if batch.files_late:
        found["files_late"] = batch.files_late
    if batch.reason:
        found["reason"] = batch.reason
    if batch.steps:
        found["steps"] = dg.TableMetadataValue(
            records=[dg.TableRecord({"step": s.step, "in": s.in_, "out": s.out, "why": s.why}) for s in batch.steps],
            schema=dg.TableSchema(
                [dg.TableColumn("step", "string"), *_integers("in", "out"), dg.TableColumn("why", "string")]
            ),
        )
    return found


def reconciliation(batch: BatchOutcome) -> dg.TableMetadataValue:
    """The terms of the equation, a row for each file and one for the batch, and whether each closes."""
    lines = [(file.uri.rpartition("/")[2], file.status, file.counts) for file in batch.files]
    lines.append(("batch", batch.status, batch.counts))
    return dg.TableMetadataValue(
        records=[
            dg.TableRecord({"file": name, "status": status, **counts.as_dict(), "closes": counts.closes})
            for name, status, counts in lines
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn("file", "string"),
                dg.TableColumn("status", "string"),
                *_integers(*_TERMS),
                dg.TableColumn("closes", "bool"),
            ]
        ),
    )


def evaluations(checked: CheckedPipeline, batches: Iterable[BatchOutcome]) -> Iterator[dg.AssetCheckEvaluation]:
    """One a check and business date, over all batches of that date."""
    by_date: dict[str, list[CheckOutcome]] = {}
    for batch in batches:
        by_date.setdefault(batch.business_date, []).extend(batch.checks)
    for day, outcomes in sorted(by_date.items()):
        yield from (evaluation(checked, verdict, day) for verdict in verdicts(checked, outcomes))


def reasons(outcome: PipelineOutcome) -> str:
    """What is held or failed, whichever the pipeline is, and why, for the message that ends the run."""
    lines = [f"{b.key}: {b.reason or 'no reason given'}" for b in outcome.batches if b.status == outcome.status]
    return "; ".join(lines) or outcome.error or "no batch says why"


def _integers(*columns: str) -> list[dg.TableColumn]:
    return [dg.TableColumn(name, "int") for name in columns]
