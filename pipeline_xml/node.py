"""What every part of a document has: where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline_xml.location import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """`where` is the element; `places` the value of each of its attributes and text children by name.

    Items of list attributes of sources, targets and references have places of their own, named `attribute:item`.
    """

    where: Location
    places: Mapping[str, Location] = field(default_factory=dict, compare=False, repr=False)

    def place(self, name: str) -> Location:
        return self.places.get(name, self.where)

    def item_place(self, name: str, item: str) -> Location:
        """The place of one item of a list attribute; that of the attribute where it is not known."""
        return self.places.get(f"{name}:{item}", self.place(name))
