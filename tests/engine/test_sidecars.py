"""Checksums and control files that lie beside a file: what they declare holds, or the file is held."""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from publishing.beside import MANY
from publishing.claim import unsettled_claims
from publishing.faults import apart
from publishing.lake import open_lake
from publishing.ledger import LandedFile
from publishing.rebuild_ledger import rebuild
from publishing.run import run_pipeline
from publishing.verify import verify
from resources.engine import Engine
from stewardship import batch_decisions
from stewardship.actors import Actor
from stewardship.refused import Refused
from tests.engine.test_archives import define, drop, landed
from tests.engine.test_beside import killed_at
from tests.landing_servers import light_sftp_server
from tests.promised_feed import NUMBER, TEXT, Feed

A = b"id,v\na,1\nb,2\n"
MONEY = {"id": TEXT, "v": NUMBER, "amount": {"type": "number", "x-type": "decimal(12,2)"}}
M = b"id,v,amount\na,1,10.10\nb,2,\nc,3,-0.35\n"


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


def controlled(feed: Feed, control: str, **given: Any) -> None:
    feed.define(pattern=r".*\.csv", **given)
    path = feed.root / "config" / "applications" / "app" / "staging" / "pipelines" / "feed.xml"
    before = path.read_text()
    text = re.sub(r'(schemaRef="schemas/s.json"[^>]*?) */>', lambda found: f"{found[1]}>{control}</csv>", before)
    assert text != before
    path.write_text(text)


def outcome(feed: Feed) -> tuple[str, str]:
    (batch,) = feed.run()
    return batch.status, str(batch.reason or "")


@pytest.mark.parametrize("tool", ["sha256sum", "md5sum"])
@pytest.mark.parametrize("options", [[], ["--tag"], ["--binary"]], ids=["gnu", "bsd", "binary"])
def test_a_checksum_of_the_usual_tools_is_checked(feed: Feed, tool: str, options: list[str]) -> None:
    feed.define(pattern=r".*\.csv")
    drop(feed, "a b.csv", A)
    folder = feed.settings.data / "landing"
    said = subprocess.run([tool, *options, "a b.csv"], cwd=folder, capture_output=True, check=True).stdout
    drop(feed, f"a b.csv.{tool.removesuffix('sum')}", said)
    assert outcome(feed)[0] == "published"
    drop(feed, "a b.csv", A.replace(b"1", b"7"))  # the checksum stays
    assert outcome(feed) == (
        "held",
        f"checksum: its {tool.removesuffix('sum')} is not the one that the file beside it says; have it sent again",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "no sum", "0" * 64 + "  other.csv", "0" * 63, f"{'0' * 64}  a.csv\n{'1' * 64}  b.csv"]
)
def test_a_checksum_that_says_nothing_of_the_file_or_another_thing_holds_it(feed: Feed, text: str) -> None:
    feed.define(pattern=r".*\.csv")
    drop(feed, "a.csv", A)
    drop(feed, "a.csv.sha256", text.encode())
    drop(feed, "other.csv", b"id,v\nx,1\n")
    found = {b.status: b.reason for b in feed.run()}
    assert str(found["held"]).startswith("checksum: ") and "published" in found


def test_the_line_of_the_file_counts_among_others(feed: Feed) -> None:
    feed.define(pattern=r".*\.csv")
    drop(feed, "a.csv", A)
    drop(feed, "a.csv.sha256", f"{'0' * 64}  b.csv\n{hashlib.sha256(A).hexdigest()} *out/a.csv\n".encode())
    assert outcome(feed)[0] == "published"


