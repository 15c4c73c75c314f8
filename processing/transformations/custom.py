"""`<custom source transformation as …/>`: a step that an installed distribution offers, with attributes of its own.

A distribution offers it by an entry point of the group `datalake.transformations`, whose object is a
`processing.step.CustomStep`. It says its columns at check time; what it gives is held against that when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, StepContext, StepPlan
from pipeline_xml.model import Step
from pipeline_xml.problems import nearest
from pipeline_xml.rulebook import code
from processing import frame as names
from processing.rejects import alive
from processing.step import CustomStep, Runtime
from processing.transformations.attributes import Attributes
from processing.unrecorded import without_identity

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GROUP = "datalake.transformations"
NOT_INSTALLED = code("LK313", "A custom step names a transformation that an installed distribution offers.")
REFUSED = code("LK314", "A custom transformation refuses the step, or cannot be loaded.")
_OURS = ("source", "transformation", "as")


class WrongEngine(Exception):
    """A custom transformation that does not run on this engine (permanent)."""


class BrokenPromise(Exception):
    """A custom transformation that gave other columns than it had said (permanent: mend the distribution)."""


@dataclass(frozen=True)
class Config:
    transformation: str
    attributes: tuple[tuple[str, str], ...]
    per_record: bool


@cache
def offered() -> Mapping[str, EntryPoint]:
    """Every custom transformation that is installed, by name; looked for once a process."""
    return {found.name: found for found in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


class Custom:
    kind = "custom"
    attributes: Mapping[str, bool] = {"source": True, "transformation": True, "as": False}
    open = True  # further attributes are the transformation's own
    several_passes = False
    compares_records = True  # nobody knows what it looks at

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        source = read.dataset()
        wanted = read.text("transformation")
        found = offered().get(wanted)
        if found is None:
            close = nearest(wanted, offered())
            hint = f"Did you mean {close}?" if close else f"install a distribution with an entry point of {GROUP}"
            message = f"no installed distribution offers the transformation '{wanted}'"
            read.report(NOT_INSTALLED, message, read.place("transformation"), tuple(offered()), hint)
        if source is None or found is None:
            return None
        own = {name: value.strip() for name, value in step.attributes.items() if name not in _OURS}
        try:
            offers: CustomStep = found.load()
            required = (name for name, needed in offers.attributes.items() if needed)
            told = [f"it needs the attribute {n}" for n in required if not own.get(n)]
            told += [f"it has no attribute {n}" for n in own if n not in offers.attributes]
            columns = () if told else tuple(offers.columns(source.columns, own))
        except ValueError as refusal:
            told, columns = [str(refusal)], ()
        except Exception as broken:  # noqa: BLE001 - somebody else's code; its message may hold anything
            told, columns = [f"it raised {type(broken).__name__}"], ()
        for problem in told:
            valid = tuple(offers.attributes) if problem.startswith("it has no") else ()
            read.report(REFUSED, f"<custom transformation='{wanted}'>: {problem}", step.where, valid)
        for index, column in enumerate(columns):
            read.new_name(column.name, (c.name for c in columns[:index]), read.place("transformation"))
        config = Config(wanted, tuple(sorted(own.items())), bool(read.failed or offers.per_record))
        anew = () if read.failed else source.names  # which values it changes nobody knows
        same = None if config.per_record else False
        plan = read.plan(source, columns, config, per_record=same, key=(), anew=anew)
        version = found.dist.version if found.dist else ""
        return replace(plan, version=f"{wanted} {version}") if plan else None

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        config: Config = plan.config
        offers: CustomStep = offered()[config.transformation].load()
        if runtime.engine not in offers.engines:
            allowed = " or ".join(offers.engines)
            raise WrongEngine(f"'{config.transformation}' runs on {allowed}, and this is {runtime.engine}")
        given = frames[plan.inputs[0]]
        rows = given if config.per_record else given.where(alive())
        made = offers.apply(rows, dict(config.attributes), runtime)
        carried = [n for n in (*names.IDENTITY, names.STATUS, names.ERRORS, names.ORIGINAL) if n in given.columns]
        _kept(config, made, plan.output.columns, carried if config.per_record else ())
        if config.per_record:
            return made.select(*plan.output.names, *carried)
        return without_identity(made, plan.output.names, runtime.business_date)


def _kept(config: Config, made: DataFrame, columns: Sequence[Column], carried: Sequence[str]) -> None:
    """BrokenPromise where a column is missing or has another type."""
    types = {field.name: field.dataType.simpleString() for field in made.schema.fields}
    wrong = [f"{n} is missing" for n in (*(c.name for c in columns), *carried) if n not in types]
    other = [c for c in columns if types.get(c.name, str(c.type)) != str(c.type)]
    wrong += [f"{c.name} is {types[c.name]}, not {c.type}" for c in other]
    if wrong:
        raise BrokenPromise(f"custom transformation '{config.transformation}': {'; '.join(wrong)}")


TRANSFORMATION = Custom()
