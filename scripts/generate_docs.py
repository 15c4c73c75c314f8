"""Writes the pages of docs/ that are printed from the code: `python scripts/generate_docs.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from language_page import language_page
from reliability_page import reliability_page

import pipeline_xml.load  # noqa: F401  the path is set above; importing declares the codes
from pipeline_xml.expressions.codes import EXPRESSION_CODES
from pipeline_xml.expressions.functions import REFUSED
from pipeline_xml.expressions.functions import registry as expression_functions
from pipeline_xml.expressions.functions_date import CASTS
from pipeline_xml.expressions.signature import EXAMPLE_SCOPE
from pipeline_xml.rulebook import BOOK, CHAPTERS
from processing.transformations import registry

DOCS = Path(__file__).resolve().parent.parent / "docs"


def rules_page() -> str:
    """docs/rules.md: every code of the book and of expressions, by chapter."""
    registry()  # transformations declare codes of their own
    found = {name: (c.severity, c.meaning) for name, c in BOOK.items()}
    found |= {name: ("error", meaning) for name, meaning in EXPRESSION_CODES.items()}
    lines = [
        "# Rules",
        "",
        "What `lake check` can find. Printed by `scripts/generate_docs.py`; do not edit.",
        "An error stops everything; a warning is shown and kept.",
    ]
    for prefix, title in CHAPTERS.items():
        lines += ["", f"## {title}", "", "| code | severity | meaning |", "| --- | --- | --- |"]
        for name in sorted(n for n in found if n.startswith(prefix)):
            severity, meaning = found[name]
            lines.append(f"| {name} | {severity} | {_cell(meaning)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


EXPRESSIONS = """# Expressions

Printed by `scripts/generate_docs.py` from the registry; do not edit.

An expression is written in Spark SQL's words, compiled against the columns there are, and computed with one result,
in value and type, on both engines. Only what stands on this page exists; all else is an error of `lake check`.

## How it is read

- **Types** are those of contracts: string, boolean, int, bigint, decimal(p,s), double, date, timestamp (UTC).
- **Columns** are named as in the contract, case-sensitive; in a join condition `dataset.column`. Odd names go
  in backticks.
- **Bound values**: `:businessDate`, `:runDate` (dates) and the parameters of a job. There is no clock.
- **Text** stands in single quotes, a quote inside is doubled. A backslash is doubled too, or the text is written raw:
  `r'^\\d+$'`. **Numbers**: `1` is an int (bigint where it must be), `1.50` a decimal(3,2), `1e3` a double.
  `date '2020-01-31'`, `timestamp '2020-01-31 10:11:12'`.
- **Numbers meet** in the wider type: whole numbers in bigint, whole numbers and decimals in a decimal that holds both,
  anything with a double in double; a date and a timestamp in timestamp. Text never becomes a number by itself: the
  error says which cast to write.
- **Whole numbers** compute in bigint. **Decimals** are exact: a sum has one digit more, a product the digits of both;
  where more than 38 might be needed the expression is refused and a cast says what is meant. `/` gives a double.
  `-a` and `abs(a)` take decimals of at most 34 digits. A double is binary: `round(1.005, 2)` of a double is 1.0.
- **Nulls**: a function of a null is null unless its line says otherwise. `and`, `or` and `in` follow SQL.
- **Text compares** by code points; nothing is trimmed and no case is folded unless it is asked for.

## When there is no result

| reason | where |
| --- | --- |
| `overflow` | a result has no place in its type: bigint, the range of dates, a double that is not finite, a cast |
| `division_by_zero` | `/` and `%` by zero |
| `invalid_cast` | text that is not of the type or the format |

The value is then null and the record gets the reason: it goes to quarantine, never on with a wrong number. Reading is
from left to right: in `a <> 0 and b / a > 1` nothing is wrong with a zero, nor in the branch of a `case` not taken, nor
behind the first value of `coalesce`. `try_cast`, `try_to_date` and `try_to_timestamp` give null without a reason.

## Casts

| from | to |
| --- | --- |
{casts}

Text must be plain ASCII without spaces around: `12`, `-0.5`, `1e3` (double only), `true/false/t/f/yes/no/y/n/1/0`,
`2020-01-31`, `2020-01-31 10:11:12`. A decimal is rounded half away from zero; a cast to int or bigint cuts the
fraction. A double becomes a decimal of at most 15 decimals, and only while it is exact to the last of them.

## Regular expressions and date formats

Both engines must read a pattern alike: `\\d \\w \\s` are ASCII, `.` is anything but a newline, `^` and `$` are the very
ends, groups are `(…)`, `(?:…)` or `(?P<name>…)`. Refused: lookaround, references back, flags, `\\b`, `\\p`, possessive
quantifiers, `[:alpha:]`, sets within sets. The pattern is searched, not anchored. A date format is made of
`yyyy MM dd HH mm ss`, each once, and `- / . : _ ,`, space or `'T'` between them.
"""


def expressions_page() -> str:
    """docs/expressions.md: how expressions are read, and every function of the registry by group."""
    casts = "\n".join(f"| {source} | {', '.join(targets)} |" for source, targets in CASTS.items())
    lines = [EXPRESSIONS.replace("{casts}", casts).rstrip()]
    groups = dict.fromkeys(f.group for f in expression_functions().values())
    columns = ", ".join(f"{name} {kind}" for name, kind in EXAMPLE_SCOPE.items())
    lines += ["", "## Functions and operators", "", f"The columns of the examples: {columns}."]
    for group in groups:
        lines += ["", f"### {group}", "", "| written | what it gives | example |", "| --- | --- | --- |"]
        for function in (f for f in expression_functions().values() if f.group == group):
            also = ", ".join(f"`{name}`" for name in function.aliases)
            doc = function.doc + (f" Also called {also}." if also else "")
            lines.append(f"| `{_code(function.written)}` | {_cell(doc)} | `{_code(function.example)}` |")
    lines += ["", "## Left out on purpose", "", "| function | why |", "| --- | --- |"]
    for reason in dict.fromkeys(REFUSED.values()):
        names = ", ".join(f"`{name}`" for name, why in REFUSED.items() if why == reason)
        lines.append(f"| {names} | {_cell(reason)} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: Mapping[str, Callable[[], str]] = {
    "language.md": language_page, "rules.md": rules_page, "expressions.md": expressions_page,
    "reliability.md": reliability_page,
}  # fmt: skip


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
