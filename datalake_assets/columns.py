"""A target's columns as Dagster shows them: types, constraints, classification, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from datalake_assets import names
from pipeline_xml.checked import CheckedPipeline, CheckedTarget, Column
from pipeline_xml.contract import Constraints, Field
from pipeline_xml.model import HiveTarget
from processing import frame

_SYSTEM = (
    (frame.RECORD_ID, "string", "Identity of the record; survives retries, replays and recomputation"),
    (frame.BUSINESS_DATE, "date", "Last day of the period the record belongs to"),
    (frame.SENDER, "string", "Sender named by the landing pattern"),
    (frame.ARRIVAL, "bigint", "Sequence number of the file"),
    (frame.SOURCE_FILE, "string", "Name of the file in its landing zone"),
    (frame.SOURCE_RECORD, "bigint", "Number of the record in its file, from 1"),
    (frame.BATCH_ID, "string", "Batch that published the row"),
    (frame.INGESTED_AT, "timestamp", "When the attempt that published the row was opened"),
    (frame.INGEST_DATE, "date", "UTC date of the attempt"),
)


def column_schema(checked: CheckedPipeline, target: CheckedTarget) -> dg.TableSchema:
    """The columns in the table's order; a lake table's own are followed by those that every row carries."""
    fields = _enforced_fields(checked, target)
    columns = [_column(column, fields.get(column.name), target) for column in target.dataset.columns]
    if isinstance(target.target, HiveTarget):
        taken = set(target.dataset.names)
        columns += [
            dg.TableColumn(name, kind, description=text, tags={"system": ""})
            for name, kind, text in _SYSTEM
            if name not in taken
        ]
    return dg.TableSchema(columns=columns)


def column_lineage(checked: CheckedPipeline, target: CheckedTarget) -> dg.TableColumnLineage:
    """Each column to the columns of upstream tables, landing zones and lookups that it is computed from."""
    keys = {s.source.id: names.source_key(checked.pipeline.app, s) for s in checked.sources}
    keys |= {r.id: names.reference_key(r) for step in checked.steps for r in step.references if r.id not in keys}
    keys |= {r.id: dg.AssetKey(list(r.table)) for step in checked.steps for r in step.tables}
    deps = {
        column.name: [
            dg.TableColumnDep(asset_key=keys[source], column_name=origin)
            for source, origin in sorted(column.origins)
            if source in keys
        ]
        for column in target.dataset.columns
    }
    return dg.TableColumnLineage({name: found for name, found in deps.items() if found})


def lineage_table(checked: CheckedPipeline, target: CheckedTarget) -> dg.TableMetadataValue:
    """The same for people: Dagster's open source page draws no lineage of columns, and shows the above as JSON."""
    lineage = column_lineage(checked, target)
    return dg.TableMetadataValue(
        records=[
            dg.TableRecord({"column": name, "from": f"{dep.asset_key.to_user_string()}.{dep.column_name}"})
            for name, deps in lineage.deps_by_column.items()
            for dep in deps
        ],
        schema=dg.TableSchema([dg.TableColumn("column", "string"), dg.TableColumn("from", "string")]),
    )


def _column(column: Column, field: Field | None, target: CheckedTarget) -> dg.TableColumn:
    tags = {"classification": names.tag_text(column.classification)} if column.classification else {}
    return dg.TableColumn(
        name=column.name,
        type=str(column.type),
        description=column.description or (field.description if field else None) or None,
        constraints=dg.TableColumnConstraints(
            nullable=column.nullable,
            unique=target.target.mode == "merge" and target.keys == (column.name,),
            other=_texts(field.constraints) if field else [],
        ),
        tags=tags,
    )


def _texts(constraints: Constraints) -> list[str]:
    out = [f"one of {', '.join(constraints.enum)}"] if constraints.enum else []
    if constraints.pattern is not None:
        out.append(f"matches {constraints.pattern}")
    bounds = (
        (">=", constraints.minimum),
        ("<=", constraints.maximum),
        (">", constraints.exclusive_minimum),
        ("<", constraints.exclusive_maximum),
        ("length >=", constraints.min_length),
        ("length <=", constraints.max_length),
    )
    return out + [f"{word} {value}" for word, value in bounds if value is not None]


def _enforced_fields(checked: CheckedPipeline, target: CheckedTarget) -> Mapping[str, Field]:
    """The contract fields whose constraints hold in the target: its own, else the source's for columns left alone.

    Constraints are enforced on the driving source before the first step, so a column that any step names in an
    attribute or computes anew may no longer keep them and is shown without.
    """
    if target.contract:
        return {field.name: field for field in target.contract.columns}
    driving = checked.driving
    touched = {c.name for plan in checked.steps for c in plan.step.columns}
    for plan in checked.steps:
        if plan.kind != "deduplicate":  # drops rows, changes no value
            touched |= {n.strip() for text in plan.step.attributes.values() for n in text.split(",")}
    columns = {c.name: c for c in target.dataset.columns}
    return {
        field.name: field
        for field in driving.contract.columns
        if field.name not in touched
        and (column := columns.get(field.name)) is not None
        and column.type == field.type
        and column.origins == {(driving.source.id, field.name)}
    }
