"""Lists inside one attribute, such as keys="lei,uli": their items, and where an item stands."""

from __future__ import annotations

from pipeline_xml.location import Location


def items(value: str | None) -> tuple[str, ...]:
    """`a, b ,c` -> (a, b, c); empty items are dropped."""
    return tuple(part for part in (p.strip() for p in (value or "").split(",")) if part)


def within(where: Location, value: str, item: str) -> Location:
    """The place of the first `item` in the list `value` that starts at `where`; `where` itself when it is not in it."""
    offset = 0
    for part in value.split(","):
        if part.strip() == item:
            return where.at(offset + len(part) - len(part.lstrip()))
        offset += len(part) + 1
    return where
