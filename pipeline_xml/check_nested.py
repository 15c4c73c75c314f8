"""Where lists and objects may stand: in files of JSON and Parquet, up to the `<flatten>` that makes rows of them."""

from __future__ import annotations

from pipeline_xml.checked import Dataset
from pipeline_xml.contract import Contract
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code

NESTED_HERE = code(
    "LK412",
    "A list or an object of a contract stands in json and parquet sources alone, and no target writes it: flatten it.",
)


def flat(problems: Problems, contract: Contract, what: str, where: Location) -> bool:
    """Whether no field holds a list or an object; reports those of what cannot have any."""
    held = [f.name for f in contract.fields if f.nested is not None]
    if held:
        message = f"{what} has no lists and objects, and its contract has: {', '.join(held)}"
        hint = "a text of JSON is declared as a string, and <flatten> reads it as well"
        NESTED_HERE.report(problems, message, where, (), hint)
    return not held


def written_flat(problems: Problems, dataset: Dataset, where: Location) -> None:
    """A table or file has no column of lists or objects."""
    for column in dataset.columns:
        if column.nested is not None:
            message = f"'{column.name}' of '{dataset.name}' holds {column.nested}, which no target writes"
            hint = "make rows of it with <flatten>, or leave it out with <select>"
            NESTED_HERE.report(problems, message, where, (), hint)
