"""Notifications of jobs, told to a real mail server and a real HTTP server: once, late rather than never, and after a
kill between any two steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from command_line.main import app
from datalake_assets import maintenance
from datalake_assets.execute import execute
from datalake_assets.instance import open_instance
from pipeline_xml.checked import Catalog, CheckedPipeline
from pipeline_xml.location import Location
from pipeline_xml.model import Notification
from publishing.deliver import Delivered, deliver
from publishing.ledger import Ledger, now
from publishing.outbox import (
    EXPIRED,
    KEPT,
    LEASE,
    REFUSED,
    SENT,
    WAITING,
    OutboxMessage,
    enqueue,
    kept_outbox,
    outbox_from,
)
from publishing.outcome import BatchOutcome
from publishing.unended import abandoned, running
from resources.notifier import Notifier
from resources.settings import Settings
from tests import small_catalog as small
from tests.notification_servers import Hook, Mailbox, mail_server, webhook

PROJECT = Path(__file__).resolve().parents[2]
WHERE = Location("applications/shop/service/jobs/nightly.xml", 9, 5)
Script = Callable[[CheckedPipeline], list[BatchOutcome]]


def email(on: str, to: str = "ops@example.com") -> Notification:
    return Notification(kind="email", on=on, address=to, where=WHERE, places={"to": WHERE})


def hook(on: str) -> Notification:
    return Notification(kind="webhook", on=on, address="CHAT_URL", where=WHERE, places={"urlSecretRef": WHERE})


def told(*notifications: Notification) -> Catalog:
    refs = (small.ref("orders"), small.ref("clean", "orders"))
    return small.catalog(jobs=(replace(small.chain(*refs, schedule=None), notifications=notifications),))


def published(checked: CheckedPipeline) -> list[BatchOutcome]:
    return [small.batch(checked)]


def held(checked: CheckedPipeline) -> list[BatchOutcome]:
    return [small.batch(checked, status="held", reason="declared 10, counted 9", passed=False)]


def broken(checked: CheckedPipeline) -> list[BatchOutcome]:
    raise RuntimeError("the engine went away")


def settings_of(root: Path, mail: Mailbox | None = None, chat: Hook | None = None) -> Settings:
    (root / "secrets").mkdir(exist_ok=True)
    if chat is not None:
        (root / "secrets" / "CHAT_URL").write_text(chat.url + "\n")
    return Settings(
        Path("/config"), root, secrets=root / "secrets", smtp=mail.url if mail else None, mail_from="lake@example.com"
    )


def run(settings: Settings, catalog: Catalog, orders: Script, clean: Script = published) -> str:
    work = small.ScriptedWork({"orders": orders, "clean": clean})
    return execute(settings, "shop", "nightly", catalog=catalog, open_work=work.open()).run


def box(settings: Settings) -> list[OutboxMessage]:
    ledger = Ledger.of(settings)
    with ledger.read() as session:
        found = sorted(session.query(OutboxMessage), key=lambda m: m.kind)
    ledger.close()
    return found


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def test_a_failed_job_tells_who_asked_for_it_by_mail_and_webhook(tmp_path: Path) -> None:
    with mail_server() as mail, webhook() as chat:
        settings = settings_of(tmp_path, mail, chat)
        wanted = (email("failure", "ops@example.com, boss@example.com"), email("success", "quiet@example.com"))
        run_id = run(settings, told(*wanted, hook("completion")), broken)
        assert sorted(str(m["To"]) for m in mail.taken) == ["boss@example.com", "ops@example.com"]
        letter = mail.taken[0]
        assert letter["Subject"] == "[dev] shop/nightly: failed"
        assert letter["Auto-Submitted"] == "auto-generated"
        text = str(letter.get_payload())
        assert "orders: failed (shop/orders failed: RuntimeError" in text
        assert "clean: did not run" in text
        ((key, body),) = chat.taken
        assert (body["event"], body["status"], body["run"], body["id"]) == ("completion", "failed", run_id, key)
        assert [p["status"] for p in body["pipelines"]] == ["failed", "did_not_run"]
    assert {m.state for m in box(settings)} == {SENT}


@pytest.mark.parametrize(
    ("orders", "status", "events"),
    [
        (published, "published", ["completion", "success"]),
        (held, "held", ["completion", "failure", "held"]),
        (broken, "failed", ["completion", "failure"]),
    ],
)
def test_each_event_is_told_when_it_happens(tmp_path: Path, orders: Script, status: str, events: list[str]) -> None:
    with mail_server() as mail:
        settings = settings_of(tmp_path, mail)
        every = [email(on, f"{on}@example.com") for on in ("success", "failure", "held", "slaMiss", "completion")]
        run(settings, told(*every), orders)
        assert sorted(str(m["To"]).partition("@")[0] for m in mail.taken) == events
        assert {str(m["Subject"]) for m in mail.taken} == {f"[dev] shop/nightly: {status}"}


def test_an_address_hears_of_a_run_once_by_the_event_that_says_most(tmp_path: Path) -> None:
    with webhook() as chat:
        settings = settings_of(tmp_path, None, chat)
        run(settings, told(hook("completion"), hook("failure"), hook("held")), held)
        assert [body["event"] for _, body in chat.taken] == ["held"]


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(tmp_path: Path) -> None:
    with mail_server(None, "451 try later", "421 closing") as mail, webhook(503, 429) as chat:
        settings = settings_of(tmp_path, mail, chat)
        run(settings, told(email("completion"), email("completion", "unknown@example.com"), hook("completion")),
            published)  # fmt: skip
        assert len(mail.taken) == 1
        assert (len(chat.taken), chat.asked) == (1, 3)
    states = {m.address: (m.state, m.reason) for m in box(settings)}
    assert states["unknown@example.com"] == (REFUSED, "the mail server answered 550")
    with webhook(302) as moved:
        again = settings_of(tmp_path, None, moved)
        run(again, told(hook("completion")), published)
        assert (moved.asked, moved.taken) == (1, [])
    assert box(again)[-1].reason == "the webhook answered 302"


def test_what_is_not_set_up_waits_and_is_sent_once_it_is(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    run(settings, told(email("completion"), hook("completion")), published)
    waiting = {m.kind: m for m in box(settings)}
    assert {m.state for m in waiting.values()} == {WAITING}
    assert waiting["email"].reason == "DATALAKE_SMTP and DATALAKE_MAIL_FROM are not both set"
    assert "secret 'CHAT_URL' is missing" in str(waiting["webhook"].reason)
    with mail_server() as mail, webhook() as chat:
        ready = settings_of(tmp_path, mail, chat)
        assert looked(ready, minutes=0) == Delivered()  # not yet due
        assert looked(ready, minutes=5).sent == 2
        assert (len(mail.taken), len(chat.taken)) == (1, 1)
        assert looked(ready, minutes=60) == Delivered()


def looked(settings: Settings, minutes: float) -> Delivered:
    """A later look at the outbox, as the sensor makes it."""
    ledger = Ledger.of(settings)
    try:
        later = now() + timedelta(minutes=minutes)
        return deliver(ledger, Notifier(settings).send, clock=lambda: later, wait=lambda _: None)
    finally:
        ledger.close()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {project!r})
from publishing import deliver as delivering
from resources.notifier import Notifier
from tests.integration import test_notifications as t

class Dying(Notifier):
    def send(self, *message):
        if {after}:
            super().send(*message)
        os.kill(os.getpid(), signal.SIGKILL)

import datalake_assets.notices as notices
notices.Notifier = Dying
settings = t.Settings(Path("/config"), Path({root!r}), secrets=Path({root!r}) / "secrets",
                      smtp={smtp!r}, mail_from="lake@example.com")
t.run(settings, t.told(t.email("completion"), t.hook("completion")), t.published)
"""


