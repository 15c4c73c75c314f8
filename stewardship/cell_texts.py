"""New cells as they would stand in a file: texts, checked against the contract's types, whole columns at a time."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.contract import Constraints, Field

_TOKENS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
_PARTS = re.compile(r"yyyy|MM|dd|HH|mm|ss|'([^']*)'|.", re.DOTALL)


def unfit(pipeline: CheckedPipeline, field: Field, texts: Any) -> Any:
    """A numpy mask: which texts are no value of the field's type. Its other constraints are for the rules to judge."""
    import pyarrow as pa

    from processing.validate import validate

    bare = replace(field, nullable=True, constraints=Constraints())
    batch = pa.RecordBatch.from_arrays([texts], names=[field.name])
    _, found = validate(batch, replace(pipeline.driving.contract, fields=(bare,)), ())
    return found.mask(len(texts))


def must_be(field: Field) -> str:
    """What a text of the field must be, in words."""
    from processing.validate_cell import describe

    if field.nested is not None:
        return f"{field.name} must be JSON, {field.nested}, and each item as its contract says"
    codes = f", or one of the codes {', '.join(field.codes)}" if field.codes else ""
    kind = "text without a NUL byte" if field.type.kind == "string" else describe(field.type, field.format)
    return f"{field.name} must be {kind}{codes}"


def typed(pipeline: CheckedPipeline, fields: tuple[Field, ...], cells: Any) -> dict[str, Any]:
    """{column: typed array} of these fields and their code columns; null where a cell is no value of its type."""
    from processing.validate import validate

    contract = replace(pipeline.driving.contract, fields=fields)
    columns, _ = validate(cells, contract, ())
    return {column.name: array for column, array in zip(contract.columns, columns, strict=True)}


def as_texts(values: Any, field: Field) -> Any:
    """Typed values as the texts that the field's type and format read back."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = field.type.kind
    if kind == "string":
        return values.cast(pa.string())
    if field.format is not None and kind in ("date", "timestamp"):
        moments = pc.cast(values, pa.timestamp("s", tz="UTC") if kind == "timestamp" else pa.timestamp("s"), safe=False)
        return pc.strftime(moments, format=_strftime(field.format))
    texts = pc.cast(values, pa.string())
    if kind == "decimal":  # Arrow writes the smallest with an exponent, which no cell may have
        odd = pc.match_substring(texts, "E")
        if pc.any(odd, min_count=0).as_py():
            plain = [None if v is None else format(v, "f") for v in values.to_pylist()]
            texts = pa.array(plain, pa.string())
    return texts


def nulled(texts: Any, null_values: tuple[str, ...]) -> Any:
    """The texts with those that mean null as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not null_values:
        return texts
    null = pc.is_in(texts, value_set=pa.array(list(null_values), pa.string()), skip_nulls=True)
    return pc.if_else(null, pa.scalar(None, pa.string()), texts)


def _strftime(layout: str) -> str:
    def token(match: re.Match[str]) -> str:
        literal = match[1] if match[1] is not None else match[0]
        return _TOKENS.get(match[0]) or literal.replace("%", "%%")

    return _PARTS.sub(token, layout)
