"""Where records end in a stream of bytes: quotes, escapes and line ends, without parsing a single cell.

The rules are those of pyarrow's CSV parser and of Python's csv module, which agree: a quote opens only at the start of
a field, a doubled quote inside is one quote, what follows a closing quote is plain text, and CR, LF and CRLF end a
record outside quotes. Plain parity of quotes would differ for cells such as `19" rack`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Positions: TypeAlias = npt.NDArray[np.int64]

LF, CR = 10, 13
_PLAIN = 0xFF  # stands for a byte that means nothing; no byte of the dialect, which is ASCII


class Splitter:
    """A state machine fed piece by piece. No piece but the last may end with CR (see `held`)."""

    def __init__(self, delimiter: str, quote: str | None, escape: str | None) -> None:
        self._delimiter = _byte("delimiter", delimiter)
        self._quote = _byte("quote", quote) if quote else None
        # An escape that is the quote itself is the doubled quote, which is always understood.
        self._escape = _byte("escape", escape) if escape and escape != quote else None
        self._before = LF  # the byte before the piece; _PLAIN for a quote that closed nothing
        self.in_quote = False
        self.escaped = False  # the next byte is escaped
        self.opened: int | None = None  # where in the last piece the quote opened that is open at its end

    def split(self, piece: bytes) -> tuple[Positions, Positions]:
        """Positions in the piece of the record ends: where the line end begins, and where the next record begins."""
        a = np.frombuffer(piece, np.uint8)
        if self._escape is not None and (self.escaped or self._escape in piece):
            a, self.escaped = neutralised(a, self._escape, self.escaped)
        toggles = self._toggles(piece, a)
        stops, ends = _line_ends(piece, a)
        self.opened = None
        if toggles is None:
            if self.in_quote:
                stops, ends = stops[:0], ends[:0]
        else:
            outside = (np.searchsorted(toggles, stops) + self.in_quote) % 2 == 0
            stops, ends = stops[outside], ends[outside]
            self.in_quote ^= bool(len(toggles) % 2)
            if self.in_quote:
                self.opened = self._opening(toggles)
            elif toggles[-1] == len(a) - 1:
                # The next piece may begin with a quote, and then this one has closed nothing.
                self.opened = self._opening(toggles[:-1])
        last = int(a[-1])
        if last == self._quote and not (toggles is not None and toggles[-1] == len(a) - 1):
            last = _PLAIN
        self._before = last
        return stops, ends

    def _opening(self, toggles: Positions) -> int | None:
        """The quote that opened the last cell, not a doubled quote in it; None if it opened in an earlier piece."""
        at = len(toggles) - 1
        while at >= 1 and toggles[at] - 1 == toggles[at - 1]:
            at -= 2
        if at < 0 or (toggles[at] == 0 and self._before == self._quote):
            return None
        return int(toggles[at])

    def _toggles(self, piece: bytes, a: npt.NDArray[np.uint8]) -> Positions | None:
        """Positions of the quotes that open or close, in turn; None when there are none."""
        if self._quote is None or self._quote not in piece:
            return None
        quotes = np.flatnonzero(a == self._quote)
        opening = quotes[int(self.in_quote) :: 2]
        before = a[opening - 1]
        if len(opening) and opening[0] == 0:
            before[0] = self._before
        # By parity a quote right before an opening one has just closed: together they are a doubled quote.
        legal = (before == self._delimiter) | (before == LF) | (before == CR) | (before == self._quote)
        if not legal.all():
            quotes = self._walk(quotes, a)
        return quotes if len(quotes) else None

    def _walk(self, quotes: Positions, a: npt.NDArray[np.uint8]) -> Positions:
        """The same one by one, for pieces with quotes inside unquoted cells."""
        toggles: list[int] = []
        inside = self.in_quote
        closed = -1 if self._before == self._quote else -2
        for at in quotes.tolist():
            if inside:
                inside, closed = False, at
                toggles.append(at)
            elif at - 1 == closed or (a[at - 1] if at else self._before) in (self._delimiter, LF, CR):
                inside = True
                toggles.append(at)
        return np.asarray(toggles, np.int64)


def neutralised(a: npt.NDArray[np.uint8], escape: int, escaped: bool) -> tuple[npt.NDArray[np.uint8], bool]:
    """A copy in which every escaped byte means nothing, and whether the byte after it is escaped.

    `escaped`: its first byte is.
    """
    a = a.copy()
    if escaped:
        a[0] = _PLAIN
    at = np.flatnonzero(a == escape)
    first = np.ones(len(at), bool)
    first[1:] = np.diff(at) != 1
    run = at[np.maximum.accumulate(np.where(first, np.arange(len(at)), 0))] if len(at) else at
    active = at[(at - run) % 2 == 0]  # in a run of escapes every second one is itself escaped
    open_end = bool(len(active)) and int(active[-1]) == len(a) - 1
    a[active[: len(active) - open_end] + 1] = _PLAIN
    return a, open_end


def _line_ends(piece: bytes, a: npt.NDArray[np.uint8]) -> tuple[Positions, Positions]:
    lf = np.flatnonzero(a == LF)
    if CR not in piece:
        return lf, lf + 1
    stops = lf - ((lf > 0) & (a[lf - 1] == CR))
    cr = np.flatnonzero(a == CR)
    following = np.append(a, np.uint8(0))[cr + 1]
    lone = cr[following != LF]
    if not len(lone):
        return stops, lf + 1
    stops, ends = np.concatenate([stops, lone]), np.concatenate([lf, lone]) + 1
    order = np.argsort(ends)
    return stops[order], ends[order]


def _byte(what: str, text: str) -> int:
    if len(text) != 1 or not text.isascii():
        raise ValueError(f"the {what} of a csv source is one ASCII character")
    return ord(text)
