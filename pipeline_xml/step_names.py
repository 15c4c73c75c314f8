"""Which datasets a step reads and which it makes, as its attributes say; whether they exist is another matter."""

from __future__ import annotations

from pipeline_xml.model import Step
from pipeline_xml.place import items

_INPUTS = ("source", "left", "right")


def inputs_of(step: Step) -> tuple[str, ...]:
    """Names of the datasets a step reads."""
    single = tuple(step.attributes[name].strip() for name in _INPUTS if name in step.attributes)
    return single + items(step.attributes.get("sources"))


def result_name(step: Step) -> str:
    """The dataset a step makes: `as`, else its (first) input, which it replaces."""
    return step.attributes.get("as") or next(iter(inputs_of(step)), "")
