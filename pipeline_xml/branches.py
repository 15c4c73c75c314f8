"""Where the records of a pipeline part: the datasets of records that are taken, and the last step that all share.

A dataset of records is taken by a target that writes it, or by the first step after record accounting. Where only one
is taken, it is the stem itself. Where several are, each is a branch: a record is accepted where one of them has it
alive, and one that is rejected on any branch is in none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_xml.checked import CheckedTarget, Dataset, StepPlan


@dataclass(frozen=True, slots=True)
class Branches:
    """`stem` is the place of the last step whose records all branches are made of, `taken` that of each dataset that
    is taken, by name; `needed` are the places of the steps of records that they come from, `shared` of those whose
    records go on in several ways. `unclear` are names that are taken twice with different records.

    A place is a step's, from 0; the sources, in the order given, have -1, -2, …
    """

    stem: int
    taken: Mapping[str, int]
    needed: frozenset[int]
    shared: frozenset[int]
    unclear: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        return len(set(self.taken.values())) > 1


def branches(plans: Sequence[StepPlan], targets: Sequence[CheckedTarget], drivers: Sequence[str]) -> Branches:
    """Of the records of `drivers`, the sources whose records the targets hold."""
    parents: dict[int, tuple[int, ...]] = {}
    at: dict[str, int] = {name: -1 - number for number, name in enumerate(drivers)}
    took: list[tuple[str, int]] = []
    for number, plan in enumerate(plans):
        read = [(name, at[name]) for name in plan.inputs if name in at]
        if is_record_step(plan, drivers):
            parents[number] = tuple(place for _, place in read)
            at[plan.output.name] = number
        else:
            took += read
            at.pop(plan.output.name, None)
    took += [(name, at[name]) for name in dict.fromkeys(_written(targets, drivers)) if name in at]
    took = list(dict.fromkeys(took))
    names = [name for name, _ in took]
    lines = [_line(place, parents) for _, place in took]
    common = set.intersection(*lines) if lines else set()
    needed = {place for line in lines for place in line if place >= 0}
    uses = [place for number in needed for place in parents[number]] + [place for _, place in took]
    return Branches(
        stem=max(common, default=-1),
        taken=dict(took),
        needed=frozenset(needed),
        shared=frozenset(place for place in uses if uses.count(place) > 1),
        unclear=tuple(dict.fromkeys(name for name in names if names.count(name) > 1)),
    )


def is_record_step(plan: StepPlan, drivers: Collection[str]) -> bool:
    return plan.output.driving in drivers and plan.output.per_record


def _written(targets: Sequence[CheckedTarget], drivers: Collection[str]) -> list[str]:
    datasets: list[Dataset] = [target.dataset for target in targets]
    return [each.name for each in datasets if each.per_record and each.driving in drivers]


def _line(place: int, parents: Mapping[int, tuple[int, ...]]) -> set[int]:
    """A step and all that its records come from."""
    found, waiting = set(), [place]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += parents.get(each, ())
    return found
