"""`lake new` from JSON and Parquet: types, keys, codes, lists and objects; and that no value is told."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from command_line.main import WrongUse, app
from command_line.new import CannotWrite
from command_line.new_from_records import MadeFromRecords, new_from_records
from processing.infer_records import kind_of


def made(file: Path, root: Path, **more: Any) -> MadeFromRecords:
    kind = kind_of(file)
    assert kind is not None
    chosen = {"app": "shop", "pipeline": None, "rows": 10_000, "force": False, **more}
    return new_from_records(file, kind, root, **chosen)


def record(number: int) -> dict[str, Any]:
    return {
        "order_id": f"O{number:04}",
        "customer_name": f"Secretperson{number}",
        "amount": "NA" if number % 10 == 0 else number + 0.25,
        "zip": f"{number:05}",
        "day": f"2024-01-{number % 28 + 1:02}",
        "paid": number % 2 == 0,
        "status": "open" if number % 3 else "closed",
        "note": None if number % 2 else "",
        "lines": [{"sku": f"s{number}", "qty": number, "price": {"amount": 1.5}, "tags": ["x"]}],
        "colours": ["red", None],
        "address": {"city": f"Secrettown{number}", "since": "2020-01-01T00:00:00Z"},
        "odd": [1] if number % 2 else "one",
    }


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    file = tmp_path / "orders_2024-05-31.jsonl"
    file.write_text("\n".join(json.dumps(record(n)) for n in range(1, 81)) + "\nbroken\n")
    return file


def test_json_is_guessed_field_by_field(orders: Path, tmp_path: Path) -> None:
    found = made(orders, tmp_path / "config")
    assert [p for p in found.problems if p.severity == "error"] == []
    assert (found.guess.records, found.guess.broken, found.guess.complete) == (80, 1, True)
    contract = json.loads(found.files["applications/shop/staging/schemas/orders.json"])
    fields = contract["properties"]
    assert contract["x-primaryKey"] == ["order_id"]
    assert {"order_id", "day", "lines", "address"} <= set(contract["required"])
    assert "note" not in contract["required"]
    assert (fields["amount"]["type"], fields["amount"]["x-codes"]) == ("number", ["NA"])
    assert fields["zip"]["type"] == "string", "digits in quotes are a text"
    assert fields["day"]["format"] == "date"
    assert fields["paid"]["type"] == "boolean"
    assert fields["status"]["enum"] == ["closed", "open"]
    assert fields["customer_name"]["x-classification"] == "pii"
    assert (fields["odd"]["type"], "enum" in fields["odd"]) == ("string", False)
    item = fields["lines"]["items"]
    assert {k: v["type"] for k, v in item["properties"].items()} == {
        "sku": "string", "qty": "integer", "price": "object", "tags": "array",
    }  # fmt: skip
    assert item["properties"]["price"]["properties"]["amount"]["type"] == "number"
    assert fields["colours"]["items"]["type"] == ["string", "null"]
    assert fields["address"]["properties"]["since"]["format"] == "date-time"


def test_the_pipeline_makes_rows_of_the_first_list_and_says_what_it_leaves_out(orders: Path, tmp_path: Path) -> None:
    found = made(orders, tmp_path / "config")
    assert found.left_out == ("colours",)
    text = found.files["applications/shop/staging/pipelines/orders.xml"]
    assert '<json id="orders"' in text
    assert "(?P&lt;business_date&gt;[0-9]{4}-[0-9]{2}-[0-9]{2})" in text
    assert '<flatten source="orders" column="lines" position="lines_number">' in text
    assert '<column name="price_amount" path="price.amount"/>' in text
    assert "Left out: colours" in text
    assert [p.code for p in found.problems] == ["LK507"], "and a warning that a replay does not go through a list"


def test_no_value_is_told_but_codes_and_lists(orders: Path, tmp_path: Path) -> None:
    root = tmp_path / "config"
    said = CliRunner().invoke(app, ["new", str(orders), "--out", str(root)], catch_exceptions=False).stdout
    assert "read 80 records of json (the whole file)" in said
    said += CliRunner().invoke(app, ["new", str(orders), "--out", str(root), "--force", "--json"]).stdout
    said += "".join(path.read_text() for path in root.rglob("*") if path.is_file())
    assert [word for word in ("Secret", "O0001", "00042", "s42") if word in said] == []


def test_an_array_of_objects_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"id": n, "n": 2**40} for n in range(30)], indent=1))
    found = made(tmp_path / "a.json", tmp_path / "c")
    assert (found.guess.records, found.guess.broken, found.guess.complete) == (30, 0, True)
    assert found.problems == ()
    assert [str(f.guess.type) for f in found.guess.fields] == ["bigint", "bigint"]
    again = made(tmp_path / "a.json", tmp_path / "d", rows=10)
    assert (again.guess.records, again.guess.complete) == (10, False)


def test_parquet_says_its_types_itself(tmp_path: Path) -> None:
    line = pa.struct([("sku", pa.string()), ("price", pa.decimal128(9, 2)), ("sent", pa.date32())])
    table = pa.table({
        "id": pa.array(range(30), pa.int64()),
        "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 30, pa.timestamp("us", tz="UTC")),
        "digits": pa.array(["7"] * 30),
        "lines": pa.array([[{"sku": "a", "price": Decimal("1.10"), "sent": date(2024, 1, 1)}]] * 30, pa.list_(line)),
        "place": pa.array([{"city": "Rome"}] * 30, pa.struct([("city", pa.string())])),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "feed_20240131.parquet")
    found = made(tmp_path / "feed_20240131.parquet", tmp_path / "config")
    assert [p.code for p in found.problems] == ["LK507"]
    contract = json.loads(found.files["applications/shop/staging/schemas/feed.json"])
    fields = contract["properties"]
    assert contract["x-primaryKey"] == ["id"]
    assert (fields["id"]["x-type"], fields["at"]["format"], fields["digits"]["type"]) == (
        "bigint", "date-time", "string",
    )  # fmt: skip
    assert fields["lines"]["items"]["properties"]["price"]["x-type"] == "decimal(9,2)"
    assert fields["place"]["type"] == "object"
    text = found.files["applications/shop/staging/pipelines/feed.xml"]
    assert text.index('column="place"') < text.index('column="lines"')


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", '{"first-name": 1}', "fields that cannot be columns: first-name"),
        ("a.json", '{"a": 1, "A": 1}', "fields that cannot be columns: a, A"),
        ("a.json", "[]", "holds no record"),
        ("a.json", '{\n"a": 1\n}', "holds no record"),
        ("a.parquet", "PAR1 and no more", "is no Parquet file"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(WrongUse, match=says):
        CliRunner().invoke(app, ["new", str(tmp_path / name), "--out", str(tmp_path / "c")], catch_exceptions=False)
    assert not (tmp_path / "c").exists()


def test_what_stands_there_stays(orders: Path, tmp_path: Path) -> None:
    made(orders, tmp_path / "config")
    with pytest.raises(CannotWrite, match="nothing written"):
        made(orders, tmp_path / "config")
    made(orders, tmp_path / "config", force=True)


def test_a_csv_may_begin_with_a_bracket(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("[a],b\n1,2\n")
    (tmp_path / "b.csv").write_text('{a},b\n1,2\n')
    assert (kind_of(tmp_path / "a.csv"), kind_of(tmp_path / "b.csv"), kind_of(tmp_path)) == (None, None, None)
