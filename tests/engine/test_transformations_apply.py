"""What transformations do with records, the same on both engines: values, types, status and reasons, each literal.

Frames are laid down as the reader would lay them: the columns, then identity, `_status` and `_errors`.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.errors import PySparkException

from processing import frame as f
from processing.keys import decrypt_text
from processing.references import ReferenceBroken
from resources.engine import Engine
from tests.step_frames import BIG, DAY, INT, MONEY, TEXT, apply, run
from tests.step_plans import contract

KEY_TEXT = "a key of more than sixteen bytes"


@pytest.mark.parametrize(
    ("attributes", "lost"),
    [
        ('keep="first"', {2, 4}),
        ('keep="last"', {1, 2}),
        ('keep="latest" orderBy="n"', {2, 4}),
        ('keep="latest" orderBy="m"', {1, 2}),
    ],
)
def test_deduplicate_leaves_one_of_each_key(engine: Engine, tmp_path: Path, attributes: str, lost: set[int]) -> None:
    rows = [
        {"k": "a", "n": 9, "m": 1},
        {"k": "a", "n": 3, "m": 1},
        {"k": "b", "n": 1},
        {"k": "a", "n": None, "m": 1},  # null is lowest; m ties: the later record wins
        {"k": None, "n": 1},
        {"k": None, "n": 1},
        {"k": "a", "n": 99, "m": 99, f.STATUS: f.QUARANTINED},  # takes no part
    ]
    step = f'<deduplicate source="s" keys="k" {attributes}/>'
    out = run(engine, tmp_path, step, {"k": TEXT, "n": INT, "m": INT}, rows)
    assert {n for n, status in out.status.items() if status == f.DEDUPLICATED} == lost
    assert out.status[7] == f.QUARANTINED
    assert sorted(out.rows) == [1, 2, 3, 4, 5, 6, 7]
    assert out.types == {"k": "string", "n": "int32", "m": "int32"}


def test_deduplicate_goes_by_arrival_before_record_and_can_quarantine(engine: Engine, tmp_path: Path) -> None:
    rows = [{"k": 0.0, f.ARRIVAL: 2}, {"k": -0.0, f.ARRIVAL: 1}]
    step = '<deduplicate source="s" keys="k" losers="quarantine"/>'
    out = run(engine, tmp_path, step, {"k": {"type": "number"}}, rows)
    assert out.status == {1: f.QUARANTINED, 2: None}
    assert out.errors == {1: [("deduplicate", "k", "duplicate")]}


def test_derive_computes_in_order_and_sets_aside_what_it_cannot(engine: Engine, tmp_path: Path) -> None:
    step = """<derive source="s"><column name="q" expression="n / d"/><column name="twice" expression="n * 2"/>
      <column name="text" expression="upper(t)"/><column name="more" expression="concat(text, '!')"/></derive>"""
    rows = [
        {"t": "é", "n": 6, "d": 4},
        {"t": None, "n": 6, "d": 0},
        {"t": "x", "n": 2**63 - 1, "d": 1},
        {"t": "x", "n": 1, "d": 0, f.STATUS: f.FILTERED},
    ]
    out = run(engine, tmp_path, step, {"t": TEXT, "n": BIG, "d": BIG}, rows)
    assert out.rows[1]["twice"] == 12
    assert (out.rows[1]["text"], out.rows[1]["more"], out.rows[2]["more"]) == ("É", "É!", None)
    assert out.status == {1: None, 2: f.QUARANTINED, 3: f.QUARANTINED, 4: f.FILTERED}
    assert out.errors == {2: [("derive.q", "q", "division_by_zero")], 3: [("derive.twice", "twice", "overflow")]}


@pytest.mark.parametrize(("on_reject", "status"), [("drop", f.FILTERED), ("quarantine", f.QUARANTINED)])
def test_filter_keeps_what_is_true(engine: Engine, tmp_path: Path, on_reject: str, status: str) -> None:
    step = f'<filter source="s" condition="10 / n &gt; 2" onReject="{on_reject}"/>'
    rows = [{"n": 1}, {"n": 9}, {"n": None}, {"n": 0}, {"n": 9, f.STATUS: f.DEDUPLICATED}]
    out = run(engine, tmp_path, step, {"n": BIG}, rows)
    assert out.status == {1: None, 2: status, 3: status, 4: f.QUARANTINED, 5: f.DEDUPLICATED}
    assert out.errors[4] == [("filter", "n", "division_by_zero")]
    assert (2 in out.errors) == (on_reject == "quarantine")


CODES = contract(
    {"code": INT, "kind": TEXT, "name": TEXT, "limit": MONEY, "since": {"type": "string", "format": "date"}},
    required=["code", "kind"],
    **{"x-primaryKey": ["code", "kind"]},
)
CODES_CSV = "code,kind,name,limit,since\n1,a,one,1.50,2024-02-29\n2,a,two,,\n"


@pytest.mark.parametrize(
    ("attributes", "status"),
    [("", None), ('onMissing="quarantine"', f.QUARANTINED), ('joinType="inner"', f.FILTERED)],
)
def test_lookup_adds_typed_columns(engine: Engine, tmp_path: Path, attributes: str, status: str | None) -> None:
    step = f'<lookup source="s" reference="codes" outputFields="name,limit,since" on="n=code,k=kind" {attributes}/>'
    rows = [{"n": 1, "k": "a"}, {"n": 2, "k": "a"}, {"n": 1, "k": "b"}, {"n": None, "k": "a"}]
    lookups = {"codes": (CODES, CODES_CSV)}
    out = run(engine, tmp_path, step, {"n": BIG, "k": TEXT}, rows, lookups=lookups)
    found = {"name": "one", "limit": Decimal("1.50"), "since": date(2024, 2, 29)}
    assert out.rows[1] == {"n": 1, "k": "a", **found}
    assert out.rows[2] == {"n": 2, "k": "a", "name": "two", "limit": None, "since": None}
    assert out.rows[3]["name"] is None
    assert out.status == {1: None, 2: None, 3: status, 4: status}
    added = {"name": "string", "limit": "decimal128(10, 2)", "since": "date32[day]"}
    assert out.types == {"n": "int64", "k": "string", **added}
    reason = [("lookup.codes", "n,k", "missing_reference")]
    assert out.errors == ({3: reason, 4: reason} if status == f.QUARANTINED else {})


def test_lookup_refuses_a_reference_that_is_not_unique_on_its_own_key(engine: Engine, tmp_path: Path) -> None:
    step = '<lookup source="s" reference="codes" outputFields="name" on="k=kind"/>'
    lookups = {"codes": (CODES, CODES_CSV)}
    with pytest.raises(ReferenceBroken, match=r"key \(kind\) occurs more than once: records 1, 2"):
        run(engine, tmp_path, step, {"k": TEXT}, [{"k": "a"}], lookups=lookups)


def keep_secret(root: Path) -> None:
    (root / "secrets").mkdir()
    (root / "secrets" / "MASK_KEY").write_text(KEY_TEXT + "\n")


def test_mask_hashes_the_text_of_every_type(engine: Engine, tmp_path: Path) -> None:
    keep_secret(tmp_path)
    properties = {
        "t": TEXT, "i": INT, "m": MONEY, "r": {"type": "number"}, "b": {"type": "boolean"},
        "d": {"type": "string", "format": "date"}, "w": {"type": "string", "format": "date-time"},
    }  # fmt: skip
    values = {
        "t": "Müller 😀", "i": -7, "m": Decimal("1.50"), "r": 1e-5, "b": True,
        "d": DAY, "w": datetime(2024, 1, 5, 10, 0, 0, 500000, UTC),
    }  # fmt: skip
    texts = {
        "t": "Müller 😀", "i": "-7", "m": "1.50", "r": "1e-05", "b": "true",
        "d": "2024-12-31", "w": "2024-01-05T10:00:00.500000Z",
    }  # fmt: skip
    step = f'<mask source="s" columns="{",".join(properties)}" strategy="hash"/>'
    rows = [values, {}, {"t": ""}, {"t": "Müller 😀"}]
    out = run(engine, tmp_path, step, properties, rows, keys={"default": "MASK_KEY"})
    expected = {n: hmac.digest(KEY_TEXT.encode(), t.encode(), hashlib.sha256).hex() for n, t in texts.items()}
    assert out.rows[1] == expected
    assert out.rows[2] == dict.fromkeys(properties)
    assert out.rows[3]["t"] == hmac.digest(KEY_TEXT.encode(), b"", hashlib.sha256).hex()
    assert out.rows[4]["t"] == expected["t"]
    assert set(out.types.values()) == {"string"}


def test_mask_encrypts_so_that_the_key_reads_it_back(engine: Engine, tmp_path: Path) -> None:
    keep_secret(tmp_path)
    step = '<mask source="s" columns="t,n" strategy="encrypt"/>'
    rows = [{"t": "é", "n": 12}, {"t": "é", "n": None}, {"t": ""}]
    out = run(engine, tmp_path, step, {"t": TEXT, "n": BIG}, rows, keys={"k7": "MASK_KEY"})
    assert out.rows[1]["t"] == out.rows[2]["t"] != out.rows[3]["t"]
    assert out.rows[1]["t"].startswith("k7:")
    assert [decrypt_text(out.rows[i]["t"], KEY_TEXT.encode()) for i in (1, 3)] == ["é", ""]
    assert decrypt_text(out.rows[1]["n"], KEY_TEXT.encode()) == "12"
    assert out.rows[2]["n"] is None


def test_mask_encrypts_for_each_record_so_that_nobody_sees_which_are_equal(engine: Engine, tmp_path: Path) -> None:
    keep_secret(tmp_path)
    step = '<mask source="s" columns="t,n" strategy="encrypt" algorithm="aes-gcm"/>'
    rows = [{"t": "12", "n": 12}, {"t": "12", "n": None}, {"t": "", f.STATUS: f.QUARANTINED}]
    out = run(engine, tmp_path, step, {"t": TEXT, "n": BIG}, rows, keys={"k7": "MASK_KEY"})
    one, two = out.rows[1], out.rows[2]
    assert one["t"].startswith("k7:gcm.")
    assert len({one["t"], one["n"], two["t"]}) == 3
    assert [decrypt_text(each, KEY_TEXT.encode()) for each in (one["t"], one["n"], two["t"])] == ["12"] * 3
    assert two["n"] is None
    assert out.rows[3] == {"t": None, "n": None}


@pytest.mark.parametrize("strategy", ["hash", "encrypt", "redact"])
def test_mask_leaves_nothing_readable_of_a_record_that_is_set_aside(
    engine: Engine, tmp_path: Path, strategy: str
) -> None:
    keep_secret(tmp_path)
    step = f'<mask source="s" columns="t,n" strategy="{strategy}"/>'
    rows = [{"t": "é", "n": 12}, {"t": "é", "n": 12, f.STATUS: f.QUARANTINED}]
    out = run(engine, tmp_path, step, {"t": TEXT, "n": BIG}, rows, keys={"k7": "MASK_KEY"})
    assert None not in out.rows[1].values()
    nothing = "***" if strategy == "redact" else None
    assert out.rows[2] == {"t": nothing, "n": nothing}
    assert out.status == {1: None, 2: f.QUARANTINED}


def test_mask_redacts_and_never_shows_a_whole_value(engine: Engine, tmp_path: Path) -> None:
    steps = """<mask source="s" columns="t,n" strategy="redact" keepLast="4"/>
      <mask source="s" columns="m" strategy="redact"/>"""
    rows = [{"t": "ab😀defg", "n": 123456, "m": Decimal("1.00")}, {"t": "abcd", "n": -123}, {"t": "", "n": 12345}]
    out = run(engine, tmp_path, steps, {"t": TEXT, "n": INT, "m": MONEY}, rows)
    assert [out.rows[i]["t"] for i in (1, 2, 3)] == ["***defg", "***", "***"]
    assert [out.rows[i]["n"] for i in (1, 2, 3)] == ["***3456", "***", "***2345"]
    assert [out.rows[i]["m"] for i in (1, 2, 3)] == ["***", None, None]


def test_a_key_is_in_no_plan_and_a_missing_one_is_told_by_name(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_secret(tmp_path)
    step = '<mask source="s" columns="t" strategy="hash"/>'
    masked = apply(engine, tmp_path, step, {"t": TEXT}, [{"t": "x"}], keys={"default": "MASK_KEY"})
    masked.explain(True)
    command = masked._plan.to_proto(engine.session._client).SerializeToString()
    told = capsys.readouterr().out
    assert "Project" in told
    for form in (KEY_TEXT, KEY_TEXT.encode().hex()):
        assert form not in told
        assert form.encode() not in command
    (tmp_path / "secrets" / "MASK_KEY").unlink()
    with pytest.raises(PySparkException, match="secret 'MASK_KEY' is missing"):
        masked.toArrow()


def test_aggregate_types_and_values(engine: Engine, tmp_path: Path) -> None:
    step = """<aggregate source="s" as="a" groupBy="g" metrics="count:rows,count:n:ns,count_distinct:n,sum:n,sum:b,
      sum:m:total,sum:r,avg:m,avg:n:mean,min:d,max:t"/>"""
    properties = {
        "g": TEXT, "n": INT, "b": BIG, "m": MONEY, "r": {"type": "number"}, "t": TEXT,
        "d": {"type": "string", "format": "date"},
    }  # fmt: skip
    rows = [
        {"g": "a", "n": 2**31 - 1, "b": 2**62, "m": Decimal("0.10"), "r": 0.5, "t": "é", "d": DAY},
        {
            "g": "a",
            "n": 2**31 - 1,
            "b": 2**62 - 1,
            "m": Decimal("99999999.99"),
            "r": 0.25,
            "t": "z",
            "d": date(2024, 1, 1),
        },
        {"g": "a", "n": None, "m": Decimal("0.01")},
        {"g": "a", "n": 5, "m": Decimal("7.00"), f.STATUS: f.QUARANTINED},
        {"g": None, "n": None},
    ]
    out = run(engine, tmp_path, step, properties, rows)
    by_group = {row["g"]: row for row in out.rows.values()}
    assert by_group == {
        "a": {
            "g": "a", "rows": 3, "ns": 2, "count_distinct_n": 1, "sum_n": 2**32 - 2, "sum_b": 2**63 - 1,
            "total": Decimal("100000000.10"), "sum_r": 0.75, "avg_m": 100000000.10 / 3, "mean": 2147483647.0,
            "min_d": date(2024, 1, 1), "max_t": "é",
        },
        None: {
            "g": None, "rows": 1, "ns": 0, "count_distinct_n": 0, "sum_n": None, "sum_b": None, "total": None,
            "sum_r": None, "avg_m": None, "mean": None, "min_d": None, "max_t": None,
        },
    }  # fmt: skip
    assert out.types == {
        "g": "string", "rows": "int64", "ns": "int64", "count_distinct_n": "int64", "sum_n": "int64", "sum_b": "int64",
        "total": "decimal128(20, 2)", "sum_r": "double", "avg_m": "double", "mean": "double", "min_d": "date32[day]",
        "max_t": "string",
    }  # fmt: skip


