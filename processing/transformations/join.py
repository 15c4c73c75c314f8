"""`<join left right type condition rightPrefix as/>`: the columns of two datasets, where a condition holds.

    inner   left rows that find something; a record that finds nothing is counted as filtered
    left    every left row, with nulls where it finds nothing
    semi    left rows that find something, without the right's columns     anti    those that find nothing
    right   every right row                                                full    every row of both

The condition has at least one `left.column = right.column`; a null equals nothing. Equal columns of one name become
one, the other columns of the right side that share a name need `rightPrefix`, which then stands before all of them.
Record accounting goes on through inner, left, semi and anti while no two right rows can answer one left row: the right
side is a merged table, deduplicated, or an aggregate, joined on its whole key. Otherwise it ends here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, Dataset, StepContext, StepPlan
from pipeline_xml.expressions import Expression
from pipeline_xml.model import Step
from processing import frame as names
from processing.emit import emit
from processing.rejects import alive, set_aside
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, NAME_TAKEN, WRONG_VALUE, Attributes, derived_from
from processing.transformations.join_keys import Keys, join_keys
from processing.unrecorded import without_identity

if TYPE_CHECKING:
    from pyspark.sql import Column as Expr
    from pyspark.sql import DataFrame

TYPES = ("inner", "left", "right", "full", "semi", "anti")
_ENGINE = {"semi": "left_semi", "anti": "left_anti"}
_RIGHT = "_right_"


@dataclass(frozen=True)
class Config:
    """`pairs` are equal columns, left and right. `added` are right columns and their names in the output.

    `merged` are keys of one name that became one column. `by_record`: the left rows stay the records they are.
    """

    type: str
    condition: Expression
    pairs: tuple[tuple[str, str], ...]
    added: tuple[tuple[str, str], ...]
    merged: tuple[str, ...]
    by_record: bool


class Join:
    kind = "join"
    attributes: Mapping[str, bool] = {
        "left": True, "right": True, "type": False, "condition": True, "rightPrefix": False, "as": False,
    }  # fmt: skip
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        kind = read.choice("type", TYPES, "inner")
        left, right = read.dataset("left"), read.dataset("right")
        if left is None or right is None:
            return None
        if left.name == right.name:
            message = f"<join> of '{left.name}' with itself"
            read.report(WRONG_VALUE, message, read.place("right"), (), 'make one of them by a step with as="…"')
            return None
        keys = join_keys(read, left, right)
        if keys is None:
            return None
        columns, added, merged = _columns(read, kind, left, right, keys)
        beside = right.driving != left.driving
        single = beside and bool(right.key) and set(right.key) <= {r for _, r in keys.pairs}
        if kind in _ENGINE and not single and keys.more:
            message = f"<join type=\"{kind}\"> compares more than keys, and '{right.name}' may answer several times"
            hint = f"deduplicate '{right.name}' by its key before"
            read.report(INCOMPLETE, message, read.place("condition"), (), hint)
        once = single or (beside and kind in _ENGINE)
        same = once and kind not in ("right", "full")
        config = Config(kind, keys.condition, keys.pairs, added, merged, left.per_record and same)
        plan = read.plan(left, columns, config, per_record=None if same else False, key=None if same else ())
        return replace(plan, inputs=(left.name, right.name)) if plan else None

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F

        config: Config = plan.config
        rows = frames[plan.inputs[0]]
        found = frames[plan.inputs[1]].where(alive())
        asked = _right_columns(config, plan.inputs[1])
        table = found.select(*(F.col(name).alias(_RIGHT + name) for name in asked))
        if config.type in _ENGINE:
            table = table.distinct()
        condition = F.coalesce(emit(config.condition, _column(plan.inputs[1]), runtime.bindings()).value, F.lit(False))
        right = {name: F.col(_RIGHT + old) for old, name in config.added}
        if not config.by_record:
            joined = rows.where(alive()).join(table, condition, _ENGINE.get(config.type, config.type))
            for name in config.merged if config.type in ("right", "full") else ():
                right[name] = F.coalesce(F.col(name), F.col(_RIGHT + name))
            columns = [right.get(name, F.col(name)).alias(name) for name in plan.output.names]
            return without_identity(joined, columns, runtime.business_date)
        joined = rows.join(table, condition, "left")
        # a column that equals something is never null: where it is, nothing was found
        nothing = F.col(_RIGHT + config.pairs[0][1]).isNull()
        if config.type in ("inner", "semi"):
            joined = set_aside(joined, nothing, names.FILTERED)
        elif config.type == "anti":
            joined = set_aside(joined, ~nothing, names.FILTERED)
        carried = [name for name in rows.columns if name not in plan.output.names]
        return joined.select(*(right.get(n, F.col(n)).alias(n) for n in plan.output.names), *carried)


def _columns(
    read: Attributes, kind: str, left: Dataset, right: Dataset, keys: Keys
) -> tuple[tuple[Column, ...], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The output's columns, what the right side adds under which names, and the keys that became one column."""
    merged = tuple(here for here, there in keys.pairs if here == there)
    if kind in _ENGINE:
        return left.columns, (), ()
    prefix = read.text("rightPrefix")
    after = [replace(c, nullable=c.nullable or kind in ("right", "full")) for c in left.columns]
    for name in merged if kind in ("right", "full") else ():
        here, there = left.column(name), right.column(name)
        if here and there:
            classification, origins = derived_from((here, there))
            both = replace(here, nullable=True, classification=classification, origins=origins)
            after = [both if c.name == name else c for c in after]
    added = []
    for column in right.columns:
        if column.name in merged:
            continue
        name = f"{prefix}{column.name}"
        if name.lower() in {n.lower() for n in left.names} and not prefix:
            message = f"both sides of <join> have a column '{column.name}'"
            hint = f'write rightPrefix="{right.name}_", or leave one out with <select>'
            read.report(NAME_TAKEN, message, read.place("right"), (), hint)
            continue
        read.new_name(name, (c.name for c in after), read.place("rightPrefix"), "choose another prefix")
        after.append(replace(column, name=name, nullable=column.nullable or kind in ("left", "full")))
        added.append((column.name, name))
    return tuple(after), tuple(added), merged


def _right_columns(config: Config, right: str) -> tuple[str, ...]:
    """What is needed of the right side: its share of the condition, and of the output."""
    compared = (c.removeprefix(f"{right}.") for c in sorted(config.condition.columns) if c.startswith(f"{right}."))
    return tuple(dict.fromkeys([*compared, *(old for old, _ in config.added)]))


def _column(right: str):  # type: ignore[no-untyped-def]  # Callable[[str, str], Expr], and pyspark is not loaded here
    from pyspark.sql import functions as F

    def column(dataset: str, name: str) -> Expr:
        return F.col(_RIGHT + name if dataset == right else name)

    return column


TRANSFORMATION = Join()
