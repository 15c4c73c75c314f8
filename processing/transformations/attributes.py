"""Reading the attributes of a step while it is checked: names resolved, every problem at the place of its word.

The caller has made sure that required attributes are there and that there are no others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from pipeline_xml.checked import Column, Dataset, StepContext, StepPlan
from pipeline_xml.contract import Field
from pipeline_xml.location import Location
from pipeline_xml.model import Step
from pipeline_xml.nested import UNSEEN
from pipeline_xml.place import items, within
from pipeline_xml.problems import nearest
from pipeline_xml.rulebook import BOOK, Code, code
from pipeline_xml.system_columns import SYSTEM_COLUMNS

UNKNOWN_COLUMN = BOOK.get("LK204") or code("LK204", "A column named in a step must exist in the dataset it reads.")
UNKNOWN_DATASET = code("LK301", "A step reads a source, or a dataset that an earlier step made.")
WRONG_VALUE = code("LK302", "An attribute of a step must have one of its valid values.")
NAME_TAKEN = code("LK303", "A new column needs a name that is free (letter case is ignored) and starts with a letter.")
WRONG_TYPE = code("LK304", "A column must have a type that the step can work with.")
NO_KEY = code("LK305", "A step that works by key or order must be told which columns these are.")
INCOMPLETE = code("LK307", "A step must say what it is to do: columns, keys or metrics.")
NO_SECRET = code("LK308", "A mask that needs a key must name one that the application declares, or there must be one.")
TWICE = code("LK309", "A name must not be given twice in one list.")

BY_RECORD = "is encrypted for each record by itself: equal values are not equal in it"
BY_VALUE = 'leave algorithm="aes-gcm" out of its <mask>, or take another column'
_KEYED = ("keys", "groupBy", "orderBy", "on")  # attributes that compare values of records
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_GRAVITY = {None: 0, "pii": 1, "secret": 2}


class Attributes:
    """One step being read. `failed` once a problem was reported here: the step then has no plan."""

    def __init__(self, step: Step, context: StepContext) -> None:
        self.step = step
        self.context = context
        self.failed = False

    def report(self, finding: Code, message: str, where: Location, valid: Iterable[str] = (), hint: str = "") -> None:
        self.failed = True
        finding.report(self.context.problems, message, where, valid, hint)

    def text(self, name: str) -> str:
        return self.step.attributes.get(name, "").strip()

    def place(self, name: str, item: str | None = None) -> Location:
        """Where an attribute's value stands, or one item of its list."""
        where = self.step.place(name)
        return where if item is None else within(where, self.step.attributes.get(name, ""), item)

    def dataset(self, name: str = "source") -> Dataset | None:
        wanted = self.text(name)
        found = self.context.datasets.get(wanted)
        if found is None:
            known = tuple(self.context.datasets)
            message = f"unknown dataset '{wanted}' in <{self.step.kind} {name}>: it must exist before this step"
            self.report(UNKNOWN_DATASET, message, self.place(name), known, did_you_mean(wanted, known))
        return found

    def choice(self, name: str, valid: tuple[str, ...], default: str) -> str:
        value = self.text(name) or default
        if value not in valid:
            message = f"<{self.step.kind} {name}> cannot be '{value}'"
            self.report(WRONG_VALUE, message, self.place(name), valid, did_you_mean(value, valid))
        return value

    def column(
        self, name: str, dataset: Dataset, where: Location, within_what: str, nested: bool = False
    ) -> Column | None:
        """The column; with `nested` it may hold a list or an object, which the step only passes on."""
        found = dataset.column(name)
        if found is not None and found.nested is not None and not nested:
            message = f"<{self.step.kind} {within_what}>: '{name}' {UNSEEN}"
            self.report(WRONG_TYPE, message, where, (), "make rows of it with <flatten>, or leave it out with <select>")
            return None
        if found is not None and found.by_record and within_what in _KEYED:
            self.report(WRONG_TYPE, f"<{self.step.kind} {within_what}>: '{name}' {BY_RECORD}", where, (), BY_VALUE)
            return None
        if found is None:
            message = f"unknown column '{name}' in <{self.step.kind} {within_what}>"
            self.report(UNKNOWN_COLUMN, message, where, dataset.names, did_you_mean(name, dataset.names))
        return found

    def columns(self, name: str, dataset: Dataset, nested: bool = False) -> tuple[Column, ...]:
        """The columns that a list names; those that do not exist are reported and left out. `nested` as in `column`."""
        found: list[Column] = []
        for item in items(self.step.attributes.get(name)):
            column = self.column(item, dataset, self.place(name, item), name, nested)
            if column in found:
                self.report(TWICE, f"<{self.step.kind} {name}> names '{item}' twice", self.place(name, item))
            elif column is not None:
                found.append(column)
        return tuple(found)

    def new_name(self, name: str, taken: Iterable[str], where: Location, hint: str = "") -> None:
        """Reports a name that a new column cannot have. Engines do not tell `Name` from `name`, so neither may we."""
        alike = {other.lower(): other for other in taken}.get(name.lower())
        if name.lower() in SYSTEM_COLUMNS:
            self.report(NAME_TAKEN, f"'{name}' is a column that the platform adds itself", where)
        elif not _NAME.match(name):
            message = f"'{name}' cannot be a column name: letters, digits and _, starting with a letter"
            self.report(NAME_TAKEN, message, where)
        elif alike is not None:
            also = "" if alike == name else f", and '{name}' differs from it by letter case only"
            self.report(NAME_TAKEN, f"there is a column '{alike}' already{also}", where, (), hint)

    def plan(
        self,
        source: Dataset,
        columns: Iterable[Column],
        config: object,
        *,
        per_record: bool | None = None,
        key: tuple[str, ...] | None = None,
        anew: Iterable[str] = (),
    ) -> StepPlan | None:
        """The plan with an output named by `as`, else `source`'s name; None where something failed.

        Key and order of the source hold on while their columns come through untouched (`anew`: those that get other
        values) and rows stay what they are. `key` is a new key.
        """
        if self.failed:
            return None
        after = tuple(columns)
        changed = set(anew)
        kept = {c.name: c for c in after}
        rewritten = frozenset(c.name for c in source.columns if c.name in changed or kept.get(c.name) != c)

        def untouched(names: Iterable[str]) -> bool:
            return per_record is None and rewritten.isdisjoint(names)

        known = source.key if untouched(source.key) else ()
        output = replace(
            source,
            name=self.text("as") or source.name,
            columns=after,
            per_record=source.per_record if per_record is None else per_record,
            key=known if key is None else key,
            order=source.order if source.order and untouched(source.order.columns) else None,
        )
        return StepPlan(self.step, self.step.kind, (source.name,), output, config, rewrites=rewritten)

    def pairs(self, name: str, form: str) -> list[tuple[str, str, Location]]:
        """The items of a list of `a=b`, each with its place; those of another form are reported and left out."""
        found = []
        for item in items(self.step.attributes.get(name)):
            left, equals, right = (part.strip() for part in item.partition("="))
            if left and equals and right:
                found.append((left, right, self.place(name, item)))
            else:
                message = f"'{item}' in <{self.step.kind} {name}> is not of the form {form}"
                self.report(WRONG_VALUE, message, self.place(name, item))
        return found


def derived_from(columns: Iterable[Column]) -> tuple[str | None, frozenset[tuple[str, str]]]:
    """Classification and lineage of what is computed from `columns`: the gravest one, and all their origins."""
    read = tuple(columns)
    gravest = max((c.classification for c in read), key=lambda c: _GRAVITY.get(c, 2), default=None)
    return gravest, frozenset().union(*(c.origins for c in read))


def from_reference(field: Field, reference: str, name: str, nullable: bool) -> Column:
    """A reference table's field as a column; its origin is the reference."""
    origins = frozenset({(reference, field.name)})
    return Column(name, field.type, nullable, field.description, field.classification, origins)


def did_you_mean(value: str, valid: Iterable[str]) -> str:
    close = nearest(value, valid)
    return f"Did you mean {close}?" if close else ""
