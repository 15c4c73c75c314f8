"""`<filter source condition onReject="quarantine | drop"/>`: keeps the records whose condition is true.

A record whose condition is false or null is rejected: quarantined with a reason, or with `drop` counted as filtered.
A condition that cannot be computed always quarantines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_xml.checked import StepContext, StepPlan
from pipeline_xml.expressions import Expression
from pipeline_xml.model import Step
from pipeline_xml.types import BOOLEAN
from processing import frame as names
from processing.emit import emit
from processing.rejects import Reason, alive, problem_reasons, reject, set_aside
from processing.step import Runtime
from processing.transformations.attributes import WRONG_TYPE, Attributes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Config:
    condition: Expression
    on_reject: str


class Filter:
    kind = "filter"
    attributes: Mapping[str, bool] = {"source": True, "condition": True, "onReject": False, "as": False}
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        on_reject = read.choice("onReject", ("quarantine", "drop"), "quarantine")
        source = read.dataset()
        if source is None:
            return None
        condition = context.expression(read.text("condition"), source.scope, read.place("condition"))
        if condition is None:
            return None
        if condition.type != BOOLEAN:
            message = f"<filter condition> is {condition.type}; it must be true or false"
            read.report(WRONG_TYPE, message, read.place("condition"), (), "compare it with something")
        return read.plan(source, source.columns, Config(condition, on_reject))

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F

        config: Config = plan.config
        rows = frames[plan.inputs[0]]
        emitted = emit(config.condition, lambda _dataset, name: F.col(name), runtime.bindings())
        columns = ",".join(sorted(config.condition.columns))
        text = config.condition.text
        if emitted.problem is not None:
            message = f"the condition cannot be computed: {text}"
            rows = reject(rows, problem_reasons(emitted.problem, "filter", columns, message))
        kept = F.coalesce(emitted.value, F.lit(False))
        if config.on_reject == "drop":
            return set_aside(rows, ~kept, names.FILTERED)
        return reject(rows, [Reason(alive() & ~kept, "filter", columns, "filter", f"not kept by: {text}")])


TRANSFORMATION = Filter()
