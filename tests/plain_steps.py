"""Transformations for tests of the language: they check, and have no engine's half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline_xml.checked import StepContext, StepPlan, Transformation
from pipeline_xml.model import Step
from pipeline_xml.place import items
from pipeline_xml.rulebook import UNKNOWN_COLUMN


@dataclass
class Plain:
    """Passes its source on: under the name in `as`, with the columns in `columns` no longer classified."""

    kind: str
    attributes: Mapping[str, bool] = field(default_factory=lambda: {"source": True, "columns": False, "on": False})
    per_record: bool = True

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        source = context.datasets[step.attributes["source"]]
        masked = items(step.attributes.get("columns"))
        for name in masked:
            if source.column(name) is None:
                text = f"unknown column '{name}' in <{self.kind} columns>"
                UNKNOWN_COLUMN.report(context.problems, text, step.place("columns"), source.names)
                return None
        wanted = step.attributes.get("reference")
        if wanted and context.reference(wanted, step.place("reference")) is None:
            return None
        columns = tuple(replace(c, classification=None) if c.name in masked else c for c in source.columns)
        name = step.attributes.get("as", source.name)
        output = replace(source, name=name, columns=columns, per_record=source.per_record and self.per_record)
        return StepPlan(step, self.kind, (source.name,), output, None)


STEPS: Mapping[str, Transformation] = {
    step.kind: step
    for step in (
        Plain("keep"),
        Plain("mask"),
        Plain("deduplicate"),
        Plain("lookup", {"source": True, "reference": True}),
        Plain("aggregate", per_record=False),
    )
}
