"""A tick over a zone that fails: a reason instead of an error, then left alone, then one look to find out."""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline_xml.checked import CheckedApplication
from pipeline_xml.model import LandingZone
from publishing import landing
from publishing.landing import FIRST_WAIT, LONGEST_WAIT, THRESHOLD, Tick, tick
from publishing.landing_decisions import PAUSE, ZONE, decide
from publishing.ledger import Ledger
from publishing.look import watched
from resources.secrets import SecretMissing
from resources.settings import Settings
from resources.zone import Zone
from resources.zone_memory import MemoryZone
from resources.zone_sftp import SftpAccess, SftpZone
from tests import small_catalog as small
from tests.landing_servers import SSHD, children, openssh_server, with_suppressed_kill

DOWN = "sftp://bank:22: the server does not answer"


class Clock:
    """What the landing room takes for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_700_000_000.0
        monkeypatch.setattr(landing.time, "time", lambda: self.now)


class Bank:
    """A zone in memory with the pipeline `orders`, ticked."""

    def __init__(self, root: Path) -> None:
        self.settings = Settings(config=root / "config", data=root / "data")
        self.zone: LandingZone = small.ZONE
        self.memory = MemoryZone()
        self.opened = 0

    @property
    def app(self) -> CheckedApplication:
        return small.catalog().applications[0]

    def tick(self, opens: Callable[[], Zone] | None = None, names: Sequence[str] | None = None) -> Tick:
        def place() -> Zone:
            self.opened += 1
            return self.memory

        return tick(self.settings, self.app, self.zone, opens or place, names)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_tick_claims_and_comes_with_the_claim_until_a_run_has_settled_it(bank: Bank) -> None:
    bank.memory.put("a.csv", b"12345")
    first, second = bank.tick(), bank.tick()
    assert [(c.pipeline, c.files) for c in first.claims] == [("orders", 1)]
    assert first.claims == second.claims
    assert first.skipped is None


def test_what_waits_is_observed_since_it_was_first_seen(bank: Bank, clock: Clock) -> None:
    bank.zone = replace(bank.zone, settle="PT1H")
    bank.memory.put("a.csv", b"12345")
    app = replace(bank.app, zones=(bank.zone,))
    orders = app.pipelines[0]
    source = replace(orders.sources[0], zone=bank.zone)
    app = replace(app, pipelines=(replace(orders, sources=(source,)), *app.pipelines[1:]))
    for _ in range(2):
        seen = tick(bank.settings, app, bank.zone, lambda: bank.memory).seen
        clock.now += 90
    assert (seen.waiting, seen.bytes, seen.oldest_seconds) == (1, 5, 90.0)


def test_a_zone_that_fails_is_left_alone_after_some_failures_and_found_again_by_one_look(
    bank: Bank, clock: Clock
) -> None:
    bank.memory.down = DOWN
    reasons = []
    for _ in range(THRESHOLD + 2):
        reasons.append(bank.tick().skipped or "")
        clock.now += 10
    assert all(DOWN in reason for reason in reasons)
    assert bank.opened == THRESHOLD
    assert reasons[THRESHOLD].startswith(f"left alone for {FIRST_WAIT - 10:.0f} s more after {THRESHOLD} failures")
    clock.now += FIRST_WAIT
    assert bank.tick().skipped == f"ZoneUnreachable: {DOWN} (tried again in {2 * FIRST_WAIT:.0f} s)"
    assert bank.opened == THRESHOLD + 1, "half open: one look"
    bank.memory.down = None
    bank.memory.put("a.csv", b"1")
    clock.now += 2 * FIRST_WAIT + 1
    assert len(bank.tick().claims) == 1
    bank.memory.down = DOWN
    bank.tick()
    assert bank.tick().skipped == f"ZoneUnreachable: {DOWN}", "it begins to count anew"


def test_it_is_never_left_alone_for_longer_than_a_quarter_of_an_hour(bank: Bank, clock: Clock) -> None:
    bank.memory.down = DOWN
    for _ in range(THRESHOLD + 12):
        bank.tick()
        clock.now += LONGEST_WAIT + 1
    assert bank.opened == THRESHOLD + 12


def test_a_clock_set_back_does_not_leave_a_zone_alone_for_ever(bank: Bank, clock: Clock) -> None:
    bank.memory.down = DOWN
    for _ in range(THRESHOLD):
        bank.tick()
    clock.now -= 400 * 86_400
    bank.tick()
    assert bank.opened == THRESHOLD + 1


def test_a_zone_that_fails_asks_for_no_runs_and_forgets_no_claim(bank: Bank) -> None:
    bank.memory.put("a.csv", b"1")
    bank.tick()
    bank.memory.down = DOWN
    assert bank.tick().claims == ()
    bank.memory.down = None
    assert len(bank.tick().claims) == 1


def test_a_missing_secret_is_a_reason_too(bank: Bank) -> None:
    def opens() -> Zone:
        raise SecretMissing("secret 'BANK_KEY' is missing")

    assert bank.tick(opens).skipped == "SecretMissing: secret 'BANK_KEY' is missing"


def test_a_tick_over_names_that_were_told_claims_as_a_look_would(bank: Bank) -> None:
    bank.memory.put("a.csv", b"1")
    bank.memory.put("b.csv", b"1")
    (told,) = bank.tick(names=["a.csv", "no such file"]).claims
    first, second = bank.tick().claims
    assert (first, second.files) == (told, 1), "the whole look finds the other one, and the told one in its claim"
    assert len(bank.tick(names=["a.csv", "b.csv"]).claims) == 2


def test_a_paused_zone_is_not_looked_into(bank: Bank) -> None:
    app = bank.app
    at = watched(app.pipelines[0], app.pipelines)
    ledger = Ledger.of(bank.settings)
    with ledger.write() as session:
        decide(session, at, PAUSE, ZONE, "", "ann", "approver", "the bank moves")
    ledger.close()
    assert bank.tick().skipped == "paused by ann: the bank moves"
    assert bank.opened == 0


def test_two_looks_into_one_zone_do_not_go_on_at_once(bank: Bank) -> None:
    bank.tick()
    (lock,) = (bank.settings.data / "locks" / "shop").iterdir()
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert bank.tick().skipped == "another look into it goes on"
    assert bank.tick().skipped is None


@pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
def test_a_hung_sshd_costs_one_tick_its_patience_and_others_nothing(tmp_path: Path) -> None:
    hung, well = Bank(tmp_path / "hung"), Bank(tmp_path / "well")
    well.memory.put("a.csv", b"1")
    with openssh_server(tmp_path / "server") as server:
        assert server.process is not None
        (server.root / "a.csv").write_bytes(b"1")

        def opens() -> Zone:
            return SftpZone(server.uri, SftpAccess(server.private_key, "", server.host_key), patience=1)

        for each in (pids := [*children(server.process.pid), server.process.pid]):
            with_suppressed_kill(each, signal.SIGSTOP)
        began = time.monotonic()
        skipped = hung.tick(opens).skipped
        assert time.monotonic() - began < 10
        assert skipped is not None
        assert "the server does not answer" in skipped
        assert len(well.tick().claims) == 1
        for each in pids:
            with_suppressed_kill(each, signal.SIGCONT)
        assert len(hung.tick(opens).claims) == 1
