"""Lists and objects inside a field of a contract: what stands in them, so that `<flatten>` knows types before a run.

The field itself is carried as the text of its JSON. Only `<flatten>` looks into it: what else would read it as a text
would read how it happens to be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_xml.contract import Field

UNSEEN = "holds a list or an object, into which only <flatten> looks"
ITEM = "."  # the name of what stands in a list of plain values


@dataclass(frozen=True, slots=True)
class Nested:
    """`many`: a list, else one object. `fields`: those of the object, or of each object of the list; of a list of plain
    values there is one, ITEM."""

    many: bool
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        plain = next((str(f.type) for f in self.fields if f.name == ITEM), "")
        inside = plain or "{" + ", ".join(f"{f.name} {f.nested or f.type}" for f in self.fields) + "}"
        return f"list of {inside}" if self.many else inside

    def classification(self) -> str | None:
        """The gravest of what stands inside."""
        found = {c for f in self.fields for c in (f.classification, f.nested.classification() if f.nested else None)}
        return "secret" if "secret" in found else "pii" if "pii" in found else None


def field_at(nested: Nested, path: Iterable[str]) -> Field | None:
    """The field that the keys of an item lead to, through objects only; None where there is none."""
    fields, found = nested.fields, None
    for key in path:
        if found is not None:
            if found.nested is None or found.nested.many:
                return None
            fields = found.nested.fields
        found = next((f for f in fields if f.name == key), None)
        if found is None:
            return None
    return found


def paths(nested: Nested, before: str = "") -> tuple[str, ...]:
    """Every path that leads to a field of an item."""
    found: list[str] = []
    for each in nested.fields:
        found.append(f"{before}{each.name}")
        if each.nested is not None and not each.nested.many:
            found += paths(each.nested, f"{before}{each.name}.")
    return tuple(found)
