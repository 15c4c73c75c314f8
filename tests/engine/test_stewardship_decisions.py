"""The way back up to the verdict: looked at masked, corrected by record, file and expression, decided by another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.corrections import load_changes
from publishing.decisions import Correction, TouchedRecord, record_state
from publishing.lake import Lake, open_lake
from publishing.quarantined import refresh_all
from resources.engine import Engine
from stewardship import audit
from stewardship.actors import APPROVER, AUDITOR, STEWARD, Actor
from stewardship.approve import decide
from stewardship.assign import assign
from stewardship.batches import Wanted, describe, list_batches
from stewardship.correct import Proposal, correct_by_expression, correct_values, discard
from stewardship.exchange import export, import_file
from stewardship.new_values import Named, read_values
from stewardship.quarantine import reveal_batch, reveal_record, show_batch, show_record
from stewardship.refused import NotAllowed, NotFound, Refused, Unfit
from stewardship.replay import replay
from stewardship.selection import Scope
from tests.promised_feed import Feed

ANA, BEN = Actor("ana", STEWARD), Actor("ben", APPROVER)
CLEO = Actor("cleo", AUDITOR, signed=True)
FEED = "app/feed"
COLUMNS: dict[str, Any] = {
    "amount": {"type": "number", "x-type": "decimal(9,2)", "minimum": 0},
    "paid": {"type": "string", "format": "date", "x-format": "dd.MM.yyyy"},
    "note": {"type": "string", "x-classification": "pii"},
}
LINES = (
    "id,amount,paid,note",
    "a,1.50,01.02.2024,fine",
    "b,-2.50,01.02.2024,secret-b",
    'c,"3,5",01.02.2024,"two\nlines"',
    "d,-4,2024-02-01,",
    "e,-5.00",
    ",6.00,01.02.2024,no id",
)


@dataclass
class Desk:
    """A lake with rejected records, and what a steward does there."""

    feed: Feed
    lake: Lake
    catalog: Catalog
    pipeline: CheckedPipeline
    key: str = ""
    ids: dict[str, str] = field(default_factory=dict)

    def batch(self) -> Scope:
        return Scope(self.key)

    def values(self, values: dict[str, dict[str, str | None]], **more: Any) -> Proposal:
        named = Named({self.ids.get(name, name): cells for name, cells in values.items()})
        scope = more.pop("scope", self.batch())
        return correct_values(self.lake, self.catalog, self.pipeline, ANA, "as agreed", scope, named, **more)

    def express(self, sets: dict[str, str], where: str | None = None, **more: Any) -> Proposal:
        scope = more.pop("scope", self.batch())
        return correct_by_expression(
            self.lake, self.catalog, self.pipeline, ANA, "as agreed", scope, sets, where, **more
        )

    def changes(self, proposal: Proposal) -> dict[str, dict[str, tuple[str | None, str | None]]]:
        """{id as in the file: {column: (before, after)}} of the proposal's sealed sets."""
        names = {record: name for name, record in self.ids.items()}
        found: dict[str, dict[str, tuple[str | None, str | None]]] = {}
        for made in proposal.corrections:
            with self.lake.ledger.read() as session:
                row = session.get_one(Correction, made.correction)
            for line in load_changes(self.lake, row).to_pylist():
                columns = [c.removeprefix("set:") for c in line if c.startswith("set:") and line[c]]
                record = names.get(line["record_id"], line["record_id"])
                found[record] = {c: (line["was:" + c], line["new:" + c]) for c in columns}
        return found

    def decide(self, action: str, actor: Actor = BEN, **which: Any) -> Any:
        return decide(self.lake, self.catalog, self.pipeline, actor, action, "checked", **which)

    def touched(self) -> dict[str, str]:
        names = {record: name for name, record in self.ids.items()}
        with self.lake.ledger.read() as session:
            told = select(TouchedRecord.record_id, record_state())
            rows = session.execute(told.join(Correction, Correction.id == TouchedRecord.correction_id)).all()
        return {names[record]: state for record, state in rows}


@pytest.fixture
def desk(tmp_path: Path, engine: Engine) -> Iterator[Desk]:
    feed = Feed(tmp_path, engine)
    feed.define(**COLUMNS)
    feed.land("pay.csv", *LINES)
    (outcome,) = feed.run()
    assert (outcome.status, outcome.counts.quarantined) == ("published", 5)
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    with open_lake(feed.settings, catalog, engine) as lake:
        refresh_all(lake, FEED)
        made = Desk(feed, lake, catalog, pipeline, outcome.key)
        for line in show_batch(lake, catalog, outcome.key).records:
            name = "abcde-"[line.entry.source_record - 1]
            made.ids[name] = line.entry.record_id
        assert sorted(made.ids) == ["-", "b", "c", "d", "e"]
        yield made


