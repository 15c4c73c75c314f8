"""`<lookup source reference outputFields joinType on onMissing/>`: columns of a reference table by key.

The reference is a file of the lookups folders, or a lake table `layer.table`, of which an attempt pins the version. Its
key is its x-primaryKey (of a table the keys that it is merged by) against same-named columns, or `on="country=code, …"`
(column=reference column); a key that is there twice is an error. A record that finds nothing, or has a null in its key,
gets nulls; with `onMissing="quarantine"` it is quarantined, with `joinType="inner"` filtered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, Dataset, Reference, StepContext, StepPlan, TableReference
from pipeline_xml.contract import Field
from pipeline_xml.model import Step
from pipeline_xml.place import items
from pipeline_xml.problems import nearest
from processing import frame as names
from processing.rejects import Reason, alive, reject, set_aside
from processing.step import Runtime
from processing.transformations.attributes import (
    BY_RECORD,
    BY_VALUE,
    INCOMPLETE,
    NO_KEY,
    UNKNOWN_COLUMN,
    WRONG_TYPE,
    WRONG_VALUE,
    Attributes,
    from_reference,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Config:
    """`on` are pairs of column and reference column; `missing` is null, quarantine or filter."""

    on: tuple[tuple[str, str], ...]
    output_fields: tuple[str, ...]
    missing: str


class Lookup:
    kind = "lookup"
    attributes: Mapping[str, bool] = {
        "source": True, "reference": True, "outputFields": True, "joinType": False, "on": False, "onMissing": False,
        "as": False,
    }  # fmt: skip
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        join_type = read.choice("joinType", ("left", "inner"), "left")
        missing = read.choice("onMissing", ("null", "quarantine"), "null")
        if join_type == "inner" and "onMissing" in step.attributes:
            message = '<lookup onMissing> says what joinType="inner" decides: a record that finds nothing is filtered'
            read.report(WRONG_VALUE, message, read.place("onMissing"), (), 'leave one of them out')
        source = read.dataset()
        reference = context.reference(read.text("reference"), read.place("reference"))
        if source is None or reference is None:
            return None
        fields = {field.name: field for field in reference.contract.columns}
        on = self._on(read, source, reference, fields)
        found = join_type == "inner" or missing == "quarantine"
        added = self._added(read, source, reference, fields, found)
        config = Config(on, tuple(c.name for c in added), "filter" if join_type == "inner" else missing)
        plan = read.plan(source, (*source.columns, *added), config)
        if plan is None:
            return None
        if isinstance(reference, Reference):
            return replace(plan, references=(reference,))
        keys = tuple(right for _, right in on)
        columns = tuple(dict.fromkeys((*keys, *config.output_fields)))
        return replace(plan, tables=(replace(reference, keys=keys, columns=columns),))

    def _on(
        self, read: Attributes, source: Dataset, reference: Reference | TableReference, fields: Mapping[str, Field]
    ) -> tuple[tuple[str, str], ...]:
        keys = reference.contract.primary_key
        if not read.text("on"):
            if not keys:
                message = f"reference '{reference.id}' has no x-primaryKey: <lookup> needs to know what to look up by"
                read.report(NO_KEY, message, read.place("reference"), tuple(fields), 'say on="column=reference column"')
            missing = [key for key in keys if source.column(key) is None]
            if missing:
                message = f"'{source.name}' has no column {', '.join(missing)}, the x-primaryKey of '{reference.id}'"
                read.report(NO_KEY, message, read.place("reference"), source.names, 'say on="column=reference column"')
            pairs = [(key, key, read.place("reference")) for key in keys if key not in missing]
        else:
            pairs = []
            for left, right, where in read.pairs("on", "column=reference column"):
                if right not in fields:
                    close = nearest(right, fields)
                    message = f"unknown column '{right}' of reference '{reference.id}' in <lookup on>"
                    hint = f"Did you mean {close}?" if close else ""
                    read.report(UNKNOWN_COLUMN, message, where, tuple(fields), hint)
                elif read.column(left, source, where, "on"):
                    pairs.append((left, right, where))
        for left, right, where in pairs:
            column, field = source.column(left), fields[right]
            if column and column.by_record:
                read.report(WRONG_TYPE, f"<lookup>: '{left}' {BY_RECORD}", where, (), BY_VALUE)
                continue
            if column and (column.nested or not _comparable(column, field)):
                kind = column.nested or column.type
                message = f"<lookup> compares {left} ({kind}) with {reference.id}.{right} ({field.type})"
                read.report(WRONG_TYPE, message, where, (), "cast one of them so that the types are equal")
        return tuple((left, right) for left, right, _ in pairs)

    def _added(
        self,
        read: Attributes,
        source: Dataset,
        reference: Reference | TableReference,
        fields: Mapping[str, Field],
        found: bool,
    ) -> tuple[Column, ...]:
        added: list[Column] = []
        wanted = items(read.text("outputFields"))
        if not wanted:
            read.report(INCOMPLETE, "<lookup outputFields> names no column", read.place("outputFields"), tuple(fields))
        for name in wanted:
            where = read.place("outputFields", name)
            field = fields.get(name)
            if field is None:
                close = nearest(name, fields)
                message = f"unknown column '{name}' of reference '{reference.id}' in <lookup outputFields>"
                hint = f"Did you mean {close}?" if close else ""
                read.report(UNKNOWN_COLUMN, message, where, tuple(fields), hint)
                continue
            taken = (*source.names, *(c.name for c in added))
            read.new_name(name, taken, where, "rename or leave out one of the two columns")
            added.append(from_reference(field, reference.id, name, field.nullable or not found))
        return tuple(added)

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F

        from processing.references import read_reference

        config: Config = plan.config
        reference: Reference | TableReference = plan.references[0] if plan.references else plan.tables[0]
        rows = frames[plan.inputs[0]]
        keys = {f"_ref{i}": right for i, (_, right) in enumerate(config.on)}
        if isinstance(reference, Reference):
            found = F.broadcast(read_reference(reference, runtime.session, tuple(keys.values())))
        else:
            found = runtime.tables[reference]
        table = found.select(
            *(F.col(right).alias(name) for name, right in keys.items()),
            *(F.col(name) for name in config.output_fields),
        )
        condition = F.lit(True)
        for (left, _), name in zip(config.on, keys, strict=True):
            condition = condition & (rows[left] == table[name])
        joined = rows.join(table, condition, "left")
        # a key column that equals something is never null: where it is, nothing was found
        nothing = F.col("_ref0").isNull()
        if config.missing == "filter":
            joined = set_aside(joined, nothing, names.FILTERED)
        elif config.missing == "quarantine":
            columns = ",".join(left for left, _ in config.on)
            message = f"nothing in the reference table '{reference.id}' has this key"
            rule = f"lookup.{reference.id}"
            joined = reject(joined, [Reason(alive() & nothing, rule, columns, "missing_reference", message)])
        added = [name for name in rows.columns if name not in plan.output.names]
        return joined.select(*plan.output.names, *added)


def _comparable(column: Column, field: Field) -> bool:
    whole = ("int", "bigint")
    return column.type == field.type or (column.type.kind in whole and field.type.kind in whole)


TRANSFORMATION = Lookup()
