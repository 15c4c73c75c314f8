"""Shapes and previews of whole columns are those of single texts and records; many sealed at once open one by one."""

from __future__ import annotations

import json
import os
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processing.keys import SealBroken, seal, seal_all, unseal, unseal_all
from processing.shapes import shape, shapes
from publishing.quarantine_previews import HIDDEN, previews

NAMES = ("id", "name", 'odd "name"', "ssn")
CELLS = st.one_of(st.none(), st.text(max_size=30), st.text("Aa1 é-", max_size=30))
ERRORS = st.lists(st.sampled_from([None, "", "id", "name", "id,name", "ssn", 'odd "name"', "gone"]), max_size=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ab-12", "aa-99"), ("", ""), ("Ärger & Ö²", "aaaaa ? a9"), ("x" * 24, "a" * 24), ("x" * 25, "a" * 24 + "…"),
        ('"\\\n\x00', "????"), ("2020-01-31T10:00", "9999-99-99a99:99"),
    ],
)  # fmt: skip
def test_a_shape(text: str, expected: str) -> None:
    assert shape(text) == expected


@settings(deadline=None)
@given(st.lists(CELLS), st.integers(0, 3))
def test_shapes_of_a_column(texts: list[str | None], start: int) -> None:
    column = pa.array(texts, pa.string()).slice(start)
    assert shapes(column).to_pylist() == [None if text is None else shape(text) for text in texts[start:]]


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, st.one_of(st.none(), ERRORS)), min_size=1), st.integers(0, 2))
def test_previews_of_a_chunk(records: list[tuple[Any, ...]], start: int) -> None:
    kind = pa.list_(pa.struct([("rule", pa.string()), ("column", pa.string())]))
    told = [None if r[-1] is None else [{"rule": "r", "column": column} for column in r[-1]] for r in records]
    start = min(start, len(records) - 1)
    columns = {name: pa.array([r[i] for r in records], pa.string()).slice(start) for i, name in enumerate(NAMES)}
    found = previews(["id"], {"ssn"}, columns, pa.array(told, kind).slice(start))
    assert found.to_pylist() == [_preview(record) for record in records[start:]]


def _preview(record: tuple[Any, ...]) -> str:
    """The same for one record."""
    cells = {name: text for name, text in zip(NAMES, record, strict=False) if text is not None}
    shown = dict.fromkeys(["id", *(name for column in record[-1] or () for name in (column or "").split(","))])
    return json.dumps({n: HIDDEN if n == "ssn" else shape(cells[n]) for n in shown if n in cells})


def test_many_sealed_at_once_open_one_by_one_and_for_their_record_only() -> None:
    def binary(values: list[bytes]) -> Any:
        return pa.array(values, pa.binary())

    key = os.urandom(32)
    plains, ids = [b"a,1", b"", b"c" * 500], ["r-1", "r-2", "ü-3"]
    records, one_key, two_keys = pa.array(ids), pa.array(["k1"] * 3), pa.array(["k1", "k2"])
    sealed = seal_all(binary(plains), key, "k1", records).to_pylist()
    assert [unseal(s, key, "k1", i) for s, i in zip(sealed, ids, strict=True)] == plains
    assert len({s[:13] for s in sealed}) == 3  # a nonce each
    assert unseal_all(binary(sealed), key, one_key, records).to_pylist() == plains
    singly = binary([seal(p, key, "k1", i) for p, i in zip(plains, ids, strict=True)])
    assert unseal_all(singly, key, one_key, records).to_pylist() == plains
    with pytest.raises(SealBroken):
        unseal(sealed[0], key, "k1", ids[1])
    for broken in (sealed[2][:-1] + b"x", b"\x02" + sealed[2][1:], b"\x01", b""):
        with pytest.raises(SealBroken, match=ids[2]):
            unseal_all(binary([*sealed[:2], broken]), key, one_key, records)
    mixed = binary([sealed[0], seal(b"other", key, "k2", ids[1])])
    assert unseal_all(mixed, key, two_keys, records[:2]).to_pylist() == [b"a,1", b"other"]
    part = seal_all(binary(plains)[1:], key, "k1", records[1:])
    assert unseal_all(part[1:], key, one_key[2:], records[2:]).to_pylist() == plains[2:]
    none = pa.array([], pa.string())
    assert len(unseal_all(binary([]), key, none, none)) == len(seal_all(binary([]), key, "k1", none)) == 0
