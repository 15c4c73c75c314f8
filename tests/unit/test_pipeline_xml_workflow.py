"""Workflows: what a document says, and what the others ask of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline_xml.check_workflows import no_replay
from pipeline_xml.load import check_path, load_catalog
from pipeline_xml.model import Workflow
from tests.definition_cases import BASE
from tests.plain_steps import STEPS

FILE = "applications/shop/exceptions/workflows/orders.xml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BASE, tmp_path / "config"))


def workflow(root: Path, text: str | None = None) -> Workflow:
    if text is not None:
        (root / FILE).write_text(text)
    found = load_catalog(root, STEPS).workflow("shop/orders")
    assert found is not None
    return found


def test_a_document_is_read_whole(root: Path) -> None:
    found = workflow(root)
    assert (found.app, found.id, found.pipelines) == ("shop", "orders_remediation", ("orders",))
    assert (found.description, found.owner) == ("Broken orders go back to the shops.", "orders@example.com")
    assert [(a.rule, a.to) for a in found.assignments] == [("record", "feeds"), (None, "desk")]
    assert (found.approval_roles, found.replay, found.sla) == (("approver",), "manual", "PT48H")
    assert [(e.after, e.to) for e in found.escalations] == [
        ("PT0S", "orders@example.com"),
        ("PT24H", "lead@example.com"),
    ]
    assert [(s.user, s.role) for s in found.stewards] == [("ana", "steward"), ("ben", "approver"), ("cleo", "auditor")]


def test_a_short_document_has_the_defaults(root: Path) -> None:
    found = workflow(root, '<workflow id="short" pipelines="orders"/>')
    assert (found.approval_roles, found.replay, found.sla, found.stewards) == (("approver",), "manual", None, ())
    assert found.assignee(["known_status"]) is None


def test_the_first_assignment_that_fits_counts(root: Path) -> None:
    found = workflow(
        root,
        """<workflow id="w" pipelines="orders">
             <assignment rule="known_status" to="shops"/>
             <assignment rule="contract.amount" to="feeds"/>
             <assignment rule="contract" to="contracts"/>
             <assignment to="desk"/>
           </workflow>""",
    )
    cases = {
        ("contract.amount.type", "known_status"): "shops",
        ("contract.amount.minimum",): "feeds",
        ("contract.amounts.minimum", "contract.status.enum"): "contracts",
        ("known_status_too",): "desk",
        (): "desk",
    }
    assert {rules: found.assignee(rules) for rules in cases} == cases


def test_the_sla_of_the_workflow_goes_before_that_of_the_pipeline(root: Path) -> None:
    assert load_catalog(root, STEPS).remediation_sla("shop/orders") == "PT48H"
    workflow(root, '<workflow id="w" pipelines="orders"/>')
    catalog = load_catalog(root, STEPS)
    assert catalog.remediation_sla("shop/orders") == "P5D"
    assert (catalog.remediation_sla("shop/sales"), catalog.workflow("shop/sales")) == (None, None)
    assert (catalog.remediation_sla("else/sales"), catalog.workflow("else/sales")) == (None, None)


def test_a_workflow_changes_no_hash_of_its_pipelines(root: Path) -> None:
    """An attempt pins the definition by its hash: who looks after the records decides nothing of the result."""
    before = load_catalog(root, STEPS).pipeline("shop", "orders")
    workflow(root, '<workflow id="w" pipelines="orders"/>')
    after = load_catalog(root, STEPS).pipeline("shop", "orders")
    assert before is not None and after is not None
    assert before.definition_hash == after.definition_hash


def test_rules_of_an_unread_pipeline_are_not_missed(root: Path) -> None:
    (root / "applications/shop/staging/pipelines/orders.xml").write_text("<pipeline")
    assert [p.code for p in check_path(root, STEPS, path=root / FILE)] == []


def test_what_can_replay() -> None:
    catalog = load_catalog(BASE, STEPS)
    found = [catalog.pipeline("shop", name) for name in ("orders", "sales")]
    assert [no_replay(p) for p in found if p is not None] == [None, None]
