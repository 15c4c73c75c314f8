"""Steps that read several datasets named in `sources`: whose records may come together, and what the result holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline_xml.checked import Dataset, StepPlan
from pipeline_xml.place import items
from pipeline_xml.rulebook import code
from processing.transformations.attributes import INCOMPLETE, TWICE, UNKNOWN_DATASET, Attributes, did_you_mean

SAME_RECORDS = code("LK311", "Two datasets that come together hold the same records: each would be there twice.")
UNLIKE = code("LK312", "Datasets that are put under each other must have the same columns.")


def several(read: Attributes) -> tuple[Dataset, ...] | None:
    """The datasets of the attribute `sources`, two at least; None after a problem was reported."""
    found: list[Dataset] = []
    wanted = items(read.step.attributes.get("sources"))
    for name in wanted:
        where = read.place("sources", name)
        dataset = read.context.datasets.get(name)
        if dataset is None:
            known = tuple(read.context.datasets)
            message = f"unknown dataset '{name}' in <{read.step.kind} sources>: it must exist before this step"
            read.report(UNKNOWN_DATASET, message, where, known, did_you_mean(name, known))
        elif dataset in found:
            read.report(TWICE, f"<{read.step.kind} sources> names '{name}' twice", where)
        else:
            found.append(dataset)
    if len(wanted) < 2:
        read.report(INCOMPLETE, f"<{read.step.kind} sources> needs two datasets at least", read.place("sources"))
    seen: dict[str, str] = {}
    for dataset in (d for d in found if d.per_record):
        for driving in dataset.drivers:
            if driving in seen:
                message = f"'{seen[driving]}' and '{dataset.name}' both hold records of '{driving}'"
                hint = "one <filter> with both conditions takes them once"
                read.report(SAME_RECORDS, message, read.place("sources", dataset.name), (), hint)
            seen.setdefault(driving, dataset.name)
    return None if read.failed else tuple(found)


def together(plan: StepPlan, sources: Sequence[Dataset]) -> StepPlan:
    """The plan over all sources; while all are records, the result holds those of each."""
    first, *others = sources
    also = tuple(d for s in others for d in s.drivers) if plan.output.per_record else ()
    output = replace(plan.output, also=(*first.also, *also), order=None)
    return replace(plan, inputs=tuple(s.name for s in sources), output=output)
