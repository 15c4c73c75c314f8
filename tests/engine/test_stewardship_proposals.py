"""What a steward proposes: by record, by expression, to be given up; and what a dry run says of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from publishing.quarantined import refresh_all
from stewardship import audit
from stewardship.correct import Proposal, correct_values, discard
from stewardship.new_values import Named
from stewardship.refused import NotAllowed, Refused, Unfit
from stewardship.replay import replay
from stewardship.selection import Scope
from tests.steward_desk import ANA, BEN, FEED, LINES, Desk, problems


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
