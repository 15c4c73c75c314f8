"""Expectations of Great Expectations: what is compiled rejects the very rows that it names itself, and all of them."""

from __future__ import annotations

import json
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline_xml.checked import KeyRule, RowRule
from pipeline_xml.expressions.compile import compile_condition
from pipeline_xml.load import load_catalog
from pipeline_xml.location import Location
from pipeline_xml.model import Rule
from pipeline_xml.problems import Problems
from pipeline_xml.suite_conditions import ARGUMENTS, condition_text, only_where
from pipeline_xml.suite_rows import KEYS, ROWS, columns_of, unique_key
from pipeline_xml.suite_whole import REFUSED, WHOLE
from pipeline_xml.types import BIGINT, DATE, DOUBLE, STRING, DataType, decimal
from processing import frame as f
from processing.rules import apply_row_rules
from processing.transformations import registry
from publishing.expectations import batch_definition
from publishing.lake import open_lake
from publishing.run import run_pipeline
from resources.engine import Engine
from tests.golden_cases import CASES, case_settings

HERE = Location("suite.json")
SCOPE: dict[str, DataType] = {
    "n": BIGINT, "m": BIGINT, "k": BIGINT, "x": DOUBLE, "d": decimal(8, 2), "t": STRING, "u": STRING, "on": DATE,
}  # fmt: skip
# k has no nulls, because Great Expectations on pandas compares whole numbers with nulls as doubles
ROWS_OF: list[tuple[Any, ...]] = [
    (1, 1, 1, 0.5, "1.00", "ab", "ab", "2024-01-01"),
    (2, 1, 2, 1.5, "2.50", "abc", "AB", "2024-01-02"),
    (3, None, 3, None, None, None, "ab", None),
    (3, 4, 4, -2.0, "-1.00", "", "", "2023-12-31"),
    (None, None, 5, 2.5, "9.99", "b%c", None, "2024-01-01"),
    (7, 7, 7, 0.0, "0.00", "Äb", "Äb", "2024-02-01"),
    (1, 2, 3, 6.5, "6.50", "x_y", "x", "2024-01-03"),
    (1, 1, 8, 0.5, "1.00", "zz", "ab", "2024-01-01"),
]
ANY = {"ignore_row_if": "any_value_is_missing"}
EITHER = {"ignore_row_if": "either_value_is_missing"}
NUMBERS, TEXTS = {"column_A": "n", "column_B": "m"}, {"column_A": "t", "column_B": "u"}
def compared(column: str, operator: str, parameter: Any) -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": parameter}


def present(column: str, is_null: bool) -> dict[str, Any]:
    return {"type": "nullity", "column": {"name": column}, "is_null": is_null}


