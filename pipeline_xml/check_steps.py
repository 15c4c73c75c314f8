"""Steps: each transformation checks itself through the registry; here are the names around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline_xml.check_compared import lake_table
from pipeline_xml.checked import Dataset, Reference, TableReference
from pipeline_xml.contract import Contract
from pipeline_xml.expressions import Expression
from pipeline_xml.expressions.compile import compile_expression
from pipeline_xml.location import Location
from pipeline_xml.model import Pipeline, SecretKey, Step
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code
from pipeline_xml.step_names import inputs_of, result_name
from pipeline_xml.types import DataType

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import PipelineCheck

UNKNOWN_KIND = code("LK330", "A transformation of this name does not exist.")
MISSING_ATTRIBUTE = code("LK331", "A transformation lacks an attribute it needs.")
UNKNOWN_ATTRIBUTE = code("LK332", "An attribute that this transformation does not have.")
NAME_IN_USE = code(
    "LK333", "`as` gives a step's result the name of a dataset that exists and is not the step's own input."
)

BAD_NAME = code("LK334", "A dataset's name in `as` has letters, digits, '_' and '-', and no digit first.")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*\Z")


def check_steps(check: PipelineCheck) -> None:
    """Fills the plans and the datasets they make; a step that failed breaks the dataset it would have made."""
    context = Context(check)
    for step in check.pipeline.steps:
        inputs = inputs_of(step)
        check.used.update(inputs)
        result = result_name(step)
        if not _attributes(check, step) or check.broken & set(inputs):
            check.broken.add(result)
            check.datasets.pop(result, None)
            continue
        if "as" in step.attributes and result not in inputs and result in (*check.datasets, *check.broken):
            message = f"a dataset '{result}' exists already"
            NAME_IN_USE.report(check.problems, message, step.place("as"), hint="choose a name of its own")
        plan = check.around.transformations[step.kind].check(step, context)
        if plan is None:
            check.broken.add(result)
            check.datasets.pop(result, None)
            continue
        check.broken.discard(plan.output.name)
        check.datasets[plan.output.name] = plan.output
        check.plans.append(plan)


def _attributes(check: PipelineCheck, step: Step) -> bool:
    """Whether the step's kind and attribute names are right; what is not is reported."""
    kinds = check.around.transformations
    if step.kind not in kinds:
        UNKNOWN_KIND.report(check.problems, f"unknown transformation '{step.kind}'", step.where, sorted(kinds))
        return False
    known: Mapping[str, bool] = {"as": False, **kinds[step.kind].attributes}
    good = True
    for name, required in known.items():
        if required and not step.attributes.get(name, "").strip():
            good = False
            message = f"<{step.kind}> lacks the attribute '{name}'"
            MISSING_ATTRIBUTE.report(check.problems, message, step.place(name))
    if "as" in step.attributes and not _NAME.match(step.attributes["as"]):
        good = False
        BAD_NAME.report(check.problems, f"'{step.attributes['as']}' cannot name a dataset", step.place("as"))
    for name in step.attributes:
        if name not in known and not getattr(kinds[step.kind], "open", False):
            good = False
            message = f"unknown attribute '{name}' in <{step.kind}>"
            UNKNOWN_ATTRIBUTE.report(check.problems, message, step.place(name), known)
    allowed: tuple[str, ...] | None = getattr(kinds[step.kind], "columns", None)
    for column in step.columns if allowed is not None else ():
        for name in ("expression", "type", "format", "path"):
            if name not in (allowed or ()) and getattr(column, name):
                good = False
                message = f"unknown attribute '{name}' in <{step.kind}><column>"
                UNKNOWN_ATTRIBUTE.report(check.problems, message, column.place(name), allowed or ())
    return good


class Context:
    """The StepContext of one pipeline: what a transformation may ask while it is checked."""

    def __init__(self, check: PipelineCheck) -> None:
        self._check = check
        self.pipeline: Pipeline = check.pipeline
        self.problems: Problems = check.problems
        self.datasets: Mapping[str, Dataset] = check.datasets
        self.contracts: Mapping[str, Contract] = check.contracts
        self.keys: tuple[SecretKey, ...] = check.application.keys

    def reference(self, name: str, where: Location) -> Reference | TableReference | None:
        if "." not in name:
            return self._check.around.lookups.reference(self.pipeline.app, name, where)
        table, contract = lake_table(self._check, name, where)
        if table is None or contract is None:
            return None
        return TableReference(name, table, contract, self._check.around.tables[table].mode == "merge")

    def expression(
        self,
        text: str,
        scope: Mapping[str, DataType],
        where: Location,
        datasets: Mapping[str, Mapping[str, DataType]] | None = None,
    ) -> Expression | None:
        compiled = compile_expression(text, scope, where, self.problems, self._check.bindings(), datasets)
        return self._check.reads(compiled)
