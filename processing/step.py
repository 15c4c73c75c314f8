"""What runs a transformation: the engine's half of the strategy that `pipeline_xml.checked.Transformation` checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from pipeline_xml.checked import Column, StepPlan, TableReference, Transformation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class KeyResolver(Protocol):
    """Finds a key's bytes by its reference. Picklable: it travels to the workers, the key never does."""

    def key(self, secret_ref: str) -> bytes: ...


@dataclass(frozen=True)
class Runtime:
    """What a step may use while it runs. `parameters` are the bound values of expressions by name; a `runDate` among
    them counts before `run_date`."""

    session: Any  # a Spark Connect session
    engine: str  # sail | spark
    business_date: date | None
    run_date: date | None
    keys: KeyResolver
    parameters: Mapping[str, object] = field(default_factory=dict)
    tables: Mapping[TableReference, Any] = field(default_factory=dict)  # rows of the lake tables that lookups read

    def bindings(self) -> dict[str, object]:
        return {"businessDate": self.business_date, "runDate": self.run_date, **self.parameters}


class Runner(Transformation, Protocol):
    """A transformation that also runs. pyspark is imported inside `apply`, never at module level.

    Frames carry the dataset's columns, then those of `processing.frame.IDENTITY`, `_status` and `_errors`. `apply`
    returns the output dataset's frame and keeps every row while the output is `per_record`: a dropped record has its
    `_status` set (filtered, deduplicated), a broken one gets `quarantined` and an entry in `_errors`. Rows whose
    `_status` is set already are left as they are and never take part (in a deduplicate, an aggregate, …).

    `several_passes`: it looks at its input more than once, so the caller hands it frames that are written to disk; a
    frame is computed anew at every look, and reading and parsing the files twice would cost more.

    `compares_records`: what becomes of a record depends on others of its batch, so a record cannot be decided alone.
    """

    several_passes: bool
    compares_records: bool

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame: ...


class CustomStep(Protocol):
    """What an entry point of the group `datalake.transformations` holds; `<custom>` uses it. pyspark only in `apply`.

    `attributes` are its own, name -> required. `engines` are those it runs on, of "sail" and "spark". While
    `per_record`, each row that comes in goes out once, with the platform's columns as they were; without it, record
    accounting ends at this step.
    """

    attributes: Mapping[str, bool]
    engines: Sequence[str]
    per_record: bool

    def columns(self, columns: Sequence[Column], attributes: Mapping[str, str]) -> Sequence[Column]:
        """The columns it gives for those it gets, with their types and origins; ValueError says what is wrong."""
        ...

    def apply(self, rows: DataFrame, attributes: Mapping[str, str], runtime: Runtime) -> DataFrame: ...
