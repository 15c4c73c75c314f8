"""Where something stands in a definition file."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file.

    `file` is relative to the config root where the file lies inside it; `line` and `column` count from 1. `anchors` are
    (offset, line, column) in the value that starts here, one after each line break or entity: without them an offset
    in the value would not be an offset in the file.
    """

    file: str
    line: int = 1
    column: int = 1
    anchors: tuple[tuple[int, int, int], ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def at(self, offset: int) -> Location:
        """The place of the character at `offset` of the value that starts here."""
        start, line, column = 0, self.line, self.column
        for anchor in self.anchors:
            if anchor[0] > offset:
                break
            start, line, column = anchor
        return Location(self.file, line, column + offset - start)
