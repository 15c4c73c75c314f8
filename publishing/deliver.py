"""Delivering what waits in the outbox: some tries at once, then later ones by whoever looks next."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential

from publishing.ledger import Ledger, now
from publishing.outbox import REFUSED, SENT, WAITING, OutboxMessage, settle, take
from resources.failures import Transient
from resources.notifier import NotAccepted

AT_ONCE = 50  # messages of one look
TRIES = 3
SECONDS = 20.0  # of all tries of one message, short of the lease
LOOK_SECONDS = 20.0  # after which a look begins with no other message: a tick may last 60 s
Send = Callable[[str, str, str, str, dict[str, object]], None]  # kind, address, id, subject, body


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one look at the outbox did."""

    sent: int = 0
    refused: int = 0
    waiting: int = 0
    reasons: tuple[str, ...] = ()


def deliver(
    ledger: Ledger,
    send: Send,
    applications: Collection[str] | None = None,
    clock: Callable[[], datetime] = now,
    wait: Callable[[float], None] = time.sleep,
) -> Delivered:
    """Sends what is due, as far as LOOK_SECONDS go.

    `send` raises resources.notifier.NotAccepted where no other try helps, Transient where one may; anything else is
    taken for the latter and told by its type.
    """
    ended: dict[str, int] = {SENT: 0, REFUSED: 0, WAITING: 0}
    reasons = []
    for message in _one_by_one(ledger, clock, applications):
        state, reason = _try(send, message, wait)
        settle(ledger, message, state, clock(), reason)
        ended[state] += 1
        if reason:
            reasons.append(f"{message.kind} {message.id[:8]}: {reason}")
    return Delivered(ended[SENT], ended[REFUSED], ended[WAITING], tuple(reasons))


def _one_by_one(
    ledger: Ledger, clock: Callable[[], datetime], applications: Collection[str] | None
) -> Iterator[OutboxMessage]:
    """Each is taken when the one before has ended, so that a lease is never over while its message waits its turn."""
    begun = clock()
    for _ in range(AT_ONCE):
        if (clock() - begun).total_seconds() > LOOK_SECONDS:
            return
        taken = take(ledger, clock(), 1, applications)
        if not taken:
            return
        yield from taken


def _try(send: Send, message: OutboxMessage, wait: Callable[[float], None]) -> tuple[str, str | None]:
    retrying = Retrying(
        retry=retry_if_exception_type(Transient),
        stop=stop_after_attempt(TRIES) | stop_after_delay(SECONDS),
        wait=wait_random_exponential(multiplier=0.2, max=3.0),
        reraise=True,
        sleep=wait,
    )
    try:
        retrying(send, message.kind, message.address, message.id, message.subject, message.body)
    except NotAccepted as error:
        return REFUSED, str(error)
    except Transient as error:
        return WAITING, str(error)
    except Exception as error:  # noqa: BLE001 - one message must not keep the others from being sent
        return WAITING, type(error).__name__  # its text may hold an address
    return SENT, None
