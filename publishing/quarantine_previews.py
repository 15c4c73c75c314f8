"""What a quarantined record shows without being opened: the shapes of its key and of the cells that are wrong."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

HIDDEN = "***"  # of a personal field
COMMA = ", "


def previews(
    keys: Sequence[str], classified: Collection[str], columns: Mapping[str, Any], errors: Any
) -> Any:
    """One JSON text a record, `{"column": shape}`: its key columns, then those its errors name, as far as it has them.

    `columns` are string arrays by name, null where a record lacks the cell; `errors` is the list array of the records'
    errors. Classified columns show HIDDEN.
    """
    import numpy as np
    import pyarrow as pa

    wrong = _wrong_columns(errors).dictionary_encode()
    indices = wrong.indices.to_numpy()
    parts: dict[str, Any] = {}
    made, places = [], []
    for number, text in enumerate(wrong.dictionary.to_pylist()):
        names = [n for n in dict.fromkeys([*keys, *text.split(",")]) if n in columns]
        place = np.flatnonzero(indices == number)
        for name in names:
            if name not in parts:
                parts[name] = _part(name, name in classified, columns[name])
        everywhere = len(place) == len(indices)
        made.append(_joined([parts[n] if everywhere else parts[n].take(place) for n in names], len(place)))
        places.append(place)
    if len(made) == 1:
        return made[0]
    return pa.concat_arrays(made).take(pa.array(np.argsort(np.concatenate(places), kind="stable")))


def shown_columns(keys: Sequence[str], errors: Any) -> list[str]:
    """Every column that a preview of one of these records may show."""
    import pyarrow.compute as pc

    named = pc.unique(pc.struct_field(pc.list_flatten(errors), "column")).to_pylist()
    return list(dict.fromkeys([*keys, *(name for text in named if text for name in text.split(","))]))


def _wrong_columns(errors: Any) -> Any:
    """The columns that each record's errors name, joined by commas."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(errors), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    named = pc.fill_null(pc.struct_field(pc.list_flatten(errors), "column"), "")
    if not len(named):  # Arrow joins lists without any entry to nothing at all
        return pa.repeat(pa.scalar(""), len(errors))
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), named), ",")


def _part(name: str, hidden: bool, texts: Any) -> Any:
    """`, "name": "shape"` of every record, as JSON; null where the record lacks the cell."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from processing.shapes import MORE, shapes

    if hidden:
        entry = pa.scalar(f"{COMMA}{json.dumps(name)}: {json.dumps(HIDDEN)}")
        return pc.if_else(pc.is_valid(texts), entry, pa.scalar(None, pa.string()))
    # No shape holds a quote, a backslash or anything else that JSON writes otherwise.
    shown = shapes(texts, json.dumps(MORE)[1:-1])
    return pc.binary_join_element_wise(pa.scalar(f'{COMMA}{json.dumps(name)}: "'), shown, pa.scalar('"'), "")


def _joined(parts: Sequence[Any], records: int) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not parts:
        return pa.repeat(pa.scalar("{}"), records)
    # Each part begins with its comma: Arrow's own skipping of nulls loses the rows where all parts are null (tried).
    inside = pc.binary_join_element_wise(*[pc.fill_null(part, "") for part in parts], "")
    return pc.binary_join_element_wise(pa.scalar("{"), pc.utf8_slice_codeunits(inside, len(COMMA)), pa.scalar("}"), "")
