"""Text. Positions count from 1 and in characters (code points)."""

from __future__ import annotations

from collections.abc import Callable

from pipeline_xml.expressions.codes import ARGUMENT_TYPE, REFUSED_PATTERN, Refused
from pipeline_xml.expressions.coercion import require
from pipeline_xml.expressions.patterns import matches_empty, portable_pattern
from pipeline_xml.expressions.signature import Arguments, Function, constant_number, constant_text, signature
from pipeline_xml.expressions.tree import Call, Literal, Tree
from pipeline_xml.types import BOOLEAN, INT, STRING

LONGEST = 1_000_000


def _numbers(name: str, *limits: tuple[str, int]) -> Callable[[Arguments], Tree]:
    """Text, then whole numbers as literals, each from its least value: engines differ on zero and negative ones."""

    def build(arguments: Arguments) -> Tree:
        text = require(arguments[0], 0, "string")
        numbers = [
            Literal(INT, constant_number(arguments, i, *limits[i - 1], LONGEST)) for i in range(1, len(arguments))
        ]
        return Call(name, (text, *numbers), STRING)

    return build


def _pad(name: str) -> Callable[[Arguments], Tree]:
    def build(arguments: Arguments) -> Tree:
        text = require(arguments[0], 0, "string")
        length = constant_number(arguments, 1, "the length", 1, 10_000)
        fill = constant_text(arguments, 2, "the fill") if len(arguments) > 2 else " "
        if len(fill) != 1:
            raise Refused(ARGUMENT_TYPE, "the fill must be one character", argument=2)
        return Call(name, (text, Literal(INT, length), Literal(STRING, fill)), STRING)

    return build


def _concat_ws(arguments: Arguments) -> Tree:
    constant_text(arguments, 0, "the separator")
    return signature("concat_ws", STRING, "string")(arguments)


def _replace(arguments: Arguments) -> Tree:
    if not constant_text(arguments, 1, "the text to look for"):
        raise Refused(ARGUMENT_TYPE, "the text to look for is empty", argument=1)
    return signature("replace", STRING, "string")(arguments)


def _translate(arguments: Arguments) -> Tree:
    source, target = (constant_text(arguments, i, "the list of characters") for i in (1, 2))
    if len(set(source)) != len(source) or len(target) > len(source):
        raise Refused(ARGUMENT_TYPE, "each character stands once, and has at most one that replaces it", argument=1)
    return signature("translate", STRING, "string")(arguments)


def _regexp_extract(arguments: Arguments) -> Tree:
    text = require(arguments[0], 0, "string")
    pattern = portable_pattern(constant_text(arguments, 1, "a regular expression"))
    group = constant_number(arguments, 2, "the group", 0, 20) if len(arguments) > 2 else 1
    groups = _groups(pattern)
    if group > groups:
        raise Refused(REFUSED_PATTERN, f"group {group} of a regular expression that has {groups}", argument=2)
    return Call("regexp_extract", (text, Literal(STRING, pattern), Literal(INT, group)), STRING)


def _groups(pattern: str) -> int:
    """Capturing groups of a portable pattern, in which a literal parenthesis is always escaped."""
    plain = pattern.replace("\\\\", "").replace("\\(", "")
    return plain.count("(") - plain.count("(?")


def _regexp_replace(arguments: Arguments) -> Tree:
    text = require(arguments[0], 0, "string")
    pattern = portable_pattern(constant_text(arguments, 1, "a regular expression"))
    by = constant_text(arguments, 2, "the replacement")
    if matches_empty(pattern):
        raise Refused(
            REFUSED_PATTERN, "a pattern that matches empty text is refused: engines replace differently", argument=1
        )
    if "$" in by or "\\" in by:
        raise Refused(
            REFUSED_PATTERN,
            "a replacement with $ or \\ is refused: engines read it differently",
            argument=2,
            hint="build the text of regexp_extract and concat",
        )
    return Call("regexp_replace", (text, Literal(STRING, pattern), Literal(STRING, by)), STRING)


def _split_part(arguments: Arguments) -> Tree:
    text = require(arguments[0], 0, "string")
    delimiter = constant_text(arguments, 1, "the delimiter")
    if not delimiter:
        raise Refused(ARGUMENT_TYPE, "the delimiter is empty", argument=1)
    part = constant_number(arguments, 2, "the part", 1, 10_000)
    return Call("split_part", (text, Literal(STRING, delimiter), Literal(INT, part)), STRING)


def _sha2(arguments: Arguments) -> Tree:
    if len(arguments) > 1 and constant_number(arguments, 1, "the number of bits", 0, 512) != 256:
        raise Refused(ARGUMENT_TYPE, "only 256 bits", argument=1)
    return Call("sha256", (require(arguments[0], 0, "string"),), STRING)


