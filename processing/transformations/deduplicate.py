"""`<deduplicate source keys keep orderBy losers/>`: of the records of one batch that share a key, one stays.

`first` and `last` go by arrival: file, then record number. `latest` has the greatest `orderBy` (by default the
contract's x-orderBy; nulls are lowest), ties by arrival, so the survivor is always the same. Losers are counted as
deduplicated, or quarantined with `losers="quarantine"`. A record with a null in its key is never a duplicate. Rows that
are no records any more have not arrived: of them `latest` can be kept, ties by all of their values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, Dataset, StepContext, StepPlan
from pipeline_xml.model import Step
from processing import frame as names
from processing.rejects import Reason, alive, reject, set_aside
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, NO_KEY, WRONG_VALUE, Attributes

if TYPE_CHECKING:
    from pyspark.sql import Column as Expr
    from pyspark.sql import DataFrame

KEEP = ("first", "last", "latest")
LOSERS = ("drop", "quarantine")
FEW = 100_000  # record ids that may pass through this process, a few MB
_LOST = "_lost"


@dataclass(frozen=True)
class Config:
    """`doubles` are those of the keys that are of type double. `by_record`: the rows are records."""

    keys: tuple[str, ...]
    keep: str
    order_by: tuple[str, ...]
    losers: str
    doubles: frozenset[str] = frozenset()
    by_record: bool = True


class Deduplicate:
    kind = "deduplicate"
    attributes: Mapping[str, bool] = {
        "source": True, "keys": True, "keep": False, "orderBy": False, "losers": False, "as": False,
    }  # fmt: skip
    several_passes = True
    compares_records = True

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        keep = read.choice("keep", KEEP, "first")
        losers = read.choice("losers", LOSERS, "drop")
        source = read.dataset()
        if source is None:
            return None
        keys = read.columns("keys", source)
        if not keys and not read.failed:
            read.report(INCOMPLETE, "<deduplicate keys> names no column", read.place("keys"), source.names)
        if not source.per_record and (keep != "latest" or losers == "quarantine"):
            what = "keep" if keep != "latest" else "losers"
            message = f"<deduplicate {what}>: rows of '{source.name}' are no records, that arrive or can be quarantined"
            hint = 'say keep="latest" orderBy="…", and drop the losers'
            read.report(WRONG_VALUE, message, read.place(what), (), hint)
        order = self._order(read, source, context) if keep == "latest" else ()
        doubles = frozenset(c.name for c in keys if c.type.kind == "double")
        by = tuple(c.name for c in order)
        config = Config(tuple(c.name for c in keys), keep, by, losers, doubles, source.per_record)
        return read.plan(source, source.columns, config, key=config.keys)

    def _order(self, read: Attributes, source: Dataset, context: StepContext) -> tuple[Column, ...]:
        if read.text("orderBy"):
            return read.columns("orderBy", source)
        contract = context.contracts.get(source.driving)
        order = tuple(c for name in (contract.order_by if contract else ()) if (c := source.column(name)))
        if not order:
            message = '<deduplicate keep="latest"> needs an order, and the contract has no x-orderBy'
            hint = 'name the columns with orderBy="…", or put x-orderBy into the contract'
            read.report(NO_KEY, message, read.place("keep"), source.names, hint)
        return order

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        config: Config = plan.config
        rows = frames[plan.inputs[0]]
        if not config.by_record:
            return _of_groups(rows, config, plan.output.names)
        found = _losers(rows, config)
        few = found.limit(FEW + 1).toArrow()
        if few.num_rows == 0:
            return rows
        if few.num_rows <= FEW:
            # known before the join is planned: both engines then send the ids around, not the wide rows
            found = runtime.session.createDataFrame(few)
        marked = rows.join(found, names.RECORD_ID, "left")
        lost = _is_lost()
        if config.losers == "quarantine":
            keys = ",".join(config.keys)
            message = f"another record of this batch has the same key; kept is the {config.keep}"
            marked = reject(marked, [Reason(alive() & lost, "deduplicate", keys, "duplicate", message)])
        else:
            marked = set_aside(marked, lost, names.DEDUPLICATED)
        return marked.select(*rows.columns)


def _of_groups(rows: DataFrame, config: Config, columns: Sequence[str]) -> DataFrame:
    """Rows without an identity are ranked as they are, by the order, then by all of their values: always the same."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    complete = reduce(and_, (F.col(key).isNotNull() for key in config.keys), alive())
    keys = [_comparable(key, key in config.doubles) for key in config.keys]
    best = [F.col(name).desc_nulls_last() for name in dict.fromkeys((*config.order_by, *columns))]
    lost = F.row_number().over(Window.partitionBy(*keys).orderBy(*best)) > 1
    ranked = set_aside(rows.where(complete).withColumn(_LOST, lost), F.col(_LOST), names.DEDUPLICATED)
    return ranked.select(*rows.columns).unionByName(rows.where(~complete))


def _is_lost() -> Expr:
    from pyspark.sql import functions as F

    return F.col(_LOST).isNotNull()


def _losers(rows: DataFrame, config: Config) -> DataFrame:
    """Record ids to set aside. Only records whose key occurs more than once are ranked: a rank over all rows sorts
    the whole batch (17 s against 11 s for 5 million rows), a count per key does not."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    complete = alive()
    for key in config.keys:
        complete = complete & F.col(key).isNotNull()
    keyed = {f"_key{i}": _comparable(key, key in config.doubles) for i, key in enumerate(config.keys)}
    keys = list(keyed)
    order = {f"_by{i}": F.col(name) for i, name in enumerate(config.order_by)}
    narrow = rows.filter(complete).select(
        *(c.alias(n) for n, c in {**keyed, **order}.items()), names.ARRIVAL, names.SOURCE_RECORD, names.RECORD_ID
    )
    repeated = narrow.groupBy(*keys).agg(F.count(F.lit(1)).alias("_times")).filter(F.col("_times") > 1).select(*keys)
    arrived = [*order, names.ARRIVAL, names.SOURCE_RECORD, names.RECORD_ID]
    if config.keep == "first":
        best = [F.col(c).asc_nulls_first() for c in arrived]
    else:
        best = [F.col(c).desc_nulls_last() for c in arrived]
    ranked = narrow.join(repeated, keys, "left_semi").withColumn(
        "_rank", F.row_number().over(Window.partitionBy(*keys).orderBy(*best))
    )
    return ranked.filter(F.col("_rank") > 1).select(names.RECORD_ID, F.lit(True).alias(_LOST))


def _comparable(key: str, double: bool) -> Expr:
    """A key as every engine compares it: for Spark 0.0 and -0.0 are one key, for Sail two."""
    from pyspark.sql import functions as F

    column = F.col(key)
    return F.when(column == F.lit(0.0), F.lit(0.0)).otherwise(column) if double else column


TRANSFORMATION = Deduplicate()