def test_a_sum_beyond_bigint_ends_the_run_instead_of_wrapping(engine: Engine, tmp_path: Path) -> None:
    step = '<aggregate source="s" groupBy="g" metrics="sum:b"/>'
    rows = [{"g": "a", "b": 2**63 - 1}, {"g": "a", "b": 1}]
    with pytest.raises(PySparkException, match="sum_b is beyond bigint"):
        apply(engine, tmp_path, step, {"g": TEXT, "b": BIG}, rows).toArrow()


def test_cast_reads_formats_and_rejects_or_forgives(engine: Engine, tmp_path: Path) -> None:
    steps = """<cast source="s"><column name="t" type="timestamp" format="yyyy-MM-dd'T'HH:mm:ss"/></cast>
      <cast source="s" onInvalid="null"><column name="u" type="decimal(4,1)"/><column name="n" type="string"/></cast>"""
    rows = [
        {"t": "2024-01-31T10:11:12", "u": "99.95", "n": 7},
        {"t": "2024-01-31 10:11:12", "u": "999.95", "n": None},
        {"t": None, "u": "x", "n": -1},
    ]
    out = run(engine, tmp_path, steps, {"t": TEXT, "u": TEXT, "n": INT}, rows)
    assert out.rows == {
        1: {"t": datetime(2024, 1, 31, 10, 11, 12, tzinfo=UTC), "u": Decimal("100.0"), "n": "7"},
        2: {"t": None, "u": None, "n": None},
        3: {"t": None, "u": None, "n": "-1"},
    }
    assert out.errors == {2: [("cast.t", "t", "invalid_cast")]}
    assert out.types == {"t": "timestamp[us, tz=UTC]", "u": "decimal128(4, 1)", "n": "string"}
