"""From the checked model to Dagster's specs. Pure functions: nothing is read, connected or decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from datalake_assets import names
from datalake_assets.columns import column_lineage, column_schema, lineage_table
from datalake_assets.freshness import freshness_policy
from datalake_assets.previews import previews_accepted
from pipeline_xml.checked import Catalog, CheckedPipeline, CheckedSource, CheckedTarget
from pipeline_xml.location import Location
from pipeline_xml.model import FileSource, Grain, HiveTarget, LandingZone

Grains = Mapping[tuple[str, str, str], Grain]  # grain of each lake table that the loaded applications write


def grains(catalog: Catalog) -> Grains:
    return {
        target.asset: checked.pipeline.metadata.grain
        for application in catalog.applications
        for checked in application.pipelines
        for target in checked.targets
    }


def target_specs(root: Path, checked: CheckedPipeline, known: Grains) -> list[dg.AssetSpec]:
    """An asset for each target. `skippable`, so that the checks can also run alone on what is published."""
    metadata = checked.pipeline.metadata
    return [
        dg.AssetSpec(
            key=names.target_key(target),
            deps=list(_deps(checked, known)),
            skippable=True,
            group_name=group(metadata.app_name, checked.pipeline.layer),
            description=metadata.description or None,
            owners=names.owners(metadata.owner),
            kinds={_target_kind(target), *(names.tag_text(kind) for kind in metadata.kinds)},
            tags=tags(checked),
            metadata=target_metadata(root, checked, target),
            freshness_policy=freshness_policy(metadata),
            partitions_def=names.business_dates(metadata.grain),
        )
        for target in checked.targets
    ]


def group(app: str, room: str) -> str:
    return names.identifier(f"{app}__{room}")


def tags(checked: CheckedPipeline) -> dict[str, str]:
    pipeline = checked.pipeline
    found = {
        "application": names.tag_text(pipeline.app),
        "layer": pipeline.layer,
        "pipeline": names.tag_text(pipeline.id),
        "grain": pipeline.metadata.grain,
    }
    if pipeline.metadata.product_processor:
        found["product_processor"] = names.tag_text(pipeline.metadata.product_processor)
    return found | {names.tag_text(tag): "" for tag in pipeline.metadata.tags if names.tag_text(tag)}


def target_metadata(root: Path, checked: CheckedPipeline, target: CheckedTarget) -> dict[str, Any]:
    pipeline, metadata = checked.pipeline, checked.pipeline.metadata
    found: dict[str, Any] = {
        "dagster/column_schema": column_schema(checked, target),
        "dagster/column_lineage": column_lineage(checked, target),
        "column_lineage": lineage_table(checked, target),
        "dagster/code_references": code_reference(root, pipeline.where, target.target.where),
        "dagster/table_name": ".".join(target.asset),
        "pipeline": checked.key,
        "version": pipeline.version,
        "mode": target.target.mode,
        "definition_hash": checked.definition_hash,
        "rule_hash": checked.rule_hash,
        "time_zone": metadata.time_zone,
    }
    optional = {"sla": metadata.sla, "schedule": metadata.schedule, "calendar": metadata.calendar}
    return found | {name: value for name, value in optional.items() if value}


@previews_accepted()
def code_reference(root: Path, *places: Location) -> dg.CodeReferencesMetadataValue:
    """Links to the lines of the definition; Dagster's page opens them in an editor."""
    return dg.CodeReferencesMetadataValue(
        code_references=[
            dg.LocalFileCodeReference(
                file_path=str(root / place.file), line_number=place.line, label=f"{place.file}:{place.line}"
            )
            for place in dict.fromkeys(places)
        ]
    )


