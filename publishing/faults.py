"""What breaks a file, as one text: `code: words`, one after the other, as the ledger has room for it.

A release waives each by its code. So none is lost because another has many words: long ones are cut, all of them stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 500  # characters of a reason in the ledger
_BETWEEN = re.compile(r"; (?=[a-z_]+: )")  # a message may hold the sign as well


def together(faults: Iterable[str | None]) -> str | None:
    """One text of them all, each of which may be several already; None where there is none."""
    parts = list(dict.fromkeys(part for each in faults if each for part in apart(each)))
    room = LONGEST - 2 * (len(parts) - 1)
    most = next((most for most in range(LONGEST, 0, -1) if sum(min(len(part), most) for part in parts) <= room), 1)
    return "; ".join(part[:most] for part in parts) or None


def apart(reason: str) -> list[str]:
    """The faults of a text."""
    return _BETWEEN.split(reason)