def problems(raised: pytest.ExceptionInfo[Unfit], desk: Desk) -> dict[str, list[str]]:
    names = {record: name for name, record in desk.ids.items()}
    found: dict[str, list[str]] = {}
    for problem in raised.value.problems:
        record = problem.record_id or ""
        found.setdefault(names.get(record, record), []).append(problem.message)
    return found


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


def test_values_are_sealed_with_before_and_after(desk: Desk) -> None:
    proposal = desk.values({"b": {"amount": "2.50", "note": ""}, "d": {"paid": "01.02.2024", "amount": "4"}})
    assert proposal.records == 2
    assert desk.changes(proposal) == {
        "b": {"amount": ("-2.50", "2.50"), "note": ("secret-b", None)},
        "d": {"amount": ("-4", "4"), "paid": ("2024-02-01", "01.02.2024")},
    }
    assert desk.touched() == {"b": "proposed", "d": "proposed"}
    journal = desk.lake.journal.root
    for path in journal.rglob("correction-*"):
        content = path.read_bytes()
        assert b"secret-b" not in content and b"2024-02-01" not in content
    (made,) = proposal.corrections
    entry = desk.lake.journal.read(f"{FEED}/{made.batch}/correction-{made.correction}.json")
    assert {k: entry[k] for k in ("kind", "records", "actor", "role", "reason")} == {
        "kind": "correct", "records": 2, "actor": "ana", "role": "steward", "reason": "as agreed"
    }  # fmt: skip
    newest = audit.entries(desk.lake)[0]
    assert (newest.action, newest.subject, newest.details["columns"]) == (
        "correct", made.batch, ["amount", "paid", "note"]
    )  # fmt: skip


def test_everything_wrong_is_told_at_once_and_nothing_is_saved(desk: Desk) -> None:
    desk.values({"c": {"amount": "3.5"}})
    with pytest.raises(Unfit) as raised:
        desk.values(
            {
                "b": {"amount": "two", "paid": "31.02.2024", "colour": "red"},
                "c": {"amount": "7"},
                "e": {"amount": "5"},
                "nowhere": {"amount": "1"},
            }
        )
    found = problems(raised, desk)
    assert found["b"] == [
        "amount must be a number with at most 7 digits before the point and 2 after it",
        "paid must be a date of the form dd.MM.yyyy",
    ] or found["b"][0].startswith("amount must be a number")
    assert len(found["b"]) == 2
    assert "two" not in str(raised.value) and "31.02" not in str(raised.value)
    assert found["c"] == ["has a correction that is proposed already: a verdict on it comes first"]
    assert found["e"] == ["has another number of cells than columns: give every column of it"]
    assert found["nowhere"] == [f"is not in quarantine of the batch {desk.key}"]
    assert found[""][0].startswith("unknown column 'colour'; valid: id, amount, paid, note")
    assert desk.touched() == {"c": "proposed"}
    assert len(list(desk.lake.journal.root.rglob("*.sealed"))) == 1


def test_a_ragged_record_is_given_whole(desk: Desk) -> None:
    whole = {"id": "e", "amount": "5", "paid": "01.02.2024", "note": ""}
    proposal = desk.values({"e": dict(whole)})
    assert desk.changes(proposal)["e"] == {
        "id": (None, "e"), "amount": (None, "5"), "paid": (None, "01.02.2024"), "note": (None, None)
    }  # fmt: skip


def test_nothing_to_change_is_refused(desk: Desk) -> None:
    with pytest.raises(Refused, match=r"no record would change \(unchanged: 1\)"):
        desk.values({"b": {"amount": "-2.50"}})
    with pytest.raises(Refused, match="a reason is needed"):
        correct_values(
            desk.lake, desk.catalog, desk.pipeline, ANA, "  ", desk.batch(), Named({desk.ids["b"]: {"amount": "1"}})
        )
    with pytest.raises(NotAllowed, match="correct needs the role steward"):
        correct_values(desk.lake, desk.catalog, desk.pipeline, BEN, "r", desk.batch(), Named({}))