OURS = {"condition_parser": "great_expectations"}
BOTH = {"type": "and", "conditions": [compared("k", "<", 8), present("m", False)]}
ONE = {"type": "or", "conditions": [compared("t", "==", "zz"), BOTH]}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_not_be_null", {"column": "t"}),
    ("expect_column_values_to_be_null", {"column": "m"}),
    ("expect_column_values_to_be_in_set", {"column": "t", "value_set": ["ab", "", "it's", "b\\c"]}),
    ("expect_column_values_to_be_in_set", {"column": "n", "value_set": [1, 7]}),
    ("expect_column_values_to_not_be_in_set", {"column": "x", "value_set": [0.5, 2.5]}),
    ("expect_column_values_to_be_between", {"column": "n", "min_value": 2, "max_value": 7, "strict_max": True}),
    ("expect_column_values_to_be_between", {"column": "x", "min_value": 0, "strict_min": True}),
    ("expect_column_value_lengths_to_be_between", {"column": "t", "min_value": 2, "max_value": 2}),
    ("expect_column_value_lengths_to_equal", {"column": "t", "value": 2}),
    ("expect_column_values_to_match_regex", {"column": "t", "regex": "b"}),
    ("expect_column_values_to_match_regex", {"column": "t", "regex": "^[a-z]+$"}),
    ("expect_column_values_to_not_match_regex", {"column": "t", "regex": "^a"}),
    ("expect_column_values_to_match_regex_list", {"column": "t", "regex_list": ["^a", "c$"], "match_on": "any"}),
    ("expect_column_values_to_match_regex_list", {"column": "t", "regex_list": ["^a", "c$"], "match_on": "all"}),
    ("expect_column_values_to_not_match_regex_list", {"column": "t", "regex_list": ["^a", "c$"]}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "t", "column_B": "u"}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "n", "column_B": "m", **EITHER}),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "n", "column_B": "m"}),
    ("expect_column_pair_values_a_to_be_greater_than_b", {**NUMBERS, "or_equal": True, **EITHER}),
    ("expect_column_pair_values_to_be_in_set", {**TEXTS, "value_pairs_set": [["ab", "ab"], ["", ""]], **EITHER}),
    ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["n", "m", "k"], **ANY}),
    ("expect_multicolumn_sum_to_equal", {"column_list": ["n", "k"], "sum_total": 4, **ANY}),
    ("expect_multicolumn_values_to_be_equal", {"column_list": ["n", "m", "k"], **ANY}),
    ("expect_column_values_to_not_be_null", {"column": "n", "row_condition": compared("k", ">=", 5)}),
    ("expect_column_values_to_be_between", {"column": "n", "max_value": 1, "row_condition": compared("k", "!=", 4)}),
    ("expect_column_values_to_match_regex",
     {"column": "u", "regex": "^ab", "row_condition": compared("t", "IN", ["abc", "x_y", "it's"])}),
    ("expect_column_values_to_not_be_null", {"column": "t", "row_condition": compared("k", "NOT_IN", [1, 4])}),
    ("expect_column_values_to_be_in_set", {"column": "t", "value_set": ["ab"], "row_condition": ONE}),
    ("expect_column_values_to_be_null", {"column": "u", "row_condition": present("m", True)}),
    ("expect_column_pair_values_to_be_equal", {**NUMBERS, **EITHER, "row_condition": compared("x", "<", 1.25)}),
    ("expect_column_value_lengths_to_equal", {"column": "t", "value": 2, "row_condition": 'col("x") > 0.25', **OURS}),
    ("expect_column_values_to_be_null", {"column": "n", "row_condition": 'col("t").notnull()', **OURS}),
    ("expect_column_values_to_be_null", {"column": "n", "row_condition": 'col("t") == "ab"', **OURS}),
    ("expect_column_values_to_be_unique", {"column": "u"}),
    ("expect_column_values_to_be_unique", {"column": "n"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["u", "m"], **ANY}),
]  # fmt: skip
ON_SQL_ONLY = {kind for kind in ROWS if "like_pattern" in kind}  # Great Expectations has no such metric on pandas


def arrow() -> pa.Table:
    columns = dict(zip(SCOPE, zip(*ROWS_OF, strict=True), strict=True))
    plain = {
        "n": pa.int64(), "m": pa.int64(), "k": pa.int64(), "x": pa.float64(), "t": pa.string(), "u": pa.string(),
    }  # fmt: skip
    table = {name: pa.array(columns[name], kind) for name, kind in plain.items()}
    table["d"] = pa.array(columns["d"], pa.string()).cast(pa.decimal128(8, 2))
    table["on"] = pa.array(columns["on"], pa.string()).cast(pa.date32())
    return pa.table(table)


def judged(engine: Engine, asked: list[tuple[str, dict[str, Any]]]) -> list[list[int]]:
    """The places of the rows that break each."""
    rows, keys, problems = [], [], Problems()
    for number, (kind, written) in enumerate(asked):
        arguments = json.loads(json.dumps(written), parse_float=Decimal)  # as a suite is read
        rule = Rule(where=HERE, id=str(number), kind=kind, attributes={})
        if kind in KEYS:
            keys.append(KeyRule(rule, "pack", unique_key(arguments, SCOPE), ""))
        else:
            text = only_where(condition_text(arguments, SCOPE), ROWS[kind].text(arguments, SCOPE))
            compiled = compile_condition(text, SCOPE, HERE, problems)
            assert compiled is not None, problems.found
            rows.append(RowRule(rule, "pack", compiled, columns_of(arguments), ""))
    table = arrow().append_column("row", pa.array(range(len(ROWS_OF)), pa.int64()))
    empty = pa.list_(pa.struct([(name, pa.string()) for name in f.ERROR_FIELDS]))
    table = table.append_column(f.STATUS, pa.nulls(len(table), pa.string()))
    table = table.append_column(f.ERRORS, pa.nulls(len(table), empty))
    out = apply_row_rules(engine.session.createDataFrame(table), rows, {}, keys).select("row", f.ERRORS).toArrow()
    found: list[list[int]] = [[] for _ in asked]
    for row, errors in sorted(zip(out["row"].to_pylist(), out[f.ERRORS].to_pylist(), strict=True)):
        for entry in errors or ():
            found[int(entry["rule"])].append(row)
    return found


