"""The shape of a text, which shows what kind of value stands there and never the value; one by one, or a column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LENGTH = 24  # characters that are shown
MORE = "…"
_KEPT = " .,-/:_+"


def shape(text: str) -> str:
    """`Ab-12` as `aa-99`, cut after LENGTH characters: letters as a, digits as 9, what else may tell as ?."""
    return _masked(text[:LENGTH]) + (MORE if len(text) > LENGTH else "")


def shapes(texts: pa.StringArray, more: str = MORE) -> pa.StringArray:
    """`shape` of every text, null where it is null; `more` stands for what was cut."""
    if not len(texts):
        return texts
    shown = pc.utf8_slice_codeunits(texts, 0, LENGTH)
    masked = _ascii_masked(shown)
    other = pc.invert(pc.fill_null(pc.string_is_ascii(shown), True))
    if pc.any(other).as_py():
        by_character = [_masked(text) for text in shown.filter(other).to_pylist()]
        masked = pc.replace_with_mask(masked, other, pa.array(by_character, pa.string()))
    longer = pc.greater(pc.utf8_length(texts), LENGTH)
    if not pc.any(longer).as_py():
        return masked
    return pc.if_else(longer, pc.binary_join_element_wise(masked, pa.scalar(more), ""), masked)


def _masked(text: str) -> str:
    return "".join("9" if c.isdigit() else "a" if c.isalpha() else c if c in _KEPT else "?" for c in text)


_TABLE = np.frombuffer(b"".join(_masked(chr(code)).encode() for code in range(128)) + bytes(range(128, 256)), np.uint8)


def _ascii_masked(texts: pa.StringArray) -> pa.StringArray:
    """Byte by byte; texts beyond ASCII come out unmasked but for their ASCII characters, and must be replaced."""
    validity, offsets, data = texts.buffers()
    masked = pa.py_buffer(_TABLE[np.frombuffer(data, np.uint8)]) if data is not None and data.size else data
    return pa.StringArray.from_buffers(len(texts), offsets, masked, validity, -1, texts.offset)
