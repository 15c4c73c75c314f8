"""Steps applied to rows that are laid down as the reader would lay them: columns, identity, `_status`, `_errors`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from processing import frame as f
from processing.arrow_types import arrow_type
from processing.step import Runtime
from processing.transformations import registry
from resources.engine import Engine
from resources.secrets import SecretResolver
from tests.step_plans import checked, contract

ENTRY = pa.struct([(name, pa.string()) for name in f.ERROR_FIELDS])
SYSTEM = {
    f.RECORD_ID: pa.string(), f.BUSINESS_DATE: pa.date32(), f.SENDER: pa.string(), f.ARRIVAL: pa.int64(),
    f.SOURCE_FILE: pa.string(), f.SOURCE_RECORD: pa.int64(), f.STATUS: pa.string(), f.ERRORS: pa.list_(ENTRY),
}  # fmt: skip
DAY = date(2024, 12, 31)
TEXT = {"type": "string"}
INT = {"type": "integer"}
BIG = {"type": "integer", "x-type": "bigint"}
MONEY = {"type": "number", "x-type": "decimal(10,2)"}


@dataclass
class Table:
    """What came out: rows by record number, without the system's columns; status and (rule, column, code) of each."""

    rows: dict[int, dict[str, Any]]
    status: dict[int, str | None]
    errors: dict[int, list[tuple[str, str, str]]]
    types: dict[str, str]


def run(
    engine: Engine,
    root: Path,
    steps: str,
    properties: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    **rest: Any,
) -> Table:
    """Applies all steps to rows of column values; `_status` and `_arrival` may be given."""
    out = apply(engine, root, steps, properties, rows, **rest).toArrow()
    records = out.to_pylist()
    numbers = [r[f.SOURCE_RECORD] if r[f.SOURCE_RECORD] is not None else i for i, r in enumerate(records)]
    own = [name for name in out.column_names if name not in SYSTEM]
    return Table(
        {n: {name: r[name] for name in own} for n, r in zip(numbers, records, strict=True)},
        {n: r[f.STATUS] for n, r in zip(numbers, records, strict=True)},
        {
            n: [(e["rule"], e["column"], e["code"]) for e in r[f.ERRORS]]
            for n, r in zip(numbers, records, strict=True)
            if r[f.ERRORS] is not None
        },
        {name: str(out.schema.field(name).type) for name in own},
    )


def apply(
    engine: Engine,
    root: Path,
    steps: str,
    properties: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    **rest: Any,
) -> Any:
    source = contract(properties, **rest.pop("contract", {}))
    pipeline = checked(root, steps, source, **rest)
    fields = {c.name: arrow_type(c.type) for c in pipeline.driving.contract.columns} | SYSTEM
    system = {f.BUSINESS_DATE: DAY, f.SOURCE_FILE: "a.csv", f.ARRIVAL: 1}
    full = [
        {**system, f.SOURCE_RECORD: i, f.RECORD_ID: f"r-{i:010}", **row} for i, row in enumerate(rows, start=1)
    ]
    table = pa.table({name: pa.array([r.get(name) for r in full], type_) for name, type_ in fields.items()})
    frames = {"s": engine.session.createDataFrame(table)}
    runtime = Runtime(engine.session, engine.name, DAY, None, SecretResolver(root / "secrets"))
    for plan in pipeline.steps:
        frames[plan.output.name] = registry()[plan.kind].apply(plan, frames, runtime)
    return frames[pipeline.steps[-1].output.name]