@pytest.fixture(scope="module")
def theirs() -> list[list[int]]:
    """What Great Expectations itself finds in the same rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        definition = batch_definition()
        from great_expectations.expectations.registry import get_expectation_impl

        batch = definition.get_batch(batch_parameters={"dataframe": arrow().to_pandas()})
        found = []
        for kind, arguments in ASKED:
            result = batch.validate(get_expectation_impl(kind)(**arguments), result_format="COMPLETE")
            assert not result.exception_info.get("exception_message"), (kind, result.exception_info)
            found.append(sorted(result.result["unexpected_index_list"]))
        return found


def test_the_rows_rejected_are_those_that_great_expectations_names(engine: Engine, theirs: list[list[int]]) -> None:
    ours = judged(engine, ASKED)
    assert [(kind, rows) for (kind, _), rows in zip(ASKED, ours, strict=True)] == [
        (kind, rows) for (kind, _), rows in zip(ASKED, theirs, strict=True)
    ]
    assert all(theirs), "an expectation that every row meets shows nothing"
    assert {kind for kind, _ in ASKED} | ON_SQL_ONLY == {*ROWS, *KEYS}


def test_like_patterns_and_dates(engine: Engine) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("expect_column_values_to_match_like_pattern", {"column": "t", "like_pattern": "a%"}),
        ("expect_column_values_to_not_match_like_pattern", {"column": "t", "like_pattern": "_b%"}),
        ("expect_column_values_to_match_like_pattern_list", {"column": "t", "like_pattern_list": ["a%", "%c"]}),
        ("expect_column_values_to_not_match_like_pattern_list", {"column": "t", "like_pattern_list": ["a%", "%y"]}),
        ("expect_column_values_to_be_between", {"column": "on", "min_value": "2024-01-01", "max_value": "2024-01-31"}),
    ]
    assert judged(engine, asked) == [[3, 4, 5, 6, 7], [0, 1, 5], [3, 5, 6, 7], [0, 1, 6], [3, 5]]


def test_a_condition_written_for_spark_is_an_expression(engine: Engine) -> None:
    """Where it is null, as of the third and the fifth row, nobody looks: Great Expectations on SQL has the same."""
    written = {"row_condition": "m <> 1 -- not the first", "condition_parser": "spark"}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("expect_column_values_to_be_null", {"column": "n", **written}),
        ("expect_column_values_to_be_null", {"column": "n", "row_condition": compared("m", "!=", 1)}),
        ("expect_column_values_to_be_between",
         {"column": "n", "max_value": 2, "row_condition": compared("on", ">=", "2024-01-02")}),
    ]  # fmt: skip
    assert judged(engine, asked) == [[3, 5, 6], [3, 5, 6], [5]]


def test_every_expectation_of_the_library_has_its_place() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations  # noqa: F401  importing fills the registry
        from great_expectations.expectations.registry import (
            get_expectation_impl,
            list_registered_expectation_implementations,
        )

    placed = [*ROWS, *KEYS, *WHOLE, *REFUSED]
    assert sorted(placed) == sorted(list_registered_expectation_implementations())
    for kind in (*ROWS, *KEYS, *WHOLE):
        forms = ROWS.get(kind)
        needs, may = (forms.needs, forms.may) if forms else KEYS.get(kind) or WHOLE[kind]
        conditions = ARGUMENTS if forms else ()
        assert {*needs, *may, *conditions} <= set(get_expectation_impl(kind).__fields__), kind


def test_every_failing_row_is_quarantined_and_no_value_told(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = case_settings(CASES / "suite", tmp_path, engine)
    landing = tmp_path / "landing" / "club" / "members_20240107.csv"
    landing.parent.mkdir(parents=True)
    header = "id,name,card,age,kind,joined,gone,fee\n"
    odd = "".join(f"{n},Name{n},SECRETCARD{n},20,full,2024-01-01,,0.10\n" for n in range(1, 301))
    good = "".join(f"{n},Name{n},C-{n},777777,full,2024-01-01,,0.10\n" for n in range(301, 304))
    landing.write_text(header + odd + good.replace("777777", "77"))
    with open_lake(settings, load_catalog(settings.config, registry()), engine) as lake:
        pipeline = lake.catalog.pipeline("club", "members")
        assert pipeline is not None
        (batch,) = run_pipeline(lake, pipeline, run_id="suite").batches
        assert (batch.status, batch.counts.quarantined, batch.counts.accepted) == ("held", 300, 3)
        assert batch.reason is not None and "expect_column_mean_to_be_between, age: not met" in batch.reason
        told = json.dumps(batch.as_dict()) + caplog.text
        told += "".join(path.read_text() for path in (tmp_path / "journal").rglob("*.json"))
        assert "SECRETCARD" not in told and "Name301" not in told
