"""The contract of a lake table, from the pipeline that writes it: what a reader of the table may rely on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.contract import Contract, Field
from pipeline_xml.lake_tables import Table
from pipeline_xml.model import HiveTarget


@dataclass(frozen=True, slots=True)
class WrittenTable:
    """Columns as they are written (codes beside values are plain columns), with the keys of the target."""

    contract: Contract
    mode: Literal["append", "overwrite", "merge"]


def written_tables(pipeline: CheckedPipeline) -> Iterable[tuple[Table, WrittenTable]]:
    """The lake tables of a pipeline with their contracts."""
    for target in pipeline.targets:
        if isinstance(target.target, HiveTarget):
            yield target.asset, WrittenTable(_contract(pipeline, target), target.target.mode)


def _contract(pipeline: CheckedPipeline, target: CheckedTarget) -> Contract:
    fields = tuple(
        Field(c.name, c.type, c.nullable, c.description, classification=c.classification, by_record=c.by_record)
        for c in target.dataset.columns
    )
    given = target.contract
    return Contract(
        name=".".join(target.asset),
        fields=fields,
        where=target.target.where,
        primary_key=target.keys,
        order_by=target.order_by,
        version=given.version if given else pipeline.pipeline.version,
        description=given.description if given else pipeline.pipeline.metadata.description,
        owner=given.owner if given else pipeline.pipeline.metadata.owner,
    )