def test_a_manifest_says_which_files_are_whole_and_what_is_in_them(feed: Feed) -> None:
    feed.define(pattern=r".*\.csv")
    resources = feed.root / "config" / "applications" / "app" / "staging" / "resources" / "zone.xml"
    resources.write_text(resources.read_text().replace("<landingZone ", '<landingZone manifest="*.manifest" ', 1))
    good, bad = hashlib.sha256(A).hexdigest(), "0" * 64
    for name in ("a.csv", "b.csv", "c.csv"):
        drop(feed, name, A.replace(b"a", name[0].encode()))
    assert feed.run() == []
    drop(feed, "monday.manifest", f"{good}  in/a.csv\n{bad}  in/b.csv\n".encode())
    found = {(b.status, str(b.reason or "").partition(":")[0]): [f.uri[-5:] for f in b.files] for b in feed.run()}
    assert found == {("published", ""): ["a.csv"], ("held", "checksum"): ["b.csv"]}
    assert feed.run() == []
    drop(feed, "tuesday.manifest", b"c.csv\n")
    assert [(b.status, b.counts.accepted) for b in feed.run()] == [("published", 2)]
    catalog = feed.catalog()
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        assert list(verify(lake, catalog)) == []
        rebuild(lake, catalog)
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        assert list(verify(lake, catalog)) == []
    assert feed.run() == []


def test_a_later_attempt_is_judged_by_the_same_checksum_and_a_release_waives_it(feed: Feed) -> None:
    feed.define(pattern=r".*\.csv")
    drop(feed, "a.csv", A)
    drop(feed, "a.csv.sha256", b"0" * 64)
    (held,) = feed.run()
    (feed.settings.data / "landing" / "a.csv.sha256").unlink()
    (again,) = feed.run(reprocess=True)
    assert (again.status, again.attempt, again.reason) == ("held", 2, held.reason)
    catalog = feed.catalog()
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        assert list(verify(lake, catalog)) == []
        rebuild(lake, catalog)
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        pipeline = catalog.pipeline("app", "feed")
        assert pipeline is not None
        who = Actor("ann", "approver")
        why = {"checksum": "the sender confirmed by phone"}
        batch_decisions.release(lake, pipeline, who, held.key, why, "urgent")
    assert [(b.status, b.counts.accepted) for b in feed.run()] == [("published", 2)]


def test_a_fault_with_many_words_hides_no_other_from_who_releases(feed: Feed) -> None:
    """The header's says all columns of the contract; what came after it was cut off, and passed with its waiver."""
    columns = [f"column_{number:03d}" for number in range(60)]
    feed.define(pattern=r".*\.csv", **dict.fromkeys(columns, TEXT))
    line = ",".join("1" * (len(columns) + 2)).encode()
    drop(feed, "a.csv", ",".join(["id", *columns, "more"]).encode() + b"\n" + line + b"\n")
    drop(feed, "a.csv.sha256", b"0" * 64)
    (held,) = feed.run()
    with (
        open_lake(feed.settings, feed.catalog(), feed.engine) as lake,
        pytest.raises(Refused, match="no waiver for checksum"),
    ):
        why = {"header_unknown_columns": "a column that nobody reads"}
        batch_decisions.release(lake, feed.pipeline(), Actor("ann", "approver"), held.key, why, "urgent")
    assert [fault.partition(":")[0] for fault in apart(str(held.reason))] == ["header_unknown_columns", "checksum"]
    assert [b.status for b in feed.run(reprocess=True)] == ["held"]


def test_the_checksum_of_an_archive_is_that_of_the_archive(feed: Feed) -> None:
    define(feed, pattern=r".*\.gz")
    packed = gzip.compress(A)
    drop(feed, "a.csv.gz", packed)
    drop(feed, "a.csv.gz.sha256", hashlib.sha256(packed).hexdigest().encode())
    drop(feed, "b.csv.gz", packed + b"")
    drop(feed, "b.csv.gz.sha256", hashlib.sha256(A).hexdigest().encode())
    assert {b.status: str(b.reason).partition(":")[0] for b in feed.run() if b.batch} == {
        "published": "None", "held": "archive_checksum",
    }  # fmt: skip


CONTROL = (
    '<control file=".ctl" field="2" counts="rows" businessDateField="1">'
    '<total field="3" sum="amount"/><total field="4" sum="v"/><total field="5" hash="sha256"/></control>'
)


def declared(rows: str = "3", amount: str = "9.75", v: str = "6", sha: str = "") -> bytes:
    return f"20240105,{rows},{amount},{v},{sha or hashlib.sha256(M).hexdigest()}\n".encode()


