"""`lake explain` shows each step as it is written and as it is compiled, and which of them are beside the records."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_line.explain import explain_pipeline
from command_line.main import app
from pipeline_xml.load import load_catalog
from processing.transformations import registry

CONFIG = Path(__file__).resolve().parents[1] / "cases" / "valid" / "trades" / "config"


def test_steps_as_data() -> None:
    booked = load_catalog(CONFIG, registry()).pipeline("desk", "booked")
    assert booked is not None
    steps = explain_pipeline(booked)["steps"]
    assert [(s["kind"], s["beside"], s["per_record"]) for s in steps] == [
        ("join", False, True), ("aggregate", True, False), ("join", False, True), ("rename", False, True),
        ("select", False, True), ("filter", False, True),
    ]  # fmt: skip
    assert steps[2]["written"] == {
        "type": "inner", "rightPrefix": "limit_",
        "condition": "trades.branch = limits.branch and trades.qty <= limits.qty",
    }  # fmt: skip
    assert [e["compiled"] for e in steps[5]["expressions"]] == ["ne(quantity, 7:int):boolean"]


def test_steps_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATALAKE_CONFIG", str(CONFIG))
    told = CliRunner().invoke(app, ["explain", "desk/booked"])
    assert told.exit_code == 0, told.output
    text = " ".join(told.output.split())
    assert "aggregate limits → limits · beside the records" in text
    assert "compiled: ne(quantity, 7:int):boolean" in text
