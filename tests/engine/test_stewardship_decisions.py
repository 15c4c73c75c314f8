"""What becomes of a proposal: decided by another person, once, and in the journal whatever crashes."""

from __future__ import annotations

import pytest

from stewardship import audit
from stewardship.actors import APPROVER, STEWARD, Actor
from stewardship.assign import assign
from stewardship.quarantine import show_record
from stewardship.refused import NotAllowed, NotFound, Refused, Unfit
from tests.steward_desk import ANA, FEED, Desk


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