def test_a_control_file_gives_date_count_sums_and_hash(feed: Feed) -> None:
    controlled(feed, CONTROL, **MONEY)
    drop(feed, "m.csv", M)
    assert feed.run() == []  # it waits
    drop(feed, "m.ctl", declared())
    (batch,) = feed.run()
    assert (batch.status, batch.business_date, batch.counts.accepted) == ("published", "2024-01-05", 3)
    (again,) = feed.run(reprocess=True)
    assert (again.status, again.attempt) == ("published", 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (declared(rows="4"), "control_total: the control record declares 4 records, the file holds 3"),
        (declared(amount="9.7"), "control_total: field 3 of the control record is not the sum of amount"),
        (declared(v="x"), "control_total: field 4 of the control record is not a number"),
        (declared(sha="0" * 64), "control_total: field 5 of the control record is not the sha256 of the file"),
        (b"20240105,3,9.75\n", "control_total: field 4 of the control record is not there: it has 3"),
        (b"\n\n", "control_missing: the first record should be the control record, and is not there"),
    ],
)
def test_what_a_control_file_declares_and_is_not_so_holds_the_file(feed: Feed, text: bytes, reason: str) -> None:
    controlled(feed, CONTROL, **MONEY)
    drop(feed, "m.csv", M)
    drop(feed, "m.csv.ctl", text)
    drop(feed, "n.csv", M.replace(b"a,", b"z,"))
    drop(feed, "n.csv.ctl", declared(sha=hashlib.sha256(M.replace(b"a,", b"z,")).hexdigest()))
    found = {b.status: b.reason for b in feed.run()}
    assert str(found["held"]).startswith(reason)
    assert "published" in found


@pytest.mark.parametrize("bad", [b"c,3,one\n", b"c,3\n", b"c,3,1e3\n"])
def test_a_sum_over_a_cell_that_cannot_be_read_is_a_mismatch(feed: Feed, bad: bytes) -> None:
    control = '<control record="last"><total field="2" sum="amount"/></control>'
    controlled(feed, control, policy="", **MONEY)
    drop(feed, "m.csv", b"id,v,amount\na,1,10\n" + bad + b"T,10\n")
    status, reason = outcome(feed)
    assert (status, reason) == (
        "held", "control_total: field 2 of the control record cannot be compared: a cell of amount is not a number, "
        "or not there",
    )  # fmt: skip


def test_sums_of_a_control_record_inside_the_file(feed: Feed) -> None:
    totals = '<total field="2" sum="amount"/><total field="1" counts="rows"/>'
    control = f'<control record="last" field="1">{totals}</control>'
    controlled(feed, control, **MONEY)
    drop(feed, "m.csv", M + b"3,9.75\n")
    assert outcome(feed)[0] == "published"


def test_no_total_stands_in_what_is_said(feed: Feed) -> None:
    controlled(feed, CONTROL, **MONEY)
    drop(feed, "m.csv", M)
    drop(feed, "m.ctl", declared(amount="8888.88"))
    _, reason = outcome(feed)
    (file,) = landed(feed)
    assert isinstance(file, LandedFile)
    assert "8888" not in reason + str(file.reason) and "9.75" not in reason


def test_files_that_all_stand_in_raw_are_taken_in_though_their_server_is_gone(
    feed: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many: of more than a few the zone is listed once, for what lies beside them."""
    with light_sftp_server(tmp_path / "server") as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(zone=f'type="sftp" uri="{server.uri}" secretRef="BANK_KEY" hostKey="{server.host_key}"')
        for number in range(MANY + 1):
            (server.root / f"f{number}.csv").write_text(f"id,v\nr{number},1\n")
        with killed_at("claim.copied"):
            feed.run()
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        ((claim, files),) = unsettled_claims(lake.ledger, "app/feed")
        (batch,) = run_pipeline(lake, feed.pipeline(), run_id="later", claim_id=claim).batches
    assert (files, batch.status, batch.counts.accepted) == (MANY + 1, "published", MANY + 1)
