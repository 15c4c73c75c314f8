"""What a steward sees: lists and pages masked, text in clear on record, files for work outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from publishing.quarantined import refresh_all
from stewardship import audit
from stewardship.actors import AUDITOR, Actor
from stewardship.assign import assign
from stewardship.batches import Wanted, describe, list_batches
from stewardship.exchange import export, import_file
from stewardship.new_values import read_values
from stewardship.quarantine import reveal_batch, reveal_record, show_batch
from stewardship.refused import NotAllowed, NotFound, Refused, Unfit
from tests.steward_desk import ANA, CLEO, FEED, LINES, Desk


def test_a_list_and_its_conditions(desk: Desk) -> None:
    desk.feed.land("pay2.csv", LINES[0], "x,-1,01.02.2024,n")
    desk.feed.run()
    refresh_all(desk.lake, FEED)
    both = list_batches(desk.lake, desk.catalog, Wanted())
    assert [(b.records, b.open, b.status) for b in both.batches] == [(1, 1, "published"), (5, 5, "published")]
    assert both.after is None
    first = list_batches(desk.lake, desk.catalog, Wanted(), limit=1)
    second = list_batches(desk.lake, desk.catalog, Wanted(), limit=1, after=first.after)
    assert [first.batches[0].key, second.batches[0].key] == [b.key for b in both.batches]
    assert second.after is None

    def keys(**wanted: Any) -> list[str]:
        return [b.key for b in list_batches(desk.lake, desk.catalog, Wanted(**wanted)).batches]

    assert keys(rule="record.ragged") == [desk.key]
    assert keys(rule="contract.amount") == []
    assert keys(state="open", pipeline=FEED) == [b.key for b in both.batches]
    assert keys(state="resolved") == []
    assert keys(product_processor="nobody") == []
    assign(desk.lake, desk.catalog, ANA, desk.key, "Dora")
    assert keys(assignee="dora") == [desk.key]
    assert describe(desk.lake, desk.catalog, desk.key).assignee == "Dora"
    with pytest.raises(Refused, match="valid: open, held"):
        keys(state="closed")
    with pytest.raises(NotFound, match=f"Did you mean {desk.key}"):
        describe(desk.lake, desk.catalog, desk.key + "x")


def test_pages_of_a_batch_are_masked_and_hold_every_record_once(desk: Desk) -> None:
    seen, after = [], None
    while True:
        view = show_batch(desk.lake, desk.catalog, desk.key, after=after, limit=2)
        seen += [line.entry.record_id for line in view.records]
        after = view.after
        if after is None:
            break
    assert seen == sorted(desk.ids.values())
    text = json.dumps(show_batch(desk.lake, desk.catalog, desk.key).as_dict(), default=str)
    for value in ("secret-b", "3,5", "2024-02-01", "-2.50"):
        assert value not in text
    by_rule = show_batch(desk.lake, desk.catalog, desk.key, rule="contract.amount.minimum").records
    assert [line.entry.record_id for line in by_rule] == [desk.ids["b"], desk.ids["d"]]
    assert show_batch(desk.lake, desk.catalog, desk.key, state="resolved").records == ()


def test_the_raw_text_is_on_record_before_it_is_seen(desk: Desk) -> None:
    desk.values({"b": {"amount": "2.5"}})
    with pytest.raises(NotAllowed, match="reveal needs the role auditor"):
        reveal_record(desk.lake, desk.catalog, desk.pipeline, ANA, "r", desk.key, desk.ids["b"])
    with pytest.raises(NotAllowed, match="bring a token"):
        reveal_batch(desk.lake, desk.catalog, desk.pipeline, Actor("cleo", AUDITOR), "r", desk.key)
    with pytest.raises(Refused, match="a reason is needed"):
        reveal_batch(desk.lake, desk.catalog, desk.pipeline, CLEO, " ", desk.key)
    assert [e.action for e in audit.entries(desk.lake)] == ["correct"]

    view = reveal_record(desk.lake, desk.catalog, desk.pipeline, CLEO, "the lender asks", desk.key, desk.ids["b"])
    assert view.record.text == "b,-2.50,01.02.2024,secret-b"
    assert [(c.column, c.before, c.after) for c in view.corrections[0].changes] == [("amount", "-2.50", "2.5")]
    page = reveal_batch(desk.lake, desk.catalog, desk.pipeline, CLEO, "the lender asks", desk.key, limit=2)
    assert [line.text for line in page.records] == [LINES[2], LINES[3]]
    newest, before = audit.entries(desk.lake, action="reveal")
    assert (newest.actor, newest.details["records"], newest.details["reason"]) == ("cleo", 2, "the lender asks")
    assert before.details["first"] == desk.ids["b"]
    assert "secret" not in json.dumps([newest.as_dict(), before.as_dict()])


def test_a_file_for_work_outside_comes_back(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    done = export(desk.lake, desk.catalog, desk.pipeline, ANA, desk.key, path)
    assert (done.records, done.revealed, path.stat().st_mode & 0o777) == (5, False, 0o600)
    text = path.read_text()
    assert text.startswith("record_id,source_file,source_record,rules,id,amount,paid,note\n")
    for value in ("secret-b", "2024-02-01", "-2.50"):
        assert value not in text
    with pytest.raises(Refused, match="nothing in it differs"):
        import_file(desk.lake, desk.catalog, desk.pipeline, ANA, "r", desk.key, path)
    with pytest.raises(Refused, match="does not exist yet"):
        export(desk.lake, desk.catalog, desk.pipeline, ANA, desk.key, path)

    lines = text.splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith(desk.ids["b"]))
    path.write_text("\n".join([*lines[:row], lines[row].replace("masked:-9.99", "12.50"), *lines[row + 1 :]]))
    proposal = import_file(desk.lake, desk.catalog, desk.pipeline, ANA, "by phone", desk.key, path)
    assert desk.changes(proposal) == {"b": {"amount": ("-2.50", "12.50")}}
    path.write_text("\n".join([*lines[:row], lines[row].replace("masked:-9.99", "masked:12"), *lines[row + 1 :]]))
    with pytest.raises(Unfit, match="holds a mask that was edited"):
        import_file(desk.lake, desk.catalog, desk.pipeline, ANA, "by phone", desk.key, path)

    clear = tmp_path / "clear.csv"
    with pytest.raises(NotAllowed):
        export(desk.lake, desk.catalog, desk.pipeline, ANA, desk.key, clear, reveal=True, reason="r")
    export(desk.lake, desk.catalog, desk.pipeline, CLEO, desk.key, clear, reveal=True, reason="the lender's copy")
    assert "secret-b" in clear.read_text()
    assert audit.entries(desk.lake)[0].action == "reveal"
    with pytest.raises(Refused, match="nothing in it differs"):
        import_file(desk.lake, desk.catalog, desk.pipeline, ANA, "r", desk.key, clear)


def test_files_of_values_in_both_forms(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "values.csv"
    path.write_text(f"record_id,column,value\n{desk.ids['b']},amount,2\n{desk.ids['b']},note,x\n")
    assert read_values(path).values == {desk.ids["b"]: {"amount": "2", "note": "x"}}
    path.write_text(f"\ufeffnote,record_id\nx,{desk.ids['b']}\ny,{desk.ids['b']}\nz\n", encoding="utf-8")
    named = read_values(path)
    assert named.values == {desk.ids["b"]: {"note": "x"}}
    assert [p.message for p in named.problems] == ["stands in two lines", "line 4 has 1 cells; its header has 2"]
    path.write_text("id,amount\n1,2\n")
    with pytest.raises(Refused, match="names no column record_id"):
        read_values(path)
