"""`<flatten source column position onEmpty as><column name path type format/></flatten>`: a row for each item.

`column` holds a list or an object that a contract declares, or texts of JSON: a list, or one item alone. Each
`<column>` takes a part of an item: `path="price.amount"`, by default the column's own name, `path="."` the item itself.
Where a contract declares the list, it says the types, and a part that is a list itself can be flattened next; of a text
`type` says them, string without. The list's own column goes; the others stand on every row.
`position` names a column for the item's number, from 1. A record whose list is null or empty keeps one row without
parts, or with `onEmpty="drop"` none. A record whose text is no JSON, or whose item does not fit its type, is
quarantined as long as records are accounted for; record accounting ends here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, StepContext, StepPlan
from pipeline_xml.contract import Field
from pipeline_xml.model import Step, StepColumn
from pipeline_xml.nested import ITEM, Nested, field_at, paths
from pipeline_xml.problems import nearest
from pipeline_xml.types import INT, KINDS, STRING, DataType, parse_type
from processing.rejects import alive, problem_reasons, reject
from processing.step import Runtime
from processing.transformations.attributes import (
    INCOMPLETE,
    UNKNOWN_COLUMN,
    WRONG_TYPE,
    WRONG_VALUE,
    Attributes,
    derived_from,
)
from processing.unrecorded import without_identity

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from processing.flattened import Part


@dataclass(frozen=True)
class Config:
    """`parts` are (name, path, type, format) of the columns made of an item; `kept` the source's other columns."""

    column: str
    parts: tuple[tuple[str, tuple[str, ...], DataType, str | None], ...]
    kept: tuple[tuple[str, DataType], ...]
    position: str | None
    keep_empty: bool


class Flatten:
    kind = "flatten"
    attributes: Mapping[str, bool] = {"source": True, "column": True, "position": False, "onEmpty": False, "as": False}
    columns = ("name", "path", "type", "format")
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        keep_empty = read.choice("onEmpty", ("keep", "drop"), "keep") == "keep"
        source = read.dataset()
        if not step.columns:
            hint = 'add <column name type/>; path="." is the item itself'
            read.report(INCOMPLETE, "<flatten> names no column", step.where, (), hint)
        if source is None:
            return None
        listed = read.column(read.text("column"), source, read.place("column"), "column", nested=True)
        if listed is not None and listed.type != STRING:
            message = f"<flatten column> needs a list, an object or a text of JSON; {listed.name} is {listed.type}"
            read.report(WRONG_TYPE, message, read.place("column"), ("list", "object", "string"))
        if listed is None:
            return None
        after = [c for c in source.columns if c is not listed]
        kept = tuple((c.name, c.type) for c in after)
        classification, origins = derived_from([listed])
        position = read.text("position") or None
        if position is not None:
            read.new_name(position, (c.name for c in after), read.place("position"))
            after.append(Column(position, INT, keep_empty, "Number of the item in its list", None, origins))
        parts = []
        for column in step.columns:
            read.new_name(column.name, (c.name for c in after), column.place("name"))
            path = column.path or column.name
            keys = () if path == "." else tuple(path.split("."))
            made = Column(column.name, STRING, True, f"{path} of {listed.name}", classification, origins)
            if listed.nested is not None:
                field = _declared(read, column, keys, listed.name, listed.nested)
                if field is None:
                    continue
                made = replace(made, type=field.type, nested=field.nested, classification=field.classification)
                form = field.format
            else:
                kind, form = _type(read, column), column.format
                if kind is None:
                    continue
                made = replace(made, type=kind)
            parts.append((column.name, keys, made.type, form))
            after.append(made)
        plan = read.plan(
            source, after, Config(listed.name, tuple(parts), kept, position, keep_empty), per_record=False, key=()
        )
        return replace(plan, judges_records=True) if plan else None

    def judged(self, plan: StepPlan, rows: DataFrame, runtime: Runtime) -> DataFrame:
        """The records before it, those that cannot be flattened rejected."""
        from pyspark.sql import functions as F
        from pyspark.sql.pandas.functions import arrow_udf

        from processing.flattened import judge

        config: Config = plan.config
        reason = arrow_udf(judge(_parts(config)), "string")(F.col(config.column))  # type: ignore[call-overload]
        judged = rows.withColumn("_flat", F.when(alive(), reason))
        message = f"{config.column} cannot be flattened: it is no JSON, or an item is not of its type"
        return reject(judged, problem_reasons(F.col("_flat"), "flatten", config.column, message)).select(*rows.columns)

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from processing.flattened import flatten, schema_of

        config: Config = plan.config
        rows = frames[plan.inputs[0]].where(alive())
        columns = [(c.name, c.type) for c in plan.output.columns]
        kept = [name for name, _ in config.kept]
        make = flatten(
            config.column, _parts(config), config.position, config.keep_empty, kept, schema_of(columns)
        )
        ddl = ", ".join(f"`{name}` {kind}" for name, kind in columns)
        made = rows.select(config.column, *kept).mapInArrow(make, ddl)
        return without_identity(made, plan.output.names, runtime.business_date)


def _declared(
    read: Attributes, column: StepColumn, keys: tuple[str, ...], name: str, nested: Nested
) -> Field | None:
    """The field of the contract that the path leads to; None after a problem was reported."""
    plain = nested.fields[0].name == ITEM
    field = field_at(nested, (ITEM,) if plain and not keys else keys)
    if not keys and not plain:
        return Field(column.name, STRING, nested=Nested(False, nested.fields), classification=nested.classification())
    if field is None:
        known = (".", *paths(nested)) if not plain else (".",)
        close = nearest(".".join(keys), known)
        message = f"<flatten column path>: there is no '{'.'.join(keys)}' in {name}, which holds {nested}"
        hint = f"Did you mean {close}?" if close else ""
        read.report(UNKNOWN_COLUMN, message, column.place("path" if column.path else "name"), known, hint)
        return None
    for attribute in ("type", "format"):
        if getattr(column, attribute):
            message = f"<flatten column {attribute}>: the contract says what {'.'.join(keys) or name} is: {field.type}"
            read.report(WRONG_VALUE, message, column.place(attribute), (), "leave it out")
    return field


def _parts(config: Config) -> list[Part]:
    from processing.flattened import Part

    return [Part(*each) for each in config.parts]


def _type(read: Attributes, column: StepColumn) -> DataType | None:
    """The column's type, its format checked; None after a problem was reported."""
    try:
        kind = parse_type(column.type or "string")
    except ValueError as error:
        read.report(WRONG_TYPE, f"<flatten column type>: {error}", column.place("type"), KINDS)
        return None
    if column.format is None:
        return kind
    if kind.kind not in ("date", "timestamp"):
        message = f"<flatten column format> reads dates and timestamps; {column.name} is {kind}"
        read.report(WRONG_VALUE, message, column.place("format"), ("date", "timestamp"))
        return None
    from processing.validate_dates import layout_of

    try:
        layout_of(column.format)
    except ValueError as error:
        message = f"<flatten column format>: {str(error).removeprefix('x-format ')}"
        read.report(WRONG_VALUE, message, column.place("format"))
    return kind


TRANSFORMATION = Flatten()
