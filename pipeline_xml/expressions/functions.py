"""The registry: every function and operator an expression may use, by the family it belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline_xml.expressions import functions_date, functions_logic, functions_number, functions_text
from pipeline_xml.expressions.codes import REFUSED_CONSTRUCT, Refused
from pipeline_xml.expressions.signature import Function

_BY_NAME: Mapping[str, Function] = {
    f.name: f
    for family in (functions_logic, functions_number, functions_text, functions_date)
    for f in family.FUNCTIONS
}
_BY_WRITTEN: Mapping[str, Function] = {name: f for f in _BY_NAME.values() for name in f.names}

# Functions people will try, and what to say instead of "unknown".
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("now", "current_date", "current_timestamp", "localtimestamp", "curdate", "unix_timestamp"),
        "the clock is not part of a record: use :businessDate or :runDate",
    ),
    **dict.fromkeys(("rand", "randn", "random", "uuid"), "the same record must give the same result each time"),
    **dict.fromkeys(
        ("sum", "count", "avg", "min", "max", "first", "last", "any_value", "row_number", "rank", "lag", "lead"),
        "an expression sees one record: use <aggregate>, <deduplicate> or a rule over the dataset",
    ),
    "initcap": "engines disagree on what a word is",
    **dict.fromkeys(("pow", "power", "exp", "ln", "log", "log10"), "engines disagree in the last digit"),
    "bround": "engines disagree: use round",
    **dict.fromkeys(("array", "map", "struct", "explode", "split"), "only the column types of contracts are allowed"),
}


def registry() -> Mapping[str, Function]:
    """Every function by its canonical name, in the order of the documentation."""
    return _BY_NAME


def named(name: str) -> Function | None:
    """The function of that written name, in any case."""
    return _BY_WRITTEN.get(name.lower())


def written_names() -> tuple[str, ...]:
    return tuple(sorted(_BY_WRITTEN))


def refuse_known(name: str) -> None:
    """Raises for a function that is left out on purpose, with the reason."""
    if reason := REFUSED.get(name.lower()):
        raise Refused(REFUSED_CONSTRUCT, f"{name.lower()}() is not part of the language: {reason}")
