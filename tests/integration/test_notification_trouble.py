"""A mail server that does not know us, and one that nobody reaches: told later, and the look ends in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from publishing.deliver import LOOK_SECONDS, deliver
from publishing.ledger import Ledger, now
from publishing.outbox import WAITING, enqueue
from resources.notifier import Notifier
from tests.integration.test_notifications import (
    box,
    email,
    looked,
    no_home,  # noqa: F401 - a fixture
    published,
    run,
    settings_of,
    told,
    waiting_message,
)
from tests.notification_servers import mail_server


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
@pytest.mark.parametrize("user", ["lake@", ""])
def test_a_mail_server_that_does_not_know_us_is_asked_again_once_that_is_put_right(tmp_path: Path, user: str) -> None:
    with mail_server((b"lake", b"s3cret")) as mail:
        wrong = replace(settings_of(tmp_path, mail), smtp=mail.url.replace("lake@", user))
        (tmp_path / "secrets" / "DATALAKE_SMTP_PASSWORD").write_text("mistyped")
        run(wrong, told(email("completion")), published)
        (waiting,) = box(wrong)
        assert (waiting.state, mail.taken) == (WAITING, [])
        assert "DATALAKE_MAIL_FROM or DATALAKE_SMTP_PASSWORD" in str(waiting.reason)
        assert "mistyped" not in str(waiting.reason)
        (tmp_path / "secrets" / "DATALAKE_SMTP_PASSWORD").write_text("s3cret")
        assert looked(settings_of(tmp_path, mail), minutes=5).sent == 1


def test_a_look_ends_in_time_though_nobody_answers_and_the_rest_is_for_the_next(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    ledger = Ledger.of(settings)
    begun = now()
    moments = (begun + timedelta(seconds=LOOK_SECONDS / 4 * n) for n in count())
    enqueue(ledger, [waiting_message(settings, f"m{n:02d}", begun - timedelta(minutes=1)) for n in range(30)])
    done = deliver(ledger, Notifier(settings).send, clock=lambda: next(moments), wait=lambda _: None)
    left = [m for m in box(settings) if m.tries == 0]
    ledger.close()
    assert 0 < done.waiting < 5
    assert len(left) == 30 - done.waiting
