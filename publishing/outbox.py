"""The outbox: what is to be told to somebody outside, committed before anybody tries to tell it.

    enqueue ──▶ waiting ──take──▶ being sent ──settle──▶ sent | refused | expired
                   ▲                   │
                   └── lease over, or not delivered ◀┘

A message's id is made of what it tells, so it is in the outbox once, whoever puts it there and however often. Who takes
a message holds it for LEASE; where he dies, it is taken again after that. So it is sent at least once, and twice only
if a process dies between the server's answer and its own commit; the id goes with it, for the receiver to know it by.
What has ended is kept for KEPT and then pruned: long enough that nobody finds the same end once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, String, create_engine, delete, func, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Mapped, Session, mapped_column

from publishing.ledger import Base, Ledger
from resources.settings import Settings

WAITING, SENT, REFUSED, EXPIRED = "waiting", "sent", "refused", "expired"
STATES = (WAITING, SENT, REFUSED, EXPIRED)
LEASE = timedelta(minutes=2)  # longer than all tries of one delivery together
LONGEST_WAIT = timedelta(hours=1)
LIFE = timedelta(days=3)  # a message that nobody takes for so long is news no more
KEPT = timedelta(days=30)  # of what was sent, refused or expired
LEAST_KEPT = timedelta(days=7)  # ends and deadlines are looked for no further back than a few days


class OutboxMessage(Base):
    """`address`: an e-mail address, a URL, or `secret:NAME` of one. `due_at`: not before; while it is sent, the lease's
    end. `reason`: why it was not delivered yet, or refused."""

    __tablename__ = "outbox"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))  # email | webhook
    address: Mapped[str] = mapped_column(String(2048))
    application: Mapped[str] = mapped_column(String(200), index=True)
    subject: Mapped[str] = mapped_column(String(500))
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(20), index=True)
    tries: Mapped[int] = mapped_column(default=0)
    made_at: Mapped[datetime]
    due_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(500))


def message_id(*parts: str) -> str:
    """The id of the message that tells this: a run or deadline, an event, an address."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:40]


def enqueue(ledger: Ledger, messages: Sequence[OutboxMessage]) -> int:
    """Commits those that are not there yet; returns how many."""
    if not messages:
        return 0
    with ledger.write() as session:
        wanted = {message.id: message for message in messages}
        known = set(session.scalars(select(OutboxMessage.id).where(OutboxMessage.id.in_(wanted))))
        fresh = [message for identity, message in wanted.items() if identity not in known]
        session.add_all(fresh)
    return len(fresh)


def take(
    ledger: Ledger, at: datetime, most: int, applications: Collection[str] | None = None
) -> Sequence[OutboxMessage]:
    """Messages that are due, the oldest first, held for LEASE; those that waited longer than LIFE expire."""
    due = [OutboxMessage.state == WAITING, OutboxMessage.due_at <= at]
    if applications is not None:
        due.append(OutboxMessage.application.in_(applications))
    with ledger.read() as session:  # nothing is locked while nothing is due
        if session.scalar(select(OutboxMessage.id).where(*due).limit(1)) is None:
            return ()
    with ledger.write() as session:
        old = update(OutboxMessage).where(*due, OutboxMessage.made_at < at - LIFE)
        session.execute(old.values(state=EXPIRED, ended_at=at))
        chosen = select(OutboxMessage).where(*due).order_by(OutboxMessage.made_at, OutboxMessage.id).limit(most)
        taken: list[OutboxMessage] = []
        for message in session.scalars(chosen):
            message.tries += 1
            message.due_at = at + LEASE
            taken.append(message)
        return taken


def settle(ledger: Ledger, message: OutboxMessage, state: str, at: datetime, reason: str | None = None) -> None:
    """How a delivery ended. `waiting`: it is tried again, later each time."""
    with ledger.write() as session:
        stored = session.get_one(OutboxMessage, message.id)
        if stored.state == SENT:  # another process took it when our lease was over, and was quicker
            return
        stored.state, stored.reason = state, reason and reason[:500]
        if state == WAITING:
            stored.due_at = at + min(timedelta(minutes=2 ** min(stored.tries, 10)), LONGEST_WAIT)
        else:
            stored.ended_at = at


def prune(ledger: Ledger, before: datetime) -> int:
    """Forgets what ended before that; what waits stays. Returns how many."""
    with ledger.write() as session:
        old = delete(OutboxMessage).where(OutboxMessage.state != WAITING, OutboxMessage.ended_at < before)
        return int(session.execute(old).rowcount)  # type: ignore[attr-defined]


def told_of(ledger: Ledger, application: str, run_id: str) -> bool:
    """Whether somebody was told of the run's end, or is to be; one transaction puts in all there is to tell of it."""
    of_run = OutboxMessage.body["run"].as_string() == run_id
    with ledger.read() as session:
        found = select(OutboxMessage.id).where(OutboxMessage.application == application, of_run)
        return session.scalar(found.limit(1)) is not None


def waiting(ledger: Ledger) -> int:
    """How many messages are still to be delivered."""
    with ledger.read() as session:
        return session.scalar(select(func.count()).where(OutboxMessage.state == WAITING)) or 0


def kept_outbox(settings: Settings) -> list[dict[str, Any]]:
    """The rows of the outbox of a ledger that is to be replaced, as it stands; none where it is unreadable."""
    engine = create_engine(settings.ledger or f"sqlite:///{settings.data / 'ledger.db'}")
    try:
        with Session(engine) as session:
            return [dict(row._mapping) for row in session.execute(select(*OutboxMessage.__table__.columns))]
    except DatabaseError:
        return []
    finally:
        engine.dispose()


def outbox_from(rows: Sequence[dict[str, Any]]) -> Callable[[Session, object], None]:
    """Restores these rows in a ledger that is made again: nothing else says what was told."""

    def restore(session: Session, _entries: object) -> None:
        session.add_all(OutboxMessage(**row) for row in rows)

    return restore
