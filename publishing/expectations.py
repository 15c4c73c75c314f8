"""Expectations over a whole batch, judged by Great Expectations itself on pandas: one yes or no each, and no value."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from pipeline_xml.checked import DatasetRule
from pipeline_xml.suite_rows import COLUMNS
from pipeline_xml.types import DataType

_BOUNDS = ("min_value", "max_value", "value_set")


def met(rule: DatasetRule, rows: Any, number: int) -> tuple[int, str]:
    """(0 where the expectation is met, else 1; what was asked). `rows` is an Arrow table of the rule's columns.

    Decimals are judged as doubles. Great Expectations' own words are not passed on: they may quote the data.
    """
    said, arguments = rule.rule.attributes["type"], json.loads(rule.rule.attributes["arguments"])
    types = dict(zip(rule.columns, rule.types, strict=True))
    kind = types.get(arguments.get("column", ""))
    if kind is not None and kind.kind in ("date", "timestamp"):
        arguments |= {name: _moment(arguments[name]) for name in _BOUNDS if name in arguments}
    if rule.rule.threshold is not None and "column_values" in said:
        arguments["mostly"] = 1 - rule.rule.threshold
    asked = ", ".join([said, *(str(arguments[name]) for name in COLUMNS if name in arguments)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        success, failure = _judged(said, arguments, _frame(rows, types, number))
    if failure:
        return 1, f"{asked}: cannot be judged on this batch"
    return (0, asked) if success else (1, f"{asked}: not met")


def _judged(said: str, arguments: Mapping[str, Any], frame: Any) -> tuple[bool, bool]:
    """(met, whether it could not be judged)"""
    staged = batch_definition()
    from great_expectations.expectations.registry import get_expectation_impl

    expectation = get_expectation_impl(said)(**arguments)
    batch = staged.get_batch(batch_parameters={"dataframe": frame})
    result = batch.validate(expectation, result_format="BOOLEAN_ONLY")
    told = result.exception_info or {}
    raised = [told, *(entry for entry in told.values() if isinstance(entry, dict))]
    return bool(result.success), any(entry.get("raised_exception") for entry in raised)


@lru_cache(maxsize=1)
def batch_definition() -> Any:
    """A batch definition that takes any frame. Importing Great Expectations takes seconds: only where it is needed."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # it tells its makers of each use, unless told not to
    import great_expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # its messages may quote the data
    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    source = context.data_sources.add_pandas("staged")
    return source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")


def _frame(rows: Any, types: Mapping[str, DataType], number: int) -> Any:
    import pyarrow as pa

    if not types:  # only how many there are
        return pa.table({"row": pa.nulls(number)}).to_pandas()
    wanted = {"decimal": pa.float64(), "date": pa.timestamp("us"), "timestamp": pa.timestamp("us")}
    columns = {
        name: rows[name].cast(wanted[kind.kind]) if kind.kind in wanted and rows.num_rows else rows[name]
        for name, kind in types.items()
    }
    return pa.table(columns).to_pandas()


def _moment(value: Any) -> Any:
    if isinstance(value, list):
        return [_moment(item) for item in value]
    if not isinstance(value, str):
        return value
    found = datetime.fromisoformat(value)
    return found if isinstance(found, datetime) else datetime.combine(date.fromisoformat(value), datetime.min.time())