def test_expressions_see_typed_values_and_texts(desk: Desk) -> None:
    proposal = desk.express({"amount": "abs(amount)"})
    assert desk.changes(proposal) == {"b": {"amount": ("-2.50", "2.50")}, "d": {"amount": ("-4", "4.00")}}
    assert proposal.left_out == {"ragged": 1, "without a value": 1, "unchanged": 1}
    more = desk.express(
        {"amount": "replace(raw_amount, ',', '.')", "paid": "paid"}, where="raw_amount = '3,5'"
    )
    assert desk.changes(more) == {"c": {"amount": ("3,5", "3.5")}}
    assert more.left_out == {"undecided": 2}
    assert not list((desk.lake.settings.data / "staged" / "corrections").iterdir())


def test_a_date_comes_back_in_the_format_of_the_file(desk: Desk) -> None:
    text = "substr(raw_paid, 9, 2) || '.' || substr(raw_paid, 6, 2) || '.' || substr(raw_paid, 1, 4)"
    proposal = desk.express({"paid": text}, where="raw_paid = '2024-02-01'")
    assert desk.changes(proposal) == {"d": {"paid": ("2024-02-01", "01.02.2024")}}
    other = desk.express({"paid": "date_add(paid, 1)"}, where="id = 'b'")
    assert desk.changes(other) == {"b": {"paid": ("01.02.2024", "02.02.2024")}}


def test_bad_expressions_are_told_together(desk: Desk) -> None:
    with pytest.raises(Unfit) as raised:
        desk.express({"amount": "absolute(amount)", "colour": "1", "paid": "amount"}, where="amont > 1")
    text = str(raised.value)
    for said in ("--set amount", "absolute", "unknown column 'colour'", "--set paid", "--where", "amont"):
        assert said in text, text
    with pytest.raises(Unfit) as raised:
        desk.express({"amount": "amount / 0"}, scope=Scope(desk.key, "contract.amount.minimum"))
    assert {m for messages in problems(raised, desk).values() for m in messages} == {
        "amount cannot be computed: division_by_zero"
    }
    with pytest.raises(Refused, match=":runDate"):
        desk.express({"paid": ":runDate"})


def test_one_rule_of_the_pipeline_is_split_by_batch(desk: Desk) -> None:
    desk.feed.land("pay2.csv", LINES[0], "x,-1,01.02.2024,n", "y,1,x,n")
    desk.feed.run()
    refresh_all(desk.lake, FEED)
    proposal = desk.express({"amount": "abs(amount)"}, scope=Scope(rule="contract.amount.minimum"))
    assert sorted(made.records for made in proposal.corrections) == [1, 2]
    assert len({made.batch for made in proposal.corrections}) == 2
    assert proposal.records == 3


def test_a_dry_run_saves_nothing_and_says_what_would_pass(desk: Desk) -> None:
    proposal = desk.express({"amount": "abs(amount)"}, dry_run=True)
    assert proposal.dry_run
    assert proposal.trial is not None
    assert (proposal.trial.records, proposal.trial.would_pass) == (2, 1)
    assert proposal.trial.rules == {"contract.paid.type": 1}
    shown = {line.record_id: line.changes for line in proposal.diff}
    assert [(c.column, c.before, c.after) for c in shown[desk.ids["b"]]] == [("amount", "-9.99", "9.99")]
    noted = desk.values({"b": {"note": "other"}}, dry_run=True)
    assert [(c.before, c.after) for c in noted.diff[0].changes] == [("***", "***")]
    assert desk.touched() == {}
    assert not list(desk.lake.journal.root.rglob("*.sealed"))
    assert audit.head(desk.lake)[0] == 0


def test_another_person_decides_and_once(desk: Desk) -> None:
    (made,) = desk.values({"b": {"amount": "2"}}).corrections
    for own in (Actor("ana", APPROVER), Actor(" ANA ", APPROVER)):
        with pytest.raises(NotAllowed, match="another person must approve it"):
            desk.decide("approve", own, corrections=[made.correction])
    with pytest.raises(NotAllowed, match="approve needs the role approver"):
        desk.decide("approve", Actor("ben", STEWARD))
    with pytest.raises(NotFound, match="no correction nothing"):
        desk.decide("approve", corrections=["nothing"])
    (verdict,) = desk.decide("approve", batch=desk.key)
    assert (verdict.correction, verdict.verdict, verdict.records) == (made.correction, "approved", 1)
    assert desk.touched() == {"b": "approved"}
    entry = desk.lake.journal.read(f"{FEED}/{made.batch}/correction-{made.correction}.verdict.json")
    assert (entry["verdict"], entry["actor"], entry["reason"]) == ("approved", "ben", "checked")
    for action in ("approve", "reject"):
        with pytest.raises(Refused, match=f"a verdict falls once: {made.correction} is approved"):
            desk.decide(action, corrections=[made.correction])
    with pytest.raises(NotFound, match="nothing is proposed"):
        desk.decide("reject")
    with pytest.raises(Unfit, match="it comes back with the next replay"):
        desk.values({"b": {"amount": "3"}})
    assert audit.verify(desk.lake) == []


