"""Tokens stand in tables, their values encrypted in the vault: in it before the target, once, and to be had back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from typer.testing import CliRunner

from command_line.catalog import WrongUse
from command_line.main import app
from publishing.lake import open_lake
from publishing.vault import UnknownToken, reveal
from resources.engine import Engine
from resources.secrets import SecretMissing
from stewardship import audit
from tests.delta_rows import delta_dataset
from tests.promised_feed import NUMBER, TEXT, Feed

STEPS = """<mask source="s" columns="ssn,n" strategy="tokenize" secretRef="VAULT_KEY"/>
  <filter source="s" condition="v &gt; 0"/>"""
LINES = ("a,1,078-05-1120,7", "b,2,219-09-9999,", "c,3,078-05-1120,7", "d,0,000-00-0000,8", "e,x,111-11-1111,9")


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    found = Feed(tmp_path, engine)
    found.define(steps=STEPS, v=NUMBER, ssn={**TEXT, "x-classification": "pii"}, n=NUMBER)
    secrets = found.settings.data / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "VAULT_KEY").write_text("a key of more than sixteen bytes")
    return found


def rows(feed: Feed, table: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = delta_dataset(feed.folder(table)).to_table().to_pylist()
    return found


def revealed(feed: Feed, *tokens: str) -> dict[str, str]:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        return dict(reveal(lake, "app", tokens))


def test_tokens_are_the_same_for_equal_values_and_lead_back_to_them(feed: Feed) -> None:
    feed.land("a.csv", "id,v,ssn,n", *LINES)
    (outcome,) = feed.run()
    assert (outcome.counts.accepted, outcome.counts.quarantined) == (3, 2)
    table = {row["id"]: row for row in rows(feed, "staging.feed")}
    assert table["a"]["ssn"] == table["c"]["ssn"] != table["b"]["ssn"]
    assert table["a"]["n"] == table["c"]["n"]
    assert table["b"]["n"] is None
    assert all(row["ssn"].startswith("tok_") and len(row["ssn"]) == 36 for row in table.values())
    back = revealed(feed, table["a"]["ssn"], table["b"]["ssn"], table["a"]["n"])
    assert back == {table["a"]["ssn"]: "078-05-1120", table["b"]["ssn"]: "219-09-9999", table["a"]["n"]: "7"}


def test_the_vault_holds_each_token_once_and_no_value_in_clear(feed: Feed) -> None:
    feed.land("a.csv", "id,v,ssn,n", *LINES)
    feed.run()
    feed.land("b.csv", "id,v,ssn,n", "f,1,078-05-1120,5")
    feed.run()
    feed.run(reprocess=True)
    vault = rows(feed, "vault.tokens")
    # of the living records that reached the mask: three numbers of people, and 7, 8, 5
    assert len({row["token"] for row in vault}) == len(vault) == 6
    for file in (feed.root / "data" / "applications" / "app" / "vault").rglob("*.parquet"):
        assert b"078-05-1120" not in file.read_bytes()
    assert {row["value"].partition(":")[0] for row in vault} == {"VAULT_KEY"}


def test_what_is_masked_after_the_accounting_is_in_the_vault_as_well(feed: Feed) -> None:
    steps = """<aggregate source="t" groupBy="v" metrics="max:ssn:ssn"/>
      <mask source="t" columns="ssn" strategy="tokenize" secretRef="VAULT_KEY"/>"""
    feed.define(v=NUMBER, ssn=TEXT)
    feed.land("a.csv", "id,v,ssn", "a,1,x", "b,1,y", "c,2,z")
    feed.run()
    feed.define_reader("partition", steps=steps)
    (outcome,) = feed.run("reader")
    assert [(s.step, s.in_, s.out) for s in outcome.steps] == [("aggregate", 3, 2), ("mask", 2, 2)]
    table = {row["v"]: row["ssn"] for row in rows(feed, "standardization.copy")}
    assert revealed(feed, *table.values()) == {table[1]: "y", table[2]: "z"}


def test_a_held_batch_fills_no_vault(feed: Feed) -> None:
    policy = '<errorPolicy maxErrors="0"/>'
    feed.define(steps=STEPS, policy=policy, v=NUMBER, ssn=TEXT, n=NUMBER)
    feed.land("a.csv", "id,v,ssn,n", *LINES)
    (outcome,) = feed.run()
    assert outcome.status == "held"
    assert not feed.folder("vault.tokens").exists()


def test_what_cannot_be_revealed_is_told_without_the_token(feed: Feed) -> None:
    feed.land("a.csv", "id,v,ssn,n", *LINES)
    feed.run()
    token = rows(feed, "staging.feed")[0]["ssn"]
    with pytest.raises(UnknownToken, match="1 of 2 tokens are not in the vault of 'app'"):
        revealed(feed, token, "tok_of_nobody")
    (feed.settings.data / "secrets" / "VAULT_KEY").unlink()
    with pytest.raises(SecretMissing):
        revealed(feed, token)


def ask(feed: Feed, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    for name, value in {"CONFIG": "config", "DATA": "data", "SECRETS": "data/secrets"}.items():
        monkeypatch.setenv(f"DATALAKE_{name}", str(feed.root / value))
    monkeypatch.setenv("DATALAKE_ENGINE", "sail")
    return CliRunner().invoke(app, ["vault", "reveal", *arguments])


def test_an_auditor_reveals_tokens_and_the_trail_has_it(
    feed: Feed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    feed.land("a.csv", "id,v,ssn,n", *LINES)
    feed.run()
    token = next(row["ssn"] for row in rows(feed, "staging.feed") if row["id"] == "a")
    refused = ask(feed, monkeypatch, "app/feed", token, "--reason", "a question of the court")
    assert isinstance(refused.exception, WrongUse)
    assert "auditor" in str(refused.exception)
    key = "a key of more than thirty-two bytes for tokens"
    (feed.settings.data / "secrets" / "DATALAKE_TOKEN_KEY").write_text(key)
    claims = {"sub": "ann", "role": "auditor", "exp": datetime.now(UTC) + timedelta(minutes=5)}
    signed = tmp_path / "token"
    signed.write_text(jwt.encode(claims, key, algorithm="HS256"))
    signed.chmod(0o600)
    asked = ("app/feed", token, "--reason", "a question of the court", "--token", str(signed), "--json")
    done = ask(feed, monkeypatch, *asked)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {"values": [{"token": token, "value": "078-05-1120"}]}
    unknown = ask(feed, monkeypatch, "app/feed", "tok_of_nobody", "--reason", "r", "--token", str(signed))
    assert isinstance(unknown.exception, WrongUse)
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        trail = [(e.actor, e.role, e.action, e.subject, e.details["tokens"]) for e in audit.entries(lake)]
    assert ("ann", "auditor", "reveal", "vault of app", [token]) in trail
    assert "078-05-1120" not in str(trail)
