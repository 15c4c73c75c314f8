"""The lake tables that rules compare with and lookups read, each in the version that the attempt pinned.

    AmbiguousReference      a key occurs twice in a table that is looked up in (permanent)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

from pipeline_xml.checked import CheckedPipeline, TableReference
from processing.frame import BUSINESS_DATE
from processing.key_rules import reference_keys
from processing.read_table import read_table_columns
from publishing.lake import Lake
from publishing.table_input import pinned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# (app, layer, name) and columns -> (an Arrow table of them, number of rows)
Compared: TypeAlias = Callable[[tuple[str, str, str], Sequence[str]], tuple[Any, int]]


def rule_references(lake: Lake, pipeline: CheckedPipeline, versions: Mapping[str, int]) -> dict[str, DataFrame]:
    """By rule, the rows of the lookup or lake table that a foreignKey compares with; without a version, the newest."""
    session = lake.engine.session
    found = {}
    for rule in pipeline.key_rules:
        if rule.reference is not None:
            found[rule.rule.id] = reference_keys(rule, session)
        elif rule.table is not None:
            snapshot = lake.table(rule.table).snapshot(versions.get(".".join(rule.table)))
            files = [(str(snapshot.root / item.path), dict(item.partition)) for item in snapshot.files()]
            found[rule.rule.id] = read_table_columns(session, files, [(c.name, str(c.type)) for c in rule.theirs])
    return found


class AmbiguousReference(Exception):
    """Says of which table and key, and what to do; never a value."""


def lookup_rows(
    lake: Lake, pipeline: CheckedPipeline, versions: Mapping[str, int]
) -> dict[TableReference, DataFrame]:
    """The rows of the lake tables that lookups read, less those without a key. AmbiguousReference."""
    session = lake.engine.session
    found = {}
    for reference in (reference for plan in pipeline.steps for reference in plan.tables):
        version = versions.get(reference.name)
        snapshot = pinned(lake.table(reference.table), reference.name, version)
        files = [(str(snapshot.root / item.path), dict(item.partition)) for item in snapshot.files()]
        types = {field.name: str(field.type) for field in reference.contract.columns}
        rows = read_table_columns(session, files, [(name, types[name]) for name in reference.columns])
        rows = rows.dropna(subset=list(reference.keys))
        if not reference.single and (twice := rows.groupBy(*reference.keys).count().where("count > 1").count()):
            keys = ", ".join(reference.keys)
            raise AmbiguousReference(
                f"{pipeline.key}: {reference.name} is looked up by ({keys}), and {twice} of these keys occur more than "
                f'once in version {snapshot.version}; write it by mode="merge" with these keys, or deduplicate it'
            )
        found[reference] = rows
    return found


def compared_rows(lake: Lake, versions: Mapping[str, int], day: date | None) -> Compared:
    """How a reconcile rule looks at the other table: at its rows of one business date, or at all."""

    def read(table: tuple[str, str, str], columns: Sequence[str]) -> tuple[Any, int]:
        import pyarrow.dataset as ds

        snapshot = lake.table(table).snapshot(versions.get(".".join(table)))
        files = snapshot.files()
        wanted = None
        if day is not None:
            files = [item for item in files if item.may_hold(BUSINESS_DATE, day.isoformat())]
            wanted = ds.field(BUSINESS_DATE) == day
        dataset = snapshot.dataset(files)
        return dataset.to_table(columns=list(columns), filter=wanted), dataset.count_rows(filter=wanted)

    return read