@pytest.mark.parametrize("after", [False, True], ids=["before_the_first_is_sent", "after_the_first_is_sent"])
def test_a_kill_loses_nothing_and_what_may_come_twice_has_one_id(tmp_path: Path, after: bool) -> None:
    with mail_server() as mail, webhook() as chat:
        settings = settings_of(tmp_path, mail, chat)
        program = KILLED.format(project=str(PROJECT), after=after, root=str(tmp_path), smtp=mail.url)
        env = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
        died = subprocess.run([sys.executable, "-c", program], env=env, cwd=PROJECT, capture_output=True, check=False)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]
        assert {m.state for m in box(settings)} == {WAITING}
        before = len(mail.taken) + len(chat.taken)
        assert before == int(after)
        assert looked(settings, minutes=0.1).sent == 1  # the other one; the first is still held by who died
        assert looked(settings, minutes=LEASE.total_seconds() / 60 + 0.1).sent == 1
        ids = {str(m["Message-ID"]) for m in mail.taken}, {key for key, _ in chat.taken}
        assert [len(each) for each in ids] == [1, 1]
        assert len(mail.taken) + len(chat.taken) == 2 + before
        assert {m.state for m in box(settings)} == {SENT}


DIES = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {project!r})
from tests.integration import test_notifications as t

