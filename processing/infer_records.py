"""From the first records of a JSON or Parquet file to a guess at its contract: types, keys, codes, lists, objects.

Pure but for reading the file. Numbers and booleans of JSON, and the types of Parquet, are the file's own word; texts of
JSON are looked into for dates and times only: a text of digits is a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline_xml.types import STRING
from processing.infer import primary_key
from processing.infer_columns import FEW, ColumnGuess, infer_column
from processing.infer_sample import CannotInfer, read_beginning

JSON, PARQUET = "json", "parquet"
_MAGIC = b"PAR1"
_SPACES = b" \t\r\n"
_HEAD = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FieldGuess:
    """A field; `inside` are those of an object, or of each item of a list (`many`), one named `.` of plain items."""

    guess: ColumnGuess
    many: bool = False
    inside: tuple[FieldGuess, ...] = ()

    @property
    def name(self) -> str:
        return self.guess.name


@dataclass(frozen=True, slots=True)
class RecordsGuess:
    """`broken` records of the sample are no JSON objects; `complete`: the sample is all there is."""

    kind: str
    fields: tuple[FieldGuess, ...]
    primary_key: tuple[str, ...]
    key_why: str
    records: int
    broken: int
    complete: bool
    unchecked: tuple[str, ...]


def kind_of(path: Path) -> str | None:
    """JSON or PARQUET by how the file begins, None for anything else: a csv may begin with a bracket too."""
    from processing.parse_json import read_object

    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip(_SPACES)
    if head.startswith(_MAGIC):
        return PARQUET
    if head[:1] not in (b"{", b"["):
        return None
    first = next(_json_texts(head, len(head) < _HEAD), b"")
    named = path.suffix.lower() in (".json", ".jsonl", ".ndjson")
    return JSON if named or isinstance(read_object(first), dict) else None


def infer_records(path: Path, kind: str, rows: int = 10_000) -> RecordsGuess:
    """The guess from the first `rows` records; CannotInfer says what is missing."""
    records, broken, complete = _of_json(path, rows) if kind == JSON else _of_parquet(path, rows)
    if not records:
        raise CannotInfer(f"{path} holds no record that can be read: give a file with a few")
    fields = tuple(_fields(records) if kind == JSON else _declared(path, records))
    key, why = primary_key([f.guess for f in fields if not f.inside], len(records))
    fields = tuple(replace(f, guess=replace(f.guess, required=True)) if f.name in key else f for f in fields)
    return RecordsGuess(kind, fields, key, why, len(records), broken, complete, _unchecked(complete, len(records)))


def _of_json(path: Path, rows: int) -> tuple[list[dict[str, Any]], int, bool]:
    from processing.parse_json import read_object

    data, complete = read_beginning(path, rows)
    found = [read_object(record) for record in islice(_json_texts(data, complete), rows + 1)]
    sound = [record for record in found[:rows] if isinstance(record, dict)]
    return sound, len(found[:rows]) - len(sound), complete and len(found) <= rows


def _json_texts(data: bytes, complete: bool) -> Iterator[bytes]:
    """The texts of the records; the last one of a beginning may be cut, and is left out."""
    from processing.scan_json import ArrayEnds

    body = data.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACES)
    if body.startswith(b"["):
        body = body[1:]
        ends = ArrayEnds().split(body).tolist()
        starts = [0, *(end + 1 for end in ends)]
        parts = [body[start:end] for start, end in zip(starts, ends, strict=False)]
    else:
        parts = body.split(b"\n")
        parts = parts if complete else parts[:-1]
    yield from (part.strip(_SPACES) for part in parts if part.strip(_SPACES))


def _of_parquet(path: Path, rows: int) -> tuple[list[dict[str, Any]], int, bool]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = []
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=min(rows, 10_000)):
                found += batch.to_pylist()
                if len(found) >= rows:
                    break
            return found[:rows], 0, len(found[:rows]) == file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise CannotInfer(f"{path} is no Parquet file that can be read, or its end is missing") from error


def _fields(records: Sequence[dict[str, Any]]) -> Iterator[FieldGuess]:
    names = dict.fromkeys(name for record in records for name in record)
    taken = frozenset(name.lower() for name in names)
    for name in names:
        yield _field(name, [record.get(name) for record in records], taken)


def _field(name: str, values: Sequence[Any], taken: frozenset[str] = frozenset()) -> FieldGuess:
    there = [value for value in values if value is not None]
    lists, objects = (sum(isinstance(value, kind) for value in there) for kind in (list, dict))
    if there and lists + objects == len(there) and not (lists and objects):
        items = [item for value in there for item in value] if lists else there
        inside = _inside(items)
        if inside:
            return FieldGuess(_held(name, values, len(there), bool(lists)), bool(lists), inside)
    return FieldGuess(_plain(name, values, taken))


def _inside(items: Sequence[Any]) -> tuple[FieldGuess, ...]:
    """The fields of the items; none where they are of several kinds, or lists themselves."""
    there = [item for item in items if item is not None]
    if there and all(isinstance(item, dict) for item in there):
        return tuple(_uncoded(field) for field in _fields(there))
    if there and not any(isinstance(item, dict | list) for item in there):
        return (_uncoded(FieldGuess(_plain(".", items))),)
    return ()


def _uncoded(field: FieldGuess) -> FieldGuess:
    """Inside a list or an object there is no column beside a value for its code: such a one is a text."""
    if not field.guess.codes:
        return field
    note = f"a text, because of {', '.join(field.guess.codes)} among the values"
    return FieldGuess(replace(field.guess, type=STRING, format=None, codes=(), notes=(note,)))


def _held(name: str, values: Sequence[Any], there: int, many: bool) -> ColumnGuess:
    evidence = f"{there:,} of {len(values):,} records have {'a list' if many else 'an object'}"
    required = there == len(values) >= FEW
    return ColumnGuess(name, STRING, evidence, None, required, values=there, blank=len(values) - there)


def _plain(name: str, values: Sequence[Any], taken: frozenset[str] = frozenset()) -> ColumnGuess:
    """A field of single values, by their own kinds and the looks of their texts."""
    from processing.parse_json import Number, value_text

    cells = ["" if value is None else value_text(value) for value in values]
    guess = infer_column(name, cells, taken)
    there = [value for value in values if value is not None]
    own = any(isinstance(value, Number | bool) for value in there)
    texts = [value for value in there if type(value) is str]
    if guess.type.kind not in ("string", "date", "timestamp") and (not own or "" in texts):
        why = "an empty text is no value of another type" if own else "texts in the file, though they look like numbers"
        guess = replace(guess, type=STRING, format=None, codes=(), evidence=f"{len(there):,} values", notes=(why,))
    if any(isinstance(value, list | dict) for value in there):
        guess = replace(guess, type=STRING, listed=(), codes=(), notes=("lists or objects among others: kept as JSON",))
    return replace(guess, required=guess.required and len(there) == len(values))


def _declared(path: Path, records: Sequence[dict[str, Any]]) -> Iterator[FieldGuess]:
    """The fields of a Parquet file: their types are its own."""
    import pyarrow.parquet as pq

    for column in pq.read_schema(path):
        yield _typed(column.name, column.type, [record[column.name] for record in records])


def _typed(name: str, kind: Any, values: Sequence[Any]) -> FieldGuess:
    import pyarrow.types as pt

    from processing.arrow_types import contract_type

    kind = kind.value_type if pt.is_dictionary(kind) else kind
    there = [value for value in values if value is not None]
    many = pt.is_list(kind) or pt.is_large_list(kind)
    if many or pt.is_struct(kind):
        items = [item for value in there for item in value] if many else there
        of = kind.value_type if many else kind
        if pt.is_struct(of):
            objects = [item for item in items if item is not None]
            inside = tuple(_typed(f.name, f.type, [item[f.name] for item in objects]) for f in of)
        else:
            inside = (_typed(".", of, items),)
        return FieldGuess(_held(name, values, len(there), many), many, inside)
    own = contract_type(kind)
    if own is None:
        raise CannotInfer(f"the column {name} is {kind}, a type that contracts lack: leave it out of the file")
    guess = infer_column(name, ["" if value is None else str(value) for value in values])
    evidence = f"the file's own type; {len(there):,} of {len(values):,} have a value"
    listed = guess.listed if own == STRING else ()
    required = len(there) == len(values) >= FEW
    return FieldGuess(
        replace(guess, type=own, format=None, codes=(), listed=listed, notes=(), evidence=evidence, required=required)
    )


def _unchecked(complete: bool, seen: int) -> tuple[str, ...]:
    found = [
        "rules between fields, and limits of numbers and lengths",
        "numbers that stand for a code, such as 9999",
        "keys of several fields, and whether the key is unique across files",
        "which fields are personal: only by their names",
    ]
    if not complete:
        found.insert(0, f"everything after the first {seen:,} records")
    if seen < FEW:
        found.insert(0, f"whether a field may be missing, and lists of values: {seen} records are too few")
    return tuple(found)


def leaves(field: FieldGuess, before: str = "") -> Iterable[tuple[str, ColumnGuess]]:
    """(path, guess) of the single values of an item, through objects; lists inside it are left out."""
    for each in field.inside:
        if not each.inside:
            yield f"{before}{each.name}", each.guess
        elif not each.many:
            yield from leaves(each, f"{before}{each.name}.")
