"""Expectations over a batch as a whole, which Great Expectations itself judges on what was staged; and the refused."""

from __future__ import annotations

from collections.abc import Mapping

_BETWEEN = ("min_value", "max_value", "strict_min", "strict_max")
_COLUMN = ("column",)

# kind -> (arguments it needs, arguments it may have)
WHOLE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "expect_column_distinct_values_to_be_in_set": (("column", "value_set"), ()),
    "expect_column_distinct_values_to_contain_set": (("column", "value_set"), ()),
    "expect_column_distinct_values_to_equal_set": (("column", "value_set"), ()),
    "expect_column_kl_divergence_to_be_less_than": (
        ("column", "partition_object", "threshold"),
        ("internal_weight_holdout", "tail_weight_holdout", "bucketize_data", "min_value", "max_value"),
    ),
    "expect_column_max_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_mean_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_median_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_min_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_most_common_value_to_be_in_set": (("column", "value_set"), ("ties_okay",)),
    "expect_column_proportion_of_non_null_values_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_proportion_of_unique_values_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_quantile_values_to_be_between": (("column", "quantile_ranges"), ("allow_relative_error",)),
    "expect_column_stdev_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_sum_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_to_exist": (_COLUMN, ("column_index",)),
    "expect_column_unique_value_count_to_be_between": (_COLUMN, _BETWEEN),
    "expect_column_value_z_scores_to_be_less_than": (("column", "threshold", "double_sided"), ()),
    "expect_column_values_to_be_dateutil_parseable": (_COLUMN, ()),
    "expect_column_values_to_be_json_parseable": (_COLUMN, ()),
    "expect_column_values_to_match_json_schema": (("column", "json_schema"), ()),
    "expect_column_values_to_match_strftime_format": (("column", "strftime_format"), ()),
    "expect_column_values_to_not_be_outliers": (("column", "method"), ("multiplier",)),
    "expect_table_column_count_to_be_between": ((), ("min_value", "max_value")),
    "expect_table_column_count_to_equal": (("value",), ()),
    "expect_table_columns_to_match_ordered_list": (("column_list",), ()),
    "expect_table_columns_to_match_set": (("column_set",), ("exact_match",)),
    "expect_table_row_count_to_be_between": ((), _BETWEEN),
    "expect_table_row_count_to_equal": (("value",), ()),
}
NUMBERS = frozenset({
    "expect_column_kl_divergence_to_be_less_than", "expect_column_mean_to_be_between",
    "expect_column_median_to_be_between", "expect_column_quantile_values_to_be_between",
    "expect_column_stdev_to_be_between", "expect_column_sum_to_be_between",
    "expect_column_value_z_scores_to_be_less_than", "expect_column_values_to_not_be_outliers",
})  # fmt: skip  # of a column that holds numbers
TEXTS = frozenset({
    "expect_column_values_to_be_dateutil_parseable", "expect_column_values_to_be_json_parseable",
    "expect_column_values_to_match_json_schema", "expect_column_values_to_match_strftime_format",
})  # fmt: skip  # of a column that holds texts
_TYPES = "the contract says the types, and every record is held against it"
_ORDER = "the records of a batch have no order of their own"
_QUERY = "no free SQL reaches the data; write a satisfies, foreignKey or reconcile rule"
REFUSED: Mapping[str, str] = {
    "expect_column_type_to_be": _TYPES,
    "expect_column_values_to_be_of_type": _TYPES,
    "expect_column_values_to_be_in_type_list": _TYPES,
    "expect_column_values_to_be_decreasing": _ORDER,
    "expect_column_values_to_be_increasing": _ORDER,
    "expect_query_results_to_match_comparison": _QUERY,
    "expect_table_row_count_to_equal_other_table": "write a reconcile rule",
    "unexpected_rows_expectation": _QUERY,
}
