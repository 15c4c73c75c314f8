"""The contract of a dataset: fields, types, nullability, constraints, keys. Frozen; read by `contract_read`."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from pipeline_xml.location import Location
from pipeline_xml.nested import Nested
from pipeline_xml.types import NESTED, STRING, DataType


@dataclass(frozen=True, slots=True)
class Constraints:
    """Row rules of one field. A null value breaks none of them (only `nullable` speaks of nulls).

    `enum` holds the values as written in a file; `pattern` is RE2 syntax and is searched, not anchored (JSON Schema);
    `minimum` and `maximum` are inclusive; lengths count code points.
    """

    enum: tuple[str, ...] = ()
    pattern: str | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_minimum: Decimal | None = None
    exclusive_maximum: Decimal | None = None
    min_length: int | None = None
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a contract.

    `codes` (x-codes): texts that stand where a value would, such as NA or 8888; the typed value is then null and the
    code goes to `<name>_code`. `format` (x-format): a date or timestamp pattern of yyyy MM dd HH mm ss, ISO without it.
    `classification` (x-classification): None, `pii` or `secret`. `nested`: what stands in a list or an object; its own
    type is then string, the text of its JSON. `by_record`: as of a column (pipeline_xml/checked.py); of tables written.
    """

    name: str
    type: DataType
    nullable: bool = True
    description: str = ""
    constraints: Constraints = field(default_factory=Constraints)
    codes: tuple[str, ...] = ()
    format: str | None = None
    classification: str | None = None
    nested: Nested | None = None
    by_record: bool = False

    @property
    def seen(self) -> DataType:
        """The type as expressions and rules see it."""
        return NESTED if self.nested is not None else self.type

    @property
    def code_column(self) -> str:
        return f"{self.name}_code"


@dataclass(frozen=True, slots=True)
class Contract:
    """What a feed or a table must look like. `where` is the schema file."""

    name: str
    fields: tuple[Field, ...]
    where: Location
    primary_key: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    version: str = "1"
    description: str = ""
    owner: str = ""

    @property
    def columns(self) -> tuple[Field, ...]:
        """The typed columns in order: each field, followed by its code column where it has codes."""
        out: list[Field] = []
        for item in self.fields:
            out.append(item)
            if item.codes:
                out.append(
                    Field(
                        item.code_column,
                        STRING,
                        description=f"Code that stands in place of {item.name}: {', '.join(item.codes)}",
                        classification=item.classification,
                    )
                )
        return tuple(out)