def test_a_rejected_correction_frees_its_records(desk: Desk) -> None:
    desk.values({"b": {"amount": "2"}})
    desk.decide("reject")
    assert desk.touched() == {"b": "rejected"}
    proposal = desk.values({"b": {"amount": "3"}})
    view = show_record(desk.lake, desk.catalog, desk.key, desk.ids["b"])
    assert [(c.state, c.changes[0].after) for c in view.corrections] == [("rejected", "9"), ("proposed", "9")]
    assert view.corrections[0].verdict is not None
    assert view.record.decision == "proposed"
    assert proposal.records == 1


def test_discarding_names_records_or_takes_all_under_a_condition(desk: Desk) -> None:
    def give_up(**more: Any) -> Proposal:
        scope = more.pop("scope", desk.batch())
        return discard(desk.lake, desk.catalog, desk.pipeline, ANA, "lost cause", scope, **more)

    assert give_up(record_ids=[desk.ids["e"]]).records == 1
    with pytest.raises(Unfit, match="proposed already"):
        give_up(record_ids=[desk.ids["e"], desk.ids["b"]])
    assert give_up(where="raw_amount = '3,5'").records == 1
    rest = give_up(scope=Scope(desk.key, "contract.amount.minimum"), dry_run=True)
    assert (rest.records, rest.corrections[0].correction) == (2, "")
    left = give_up()
    assert (left.records, left.left_out) == (3, {"undecided": 2})
    assert set(desk.touched().values()) == {"proposed"}


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


def test_what_a_crash_left_out_of_the_journal_is_written_by_the_next(desk: Desk) -> None:
    (made,) = desk.values({"b": {"amount": "2"}}).corrections
    assign(desk.lake, desk.catalog, ANA, desk.key, "dora", desk.ids["b"])
    desk.decide("approve")
    folder = desk.lake.journal.root / FEED / made.batch
    written = {p.name: p.read_text() for p in folder.glob("*.json") if not p.name.startswith(("batch", "attempt"))}
    assert len(written) == 3
    for name in written:
        (folder / name).unlink()
    assign(desk.lake, desk.catalog, ANA, desk.key, "emil", desk.ids["b"])
    for name, text in written.items():
        assert (folder / name).read_text() == text
    view = show_record(desk.lake, desk.catalog, desk.key, desk.ids["b"])
    assert [(a.assignee, a.ended_at is None) for a in view.assignments] == [("dora", False), ("emil", True)]


def test_a_second_correction_can_go_back_to_what_the_file_had(desk: Desk) -> None:
    """The first one stays laid over the record: what the second names is set, though the raw cell is the same."""
    desk.values({"-": {"amount": "99"}})
    desk.decide("approve")
    (again,) = replay(desk.lake, desk.pipeline, ANA, run_id="one").batches
    assert again.counts.quarantined == 1
    desk.values({"-": {"id": "f", "amount": "6.00"}})
    desk.decide("approve")
    (done,) = replay(desk.lake, desk.pipeline, ANA, run_id="two").batches
    assert done.counts.accepted == 1
    assert ("f", Decimal("6.00")) in desk.feed.rows("staging.feed", "id", "amount")


def test_expressions_see_what_was_corrected_before(desk: Desk) -> None:
    """As every attempt does: the raw cells are under what was approved."""
    desk.values({"c": {"amount": "-7"}, "e": {"id": "e", "amount": "-8", "paid": "01.02.2024", "note": None}})
    desk.decide("approve")
    (again,) = replay(desk.lake, desk.pipeline, ANA, run_id="one").batches
    assert again.counts.quarantined == 2
    wider = desk.express({"amount": "abs(amount)"}, where="raw_amount = '-7' or raw_paid is not null")
    assert desk.changes(wider) == {
        "b": {"amount": ("-2.50", "2.50")},
        "c": {"amount": ("-7", "7.00")},
        "d": {"amount": ("-4", "4.00")},
        "e": {"amount": ("-8", "8.00")},
    }
    assert "ragged" not in wider.left_out
    desk.decide("approve")
    (done,) = replay(desk.lake, desk.pipeline, ANA, run_id="two").batches
    assert (done.counts.accepted, done.counts.quarantined) == (3, 1)
    found = desk.feed.rows("staging.feed", "id", "amount")
    assert found == [(name, Decimal(v)) for name, v in zip("abce", ("1.50", "2.50", "7.00", "8.00"), strict=True)]