def _text(name: str, doc: str, example: str = "", aliases: tuple[str, ...] = ()) -> Function:
    return Function(
        name,
        "Text",
        f"{name}(a)",
        doc,
        example or f"{name}(country)",
        signature(name, STRING, "string"),
        aliases=aliases,
    )


def _test(name: str, doc: str, alias: str) -> Function:
    rule = signature(name, BOOLEAN, "string")
    return Function(name, "Text", f"{name}(a, b)", doc, f"{name}(country, 'D')", rule, 2, 2, (alias,) if alias else ())


FUNCTIONS = (
    Function(
        "length",
        "Text",
        "length(a)",
        "Number of characters.",
        "length(country) = 2",
        signature("length", INT, "string"),
        aliases=("len", "char_length", "character_length"),
    ),
    _text("upper", "In capital letters.", aliases=("ucase",)),
    _text("lower", "In small letters.", aliases=("lcase",)),
    _text("trim", "Without spaces (U+0020 only) at both ends."),
    _text("ltrim", "Without spaces at the start."),
    _text("rtrim", "Without spaces at the end."),
    Function(
        "substring",
        "Text",
        "substring(a, start, length)",
        "From a position that counts from 1; without length, to the end. Both are written as numbers.",
        "substring(country, 1, 2)",
        _numbers("substring", ("the start", 1), ("the length", 0)),
        2,
        3,
        ("substr",),
    ),
    Function(
        "left", "Text", "left(a, n)", "The first n characters.", "left(country, 1)", _numbers("left", ("n", 0)), 2, 2
    ),
    Function(
        "right",
        "Text",
        "right(a, n)",
        "The last n characters.",
        "right(country, 1)",
        _numbers("right", ("n", 0)),
        2,
        2,
        weight=2,
    ),
    Function(
        "concat",
        "Text",
        "concat(a, b, …)",
        "Joined; null where one is null. Also `a || b`.",
        "concat(country, '-', name)",
        signature("concat", STRING, "string"),
        2,
        None,
    ),
    Function(
        "concat_ws",
        "Text",
        "concat_ws('sep', a, b, …)",
        "Joined by a separator, nulls left out; never null.",
        "concat_ws('-', country, name)",
        _concat_ws,
        2,
        None,
    ),
    Function(
        "replace",
        "Text",
        "replace(a, 'from', to)",
        "Every place of a text replaced; `to` left out removes it.",
        "replace(name, '-', '')",
        lambda a: _replace(a if len(a) > 2 else (*a, Literal(STRING, ""))),
        2,
        3,
    ),
    Function(
        "translate",
        "Text",
        "translate(a, 'abc', 'xyz')",
        "Each character of the first list replaced by the one at its place in the second, or removed.",
        "translate(name, '.,', ' ')",
        _translate,
        3,
        3,
    ),
    Function(
        "lpad",
        "Text",
        "lpad(a, length, 'c')",
        "Filled at the start to a length, or cut to it.",
        "lpad(country, 5, '0')",
        _pad("lpad"),
        2,
        3,
    ),
    Function(
        "rpad",
        "Text",
        "rpad(a, length, 'c')",
        "Filled at the end to a length, or cut to it.",
        "rpad(country, 5, ' ')",
        _pad("rpad"),
        2,
        3,
    ),
    _test("starts_with", "Whether it starts with b.", "startswith"),
    _test("ends_with", "Whether it ends with b.", "endswith"),
    _test("contains", "Whether b stands in it.", ""),
    Function(
        "instr",
        "Text",
        "instr(a, b)",
        "The position of the first b in it, 0 where there is none.",
        "instr(name, '-')",
        signature("instr", INT, "string"),
        2,
        2,
    ),
    Function(
        "split_part",
        "Text",
        "split_part(a, 'sep', n)",
        "The nth part between separators, counted from 1; empty text where there are fewer.",
        "split_part(name, '-', 1)",
        _split_part,
        3,
        3,
        weight=2,
    ),
    Function(
        "regexp_extract",
        "Text",
        "regexp_extract(a, r'pattern', group)",
        "What a group of the first match holds (0 the whole match); empty text where nothing matches.",
        "regexp_extract(name, r'([0-9]+)', 1)",
        _regexp_extract,
        2,
        3,
    ),
    Function(
        "regexp_replace",
        "Text",
        "regexp_replace(a, r'pattern', 'by')",
        "Every match replaced by a text.",
        "regexp_replace(name, r'[^0-9]', '')",
        _regexp_replace,
        3,
        3,
    ),
    Function(
        "sha256",
        "Text",
        "sha256(a)",
        "The SHA-256 of its UTF-8 bytes in hexadecimal. Also `sha2(a, 256)`.",
        "sha256(name)",
        _sha2,
        1,
        2,
        ("sha2",),
    ),
)