def dies(checked):
    os.kill(os.getpid(), signal.SIGKILL)

settings = t.Settings(Path("/config"), Path({root!r}), smtp={smtp!r}, mail_from="lake@example.com")
t.run(settings, t.told(t.email("failure"), t.email("completion", "all@example.com")), t.published, clean=dies)
"""


def killed(settings: Settings, mail: Mailbox) -> None:
    """A run by hand that dies in its second pipeline."""
    program = DIES.format(project=str(PROJECT), root=str(settings.data), smtp=mail.url)
    env = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
    died = subprocess.run([sys.executable, "-c", program], env=env, cwd=PROJECT, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]


def test_the_end_of_a_killed_run_is_told_once_by_the_next_run(tmp_path: Path) -> None:
    with mail_server() as mail:
        settings = settings_of(tmp_path, mail)
        killed(settings, mail)
        assert box(settings) == []
        catalog = told(email("failure"), email("completion", "all@example.com"))
        own = run(settings, catalog, published)
        run(settings, catalog, published)
        assert [str(m["To"]) for m in mail.taken].count("ops@example.com") == 1
        assert [str(m["To"]) for m in mail.taken].count("all@example.com") == 3
        letter = next(str(m.get_payload()) for m in mail.taken if m["To"] == "ops@example.com")
        assert "shop/nightly: failed" in letter
        assert own not in letter
        assert "orders: published" in letter
        assert "clean: failed (the run's process ended" in letter
    with open_instance(settings) as instance:
        assert sorted(r.status.value for r in instance.get_runs()) == ["FAILURE", "SUCCESS", "SUCCESS"]
    assert list((tmp_path / "running").rglob("*-*")) == []


def test_the_maintenance_tells_the_end_of_a_killed_run_and_forgets_old_news(tmp_path: Path) -> None:
    with mail_server() as mail:
        settings = settings_of(tmp_path, mail)
        killed(settings, mail)
        catalog = told(email("failure"), email("completion", "all@example.com"))
        ledger = Ledger.of(settings)
        long_ago = now() - KEPT - timedelta(days=1)
        rows = [waiting_message(settings, name, now(), state=state, ended_at=ended) for name, state, ended in (
            ("old", SENT, long_ago), ("refused", REFUSED, long_ago), ("young", SENT, now()), ("waits", WAITING, None)
        )]  # fmt: skip
        enqueue(ledger, rows)
        ledger.close()
        asset = maintenance.leftovers_asset(settings, catalog)
        with open_instance(settings) as instance:
            for expected in ((2, 2), (0, 0)):
                done = dg.materialize([asset], instance=instance)
                (event,) = done.asset_materializations_for_node(asset.node_def.name)
                found = {key: value.value for key, value in event.metadata.items()}
                assert (found["messages_forgotten"], found["killed_runs_told"]) == expected
    assert {m.id for m in box(settings)} >= {"young", "waits"}
    assert {m.address for m in box(settings)} == {"secret:CHAT_URL", "ops@example.com", "all@example.com"}


def test_a_run_that_goes_on_is_not_taken_for_killed(tmp_path: Path) -> None:
    with running(tmp_path, "shop", "nightly", "one"):
        assert list(abandoned(tmp_path, "shop", "nightly")) == []
    assert list(abandoned(tmp_path, "shop", "nightly")) == ["one"]
    assert list(abandoned(tmp_path, "shop", "nightly")) == []
    with running(tmp_path, "shop", "nightly", "two") as told_it:
        told_it()
    assert list(abandoned(tmp_path, "shop", "nightly")) == []


def test_lake_outbox_prune_keeps_what_waits_and_refuses_a_short_time(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    ledger = Ledger.of(settings)
    ended = now() - timedelta(days=8)
    enqueue(ledger, [waiting_message(settings, "old", ended, state=SENT, ended_at=ended),
                     waiting_message(settings, "waits", ended)])  # fmt: skip
    ledger.close()
    env = {"DATALAKE_DATA": str(tmp_path)}
    assert json.loads(CliRunner().invoke(app, ["outbox", "prune", "--json"], env=env).stdout) == {"pruned": 0}
    assert "1 forgotten" in CliRunner().invoke(app, ["outbox", "prune", "--older-than", "P7D"], env=env).stdout
    short = CliRunner().invoke(app, ["outbox", "prune", "--older-than", "P6D"], env=env)
    assert "at least P7D" in str(short.exception)
    assert [m.id for m in box(settings)] == ["waits"]


def test_two_that_look_at_once_send_it_once(tmp_path: Path) -> None:
    with webhook() as chat:
        settings = settings_of(tmp_path, None, chat)
        ledger = Ledger.of(settings)
        at = now()
        enqueue(ledger, [waiting_message(settings, str(n), at) for n in range(8)])
        ledger.close()
        env = {**os.environ, "DATALAKE_DATA": str(tmp_path), "DATALAKE_SECRETS": str(tmp_path / "secrets")}
        program = [sys.executable, "-c", "from command_line.main import app; app(['outbox', 'send'])"]
        both = [subprocess.Popen(program, env=env, cwd=PROJECT, stdout=subprocess.DEVNULL) for _ in range(2)]
        assert {child.wait(timeout=120) for child in both} <= {0, 1}
        assert sorted(key or "" for key, _ in chat.taken) == [str(n) for n in range(8)]


def waiting_message(settings: Settings, identity: str, at: object, **more: object) -> OutboxMessage:
    facts = {
        "id": identity, "kind": "webhook", "address": "secret:CHAT_URL", "application": "shop", "subject": "s",
        "body": {"text": "t"}, "state": WAITING, "tries": 0, "made_at": at, "due_at": at, "ended_at": None,
        "reason": None,
    }  # fmt: skip
    return OutboxMessage(**{**facts, **more})


def test_old_news_expires_and_a_message_is_put_in_once(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    ledger = Ledger.of(settings)
    old = now() - timedelta(days=4)
    assert enqueue(ledger, [waiting_message(settings, "a", old)]) == 1
    assert enqueue(ledger, [waiting_message(settings, "a", old)]) == 0
    assert deliver(ledger, Notifier(settings).send) == Delivered()
    ledger.close()
    assert [m.state for m in box(settings)] == [EXPIRED]


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_a_mail_server_that_wants_to_know_who_sends(tmp_path: Path) -> None:
    with mail_server((b"lake", b"s3cret")) as mail:
        settings = settings_of(tmp_path, mail)
        (tmp_path / "secrets" / "DATALAKE_SMTP_PASSWORD").write_text("s3cret")
        run(settings, told(email("completion")), published)
        assert len(mail.taken) == 1


def test_a_ledger_that_is_made_again_keeps_its_outbox(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    run(settings, told(email("completion")), published)
    kept = kept_outbox(settings)
    fresh = Ledger(f"sqlite:///{tmp_path / 'fresh.db'}")
    with fresh.write() as session:
        outbox_from(kept)(session, None)
    with fresh.read() as session:
        assert [m.id for m in session.query(OutboxMessage)] == [m.id for m in box(settings)]
    fresh.close()
    (tmp_path / "ledger.db").write_bytes(b"no database")
    assert kept_outbox(settings) == []
