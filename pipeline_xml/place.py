"""Lists inside one attribute, such as keys="lei,uli": their items, and where an item stands."""

from __future__ import annotations

import re

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


def words(value: str) -> tuple[str, ...]:
    """`a b,c` -> (a, b, c): names that may be separated by spaces as well."""
    return tuple(value.replace(",", " ").split())


def word_places(name: str, value: str, where: Location) -> dict[str, Location]:
    """The places of the words of a list attribute `name` that starts at `where`, as name:word; the first of each."""
    found: dict[str, Location] = {}
    for match in re.finditer(r"[^\s,]+", value):
        found.setdefault(f"{name}:{match[0]}", where.at(match.start()))
    return found