def quarantine_spec(root: Path, checked: CheckedPipeline) -> dg.AssetSpec:
    """Where the rejected records of a pipeline stand: external, because its runs log it as they reject."""
    pipeline = checked.pipeline
    return dg.AssetSpec(
        key=names.quarantine_key(checked),
        deps=[names.source_key(pipeline.app, source) for source in checked.sources],
        group_name=group(pipeline.app, "exceptions"),
        description=f"Records that {checked.key} rejected, a partition for each batch, with every reason of each.",
        owners=names.owners(pipeline.metadata.owner),
        kinds={"delta", "quarantine"},
        tags=tags(checked),
        partitions_def=names.quarantine_partitions(checked),
        metadata={
            "dagster/code_references": code_reference(root, pipeline.error_policy.where),
            **({"remediation_sla": sla} if (sla := pipeline.error_policy.remediation_sla) else {}),
        },
    )


def outside_specs(catalog: Catalog) -> list[dg.AssetSpec]:
    """External assets: landing zones, lookups, and lake tables of applications that are not loaded here."""
    written, found = set(grains(catalog)), dict[dg.AssetKey, dg.AssetSpec]()
    for application in catalog.applications:
        for zone in application.zones:
            found[dg.AssetKey([zone.app, "landing", zone.id])] = _zone_spec(catalog.root, zone)
        for checked in application.pipelines:
            for source in checked.sources:
                if source.upstream not in written:
                    key = names.source_key(application.name, source)
                    found.setdefault(key, _source_spec(catalog.root, key, source))
            for reference in checked.references:
                found.setdefault(
                    names.reference_key(reference),
                    dg.AssetSpec(
                        names.reference_key(reference),
                        group_name="lookups",
                        description=reference.contract.description or None,
                        kinds={"csv"},
                        owners=names.owners(reference.contract.owner),
                        metadata={"content_hash": reference.content_hash, "version": reference.contract.version},
                    ),
                )
    return list(found.values())


def _zone_spec(root: Path, zone: LandingZone) -> dg.AssetSpec:
    return dg.AssetSpec(
        dg.AssetKey([zone.app, "landing", zone.id]),
        group_name=group(zone.app, "landing"),
        description=f"Landing zone {zone.id}: files as they arrive, before anything is read.",
        kinds={"folder" if zone.type == "local" else zone.type},
        tags={"application": names.tag_text(zone.app)},
        metadata={"uri": zone.uri, "poll": zone.poll, "dagster/code_references": code_reference(root, zone.where)},
    )


def _source_spec(root: Path, key: dg.AssetKey, source: CheckedSource) -> dg.AssetSpec:
    app, room, name = key.path
    path = source.source.path if isinstance(source.source, FileSource) else None
    return dg.AssetSpec(
        key,
        group_name=group(app, room),
        description=source.contract.description or f"{name}, which this code location reads and does not write.",
        kinds={names.source_kind(source)},
        owners=names.owners(source.contract.owner),
        metadata={
            "dagster/code_references": code_reference(root, source.contract.where),
            **({"path": path} if path else {}),
        },
    )


def _deps(checked: CheckedPipeline, known: Grains) -> Iterator[dg.AssetDep]:
    """Every source and lookup, and the tables that lookups read and rules compare with.

    Between grains a period has no single counterpart, so all of them are upstream.
    """
    grain = checked.pipeline.metadata.grain
    seen: set[dg.AssetKey] = set()
    for source in checked.sources:
        key = names.source_key(checked.pipeline.app, source)
        other = known.get(source.upstream) if source.upstream else None
        if key not in seen:
            seen.add(key)
            mapping = dg.AllPartitionMapping() if other not in (None, grain) else None
            yield dg.AssetDep(key, partition_mapping=mapping)
    for key in _reference_keys(checked):
        if key not in seen:
            seen.add(key)
            yield dg.AssetDep(key)
    for key in (dg.AssetKey(list(table)) for table in checked.looked_up):
        if key not in seen:
            seen.add(key)
            yield dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())


def _reference_keys(checked: CheckedPipeline) -> Iterable[dg.AssetKey]:
    return (names.reference_key(reference) for reference in checked.references)


def _target_kind(target: CheckedTarget) -> str:
    return target.target.format if isinstance(target.target, HiveTarget) else target.target.kind
