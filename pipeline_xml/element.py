"""An XML element as read: plain, frozen, and knowing where it and each of its values stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pipeline_xml.location import Location
from pipeline_xml.place import items, within


@dataclass(frozen=True, slots=True)
class Element:
    """`places` holds the place of each attribute's value; `text_where` that of the first character of the text.

    `text` is the element's own text, without that of its children.
    """

    tag: str
    where: Location
    attributes: dict[str, str]
    places: dict[str, Location]
    text: str = ""
    text_where: Location | None = None
    children: tuple[Element, ...] = ()

    def walk(self) -> Iterator[Element]:
        """This element and all below it, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def child(self, tag: str) -> Element | None:
        return next((c for c in self.children if c.tag == tag), None)

    def value(self, name: str) -> str | None:
        """The attribute of that name, else the text of the child element of that name, stripped."""
        if name in self.attributes:
            return self.attributes[name].strip()
        child = self.child(name)
        return child.text.strip() if child is not None else None

    def all_places(self, *lists: str) -> dict[str, Location]:
        """Places of attributes and of text children by name (attributes win), and of items of `lists` as name:item."""
        text = {c.tag: c.text_where or c.where for c in self.children}
        found = {
            f"{name}:{item}": within(self.places[name], self.attributes[name], item)
            for name in lists
            if name in self.attributes
            for item in items(self.attributes[name])
        }
        return {**text, **self.places, **found}

    def map_values(self, change: Callable[[str, Location], str]) -> Element:
        """The same element with every attribute value and text passed through `change`."""
        return replace(
            self,
            attributes={k: change(v, self.places[k]) for k, v in self.attributes.items()},
            text=change(self.text, self.text_where) if self.text_where else self.text,
            children=tuple(c.map_values(change) for c in self.children),
        )

    def canonical(self) -> list[Any]:
        """What the document says without how it is written: no comments, no spacing, attributes sorted."""
        text = " ".join(self.text.split())
        attributes = sorted((k, " ".join(v.split())) for k, v in self.attributes.items())
        return [self.tag, attributes, text, [c.canonical() for c in self.children]]


def digest(value: object) -> str:
    """sha256 over the JSON of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
