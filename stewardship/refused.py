"""What the way back refuses, by type: whoever calls decides what becomes of it (the command line exits with 2).

    Refused                an action that cannot be done as asked; nothing was saved
    ├── NotFound           a batch, record or correction that does not exist; says what does
    ├── NotAllowed         the person, or the role, may not do it
    ├── TokenRefused       the signed token does not prove who asks
    └── Unfit              records or values of a correction that will not do: all of them, by record
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 20


class Refused(Exception):
    """An action that cannot be done as asked (permanent); the message says what was wrong and what to do."""


class NotFound(Refused):
    """Something named does not exist."""


class NotAllowed(Refused):
    """The actor may not do this."""


class TokenRefused(Refused):
    """The token does not prove who asks."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one record of a correction, or with all of it (no record). Never holds a value."""

    record_id: str | None
    message: str


class Unfit(Refused):
    """A correction with everything that is wrong with it; `problems` in the order of the records."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.record_id or "", p.message)))
        super().__init__("\n".join(_lines(self.problems)))


def _lines(problems: Sequence[Problem]) -> list[str]:
    """The first of them, then how many more there are of each kind."""
    lines = [f"{p.record_id}: {p.message}" if p.record_id else p.message for p in problems[:SHOWN]]
    rest = Counter(p.message for p in problems[SHOWN:])
    return lines + [f"… and {count} more: {message}" for message, count in rest.most_common()]
