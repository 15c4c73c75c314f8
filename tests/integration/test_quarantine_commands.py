"""`lake quarantine` and `lake audit` as processes: their documents and exit codes, and who may do what."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest
from typer.testing import CliRunner

from command_line.catalog import WrongUse
from command_line.main import app
from tests.integration.test_command_line import Lake

KEY = "a key of tests alone: 32 bytes, or a few more"
OWN = pwd.getpwuid(os.getuid()).pw_name


class Inside(Lake):
    """Its commands run in this process, which spares each two seconds; `as_process` runs one as a script would."""

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = CliRunner().invoke(app, list(arguments), env=self.environment)
        known = isinstance(done.exception, WrongUse)
        assert known or isinstance(done.exception, (SystemExit, type(None))), done.exception
        code, said = (2, str(done.exception)) if known else (done.exit_code, done.stderr)
        return subprocess.CompletedProcess(list(arguments), code, done.stdout, said)

    def as_process(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return super().__call__(*arguments)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """One lake with a batch of three rejected payments, for all the tests: they follow one another."""
    made = Inside(tmp_path_factory.mktemp("lake"))
    made.environment["DATALAKE_TOKEN_KEY"] = KEY
    made.environment["DATALAKE_TOKEN"] = ""
    made.land("payments_20240105.csv")
    assert made.as_process("run", "bank/payments").returncode == 0
    return made


def token(lake: Inside, name: str, role: str) -> str:
    """A file with a signed token."""
    path = lake.anywhere / f"{name}.token"
    claims = {"sub": name, "role": role, "exp": int(time.time()) + 600}
    path.write_text(jwt.encode(claims, KEY, "HS256") + "\n")
    return str(path)


def batch(lake: Inside) -> dict[str, Any]:
    (found,) = lake.json(0, "quarantine", "list", "--pipeline", "bank/payments", "--json")["batches"]
    return dict(found)


def test_the_whole_way_of_a_correction(lake: Inside) -> None:
    line = batch(lake)
    assert (line["records"], line["open"], line["states"], line["status"]) == (3, 3, {"open": 3}, "published")
    key = line["key"]
    shown = lake.json(0, "quarantine", "show", key, "--limit", "2", "--json")
    rest = lake.json(0, "quarantine", "show", key, "--after", shown["after"], "--json")
    records = [r["entry"] for r in (*shown["records"], *rest["records"])]
    assert (len(records), rest["after"]) == (3, None)
    wrong = next(r for r in records if any(e["column"] == "amount" for e in r["errors"]))
    name = wrong["record_id"]

    dry = ("quarantine", "correct", key, "--record", name, "--value", "amount=12.00", "--dry-run", "--json")
    proposal = lake.json(0, *dry)
    assert (proposal["dry_run"], proposal["records"]) == (True, 1)
    assert (proposal["trial"]["records"], proposal["trial"]["would_pass"]) == (1, int(len(wrong["errors"]) == 1))
    said = ("quarantine", "correct", key, "--record", name, "--value", "amount=12.00", "--reason", "by phone", "--json")
    (made,) = lake.json(0, *said)["corrections"]
    assert batch(lake)["proposed"] == 1

    refused = lake("quarantine", "approve", made["correction"], "--reason", "fine")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{OWN} made {made['correction']}: another person must approve it" in refused.stderr
    ben = token(lake, "ben", "approver")
    approve = ("quarantine", "approve", made["correction"], "--reason", "fine", "--token", ben, "--json")
    (verdict,) = lake.json(0, *approve)["verdicts"]
    assert (verdict["verdict"], verdict["records"]) == ("approved", 1)
    assert "a verdict falls once" in lake(*approve).stderr
    view = lake.json(0, "quarantine", "show", key, "--record", name, "--json")
    (correction,) = view["corrections"]
    assert (correction["state"], correction["actor"], correction["verdict"]["actor"]) == ("approved", OWN, "ben")
    assert lake("quarantine", "show", key, "--record", name).returncode == 0
    assert lake("quarantine", "list").returncode == lake("quarantine", "show", key).returncode == 0

    again = lake.json(2, *said)
    assert [p["record"] for p in again["problems"]] == [name]
    assert "it comes back with the next replay" in again["problems"][0]["message"]


def test_text_is_shown_to_an_auditor_with_a_reason_and_is_on_record(lake: Inside) -> None:
    key = batch(lake)["key"]
    name = lake.json(0, "quarantine", "show", key, "--limit", "1", "--json")["records"][0]["entry"]["record_id"]
    reveal = ("quarantine", "show", key, "--record", name, "--reveal", "--reason", "asked by the bank")
    refused = lake(*reveal)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "may not reveal as auditor" in refused.stderr
    cleo = token(lake, "cleo", "auditor")
    assert "a reason is needed" in lake("quarantine", "show", key, "--reveal", "--token", cleo).stderr
    shown = lake.json(0, *reveal, "--token", cleo, "--json")
    assert shown["record"]["text"]
    (entry,) = lake.json(0, "audit", "list", "--action", "reveal", "--batch", key, "--json")["entries"]
    details = entry["details"]
    assert (entry["actor"], details["first"], details["reason"]) == ("cleo", name, "asked by the bank")
    ben = token(lake, "ben", "approver")
    assert "reveal needs the role auditor; ben acts as approver" in lake(*reveal, "--token", ben).stderr


def test_out_and_back_and_discarded(lake: Inside) -> None:
    key = batch(lake)["key"]
    path = lake.anywhere / "work.csv"
    assert lake.json(0, "quarantine", "export", key, "--out", str(path), "--json")["records"] == 3
    assert "nothing in it differs" in lake("quarantine", "import", key, str(path), "--reason", "r").stderr
    ben = token(lake, "ben", "approver")
    given_up = lake.json(0, "quarantine", "discard", key, "--all", "--reason", "lost", "--json")
    assert (given_up["records"], given_up["left_out"]) == (2, {"undecided": 1})
    lake.json(0, "quarantine", "approve", "--batch", key, "--reason", "yes", "--token", ben, "--json")
    assert batch(lake)["states"] == {"open": 1, "discarded": 2}
    assigned = lake.json(0, "quarantine", "assign", key, "dora", "--json")
    assert (assigned["assignee"], batch(lake)["assignee"]) == ("dora", "dora")


def test_what_was_approved_is_taken_back_by_another_and_made_anew(lake: Inside) -> None:
    key = batch(lake)["key"]
    (line,) = lake.json(0, "quarantine", "show", key, "--state", "open", "--json")["records"]
    name = line["entry"]["record_id"]
    (made,) = lake.json(0, "quarantine", "show", key, "--record", name, "--json")["corrections"]
    revoke = ("quarantine", "revoke", made["correction"], "--reason", "the wrong account")
    assert f"{OWN} made {made['correction']}: another person must revoke it" in lake(*revoke).stderr
    ben = token(lake, "ben", "approver")
    done = lake.json(0, *revoke, "--token", ben, "--json")
    assert (done["corrections"], done["records"]) == ([made["correction"]], 1)
    assert (done["withdrawn"], done["reopened"]) == ([], [])
    assert "is revoked: what is approved is revoked" in lake(*revoke, "--token", ben).stderr
    assert "revoked by ben: the wrong account" in lake("quarantine", "show", key, "--record", name).stdout
    again = ("quarantine", "correct", key, "--record", name, "--value", "amount=13", "--reason", "by phone", "--json")
    lake.json(0, *again)
    lake.json(0, "quarantine", "approve", "--batch", key, "--reason", "fine", "--token", ben, "--json")
    done = lake("quarantine", "revoke", "--batch", key, "--reason", "once more", "--token", ben)
    assert "revoked, 1 records can be corrected anew" in done.stdout
    lake.json(0, *again)
    lake.json(0, "quarantine", "approve", "--batch", key, "--reason", "fine", "--token", ben, "--json")


def test_bulk_by_expression_says_all_that_is_wrong(lake: Inside) -> None:
    key = batch(lake)["key"]
    arguments = ("quarantine", "correct", key, "--set", "amount=absolute(amount)", "--set", "amont=1", "--reason", "r")
    done = lake(*arguments)
    assert done.returncode == 2
    for said in ("absolute", "unknown column 'amont'; Did you mean amount?"):
        assert said in done.stderr, done.stderr
    found = lake.json(2, *arguments, "--json")["problems"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--state", "closed"), "valid: open, held"),
        (("list", "--pipeline", "bank/paymnts"), "payments"),
        (("show", "2024-01-05_payments"), "no quarantined batch"),
        (("correct", "x"), "name one of: --record with --value"),
        (("correct", "x", "--value", "amount=1"), "belong together"),
        (("correct", "--set", "amount=1"), "name a batch, or --pipeline"),
        (("discard", "x"), "name what is given up"),
        (("approve",), "name what to approve"),
        (("revoke",), "name what to revoke"),
        (("approve", "nothing", "--reason", "r"), "no correction nothing"),
    ],
)
def test_wrong_use_ends_with_two(lake: Inside, arguments: tuple[str, ...], said: str) -> None:
    done = lake("quarantine", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr, done.stderr


def test_an_unsound_token_is_refused_from_file_input_and_environment(lake: Inside, tmp_path: Path) -> None:
    path = tmp_path / "old.token"
    path.write_text(jwt.encode({"sub": "ben", "role": "approver", "exp": 1}, KEY, "HS256"))
    key = batch(lake)["key"]
    assert "the token has expired" in lake("quarantine", "assign", key, "dora", "--token", str(path)).stderr
    lake.environment["DATALAKE_TOKEN"] = path.read_text()[:-4] + "AAAA"
    try:
        assert "signature is not made with the key" in lake("quarantine", "assign", key, "dora").stderr
    finally:
        lake.environment["DATALAKE_TOKEN"] = ""


def test_exit_codes_of_the_process(lake: Inside) -> None:
    listed = lake.as_process("quarantine", "list", "--json")
    assert (listed.returncode, listed.stderr, len(json.loads(listed.stdout)["batches"])) == (0, "", 1)
    refused = lake.as_process("quarantine", "approve", "nothing", "--reason", "r")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no correction nothing" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_tampering_with_the_trail_ends_with_one(lake: Inside) -> None:
    sound = lake.json(0, "audit", "verify", "--json")
    assert (sound["sound"], sound["findings"]) == (True, [])
    assert sound["entries"] >= 5
    assert lake.json(0, "audit", "verify", "--head", sound["head"], "--json")["sound"]
    with closing(sqlite3.connect(lake.data / "ledger.db")) as connection, connection:
        connection.execute("UPDATE audit SET actor = 'mallory' WHERE seq = 2")
    found = lake.json(1, "audit", "verify", "--json")
    assert "entry 2 in the database was changed (actor)" in found["findings"]
    assert lake("audit", "verify", "--head", "7").returncode == 2
    said = lake("audit", "list", "--limit", "2").stdout
    assert "audit trail" in said


def test_no_value_of_a_record_is_outside_what_is_sealed(lake: Inside) -> None:
    """Journal and ledger after all of the above: the texts of rejected cells stand in none of them."""
    shown = json.dumps(lake.json(0, "quarantine", "show", batch(lake)["key"], "--json"))
    places = [p for p in (lake.data / "journal").rglob("*") if p.is_file()]
    texts = [shown, *(p.read_bytes().decode("latin-1") for p in (*places, lake.data / "ledger.db"))]
    rejected = [line for line in _rejected(lake) if len(line) > 12]
    assert rejected
    for line in rejected:
        assert not [text[:80] for text in texts if line in text]


def _rejected(lake: Inside) -> list[str]:
    """The exact lines of the batch's rejected records."""
    cleo = token(lake, "cleo", "auditor")
    arguments = ("quarantine", "show", batch(lake)["key"], "--reveal", "--reason", "test", "--token", cleo, "--json")
    return [record["text"] for record in lake.json(0, *arguments)["records"]]
