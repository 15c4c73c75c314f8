"""Regular expressions and date formats that mean the same on every engine.

Java's regex (Apache Spark) and Rust's (the embedded engine) agree on a subset only. A pattern is read by the small
parser here and written again in words both understand alike: `\\d`, `\\w`, `\\s` become ASCII classes, `$` the very end
of the text, `.` anything but a newline. What they read differently, or only one of them has, is refused.
"""

from __future__ import annotations

import re

from pipeline_xml.expressions.codes import REFUSED_PATTERN, Refused

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t\\n\\r\\f\\x0B"}
_CONTROLS = {"t": "\\t", "n": "\\n", "r": "\\r", "f": "\\f"}
_SPECIAL = "\\^$.|?*+()[]{}-&~#"
_COUNT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")
_HEX = re.compile(r"\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_POINT = re.compile(r"\\x\{([0-9A-F]{1,6})\}")
_NAMED = re.compile(r"\?(?:P?<[A-Za-z][A-Za-z0-9]*>|:)")
LONGEST = 1000
REPEATS = 1000
STATES = 10_000


def _refuse(pattern: str, at: int, what: str, hint: str = "") -> Refused:
    return Refused(REFUSED_PATTERN, f"regular expression: {what} at character {at + 1} of '{pattern}'", hint=hint)


def portable_pattern(pattern: str) -> str:
    """The same pattern as every engine reads it alike; raises `Refused` (LK216) where there is none."""
    if len(pattern) > LONGEST:
        raise Refused(REFUSED_PATTERN, f"regular expression: longer than {LONGEST} characters")
    if any("\ud800" <= char <= "\udfff" for char in pattern):
        raise Refused(REFUSED_PATTERN, "regular expression: half a surrogate pair is no character")
    out: list[str] = []
    open_groups: list[int] = []
    sizes = [0]  # states of each open group: counts multiply, (a{500}){500} would be built as 250,000 of them
    nested = [1]  # the greatest product of counts within counts in each: RE2, which reads those of contracts, limits it
    atom, deep = 0, 1  # of the last atom
    may_repeat = False  # whether a quantifier may stand here
    i = 0
    while i < len(pattern):
        char = pattern[i]
        start = i
        if char == "\\":
            text, i = _escape(pattern, i, False)
            out.append(text)
            may_repeat = text != "\\z" and text != "\\A"
        elif char == "[":
            text, i = _class(pattern, i)
            out.append(text)
            may_repeat = True
        elif char == "(":
            open_groups.append(i)
            sizes.append(0)
            nested.append(1)
            if len(open_groups) > 20:
                raise _refuse(pattern, i, "groups more than 20 deep")
            i += 1
            capture = "("
            if pattern[i : i + 1] == "?":
                match = _NAMED.match(pattern, i)
                if not match:
                    raise _refuse(
                        pattern,
                        start,
                        "lookaround, flags and atomic groups are refused",
                        "only (…), (?:…) and (?P<name>…)",
                    )
                capture = "(?:" if match[0] == "?:" else "("
                i = match.end()
            out.append(capture)
            may_repeat = False
        elif char == ")":
            if not open_groups:
                raise _refuse(pattern, i, "a ) without (")
            open_groups.pop()
            atom, deep = sizes.pop(), nested.pop()
            sizes[-1] += atom
            nested[-1] = max(nested[-1], deep)
            out.append(")")
            may_repeat, i = True, i + 1
            continue
        elif char in "*+?{":
            if not may_repeat:
                raise _refuse(pattern, i, f"nothing for {char} to repeat", "write \\ before it to mean the character")
            text, i, times = _quantifier(pattern, i)
            out.append(text)
            sizes[-1] += atom * (times - 1)
            nested[-1] = max(nested[-1], deep * times)
            if sizes[-1] > STATES or nested[-1] > REPEATS:
                raise _refuse(pattern, start, "counts multiply to a pattern that is too large")
            may_repeat, atom, deep = False, 0, 1
            continue
        elif char in "]}":
            out.append("\\" + char)
            may_repeat, i = True, i + 1
        else:
            out.append({"$": "\\z", ".": "[^\\n]"}.get(char, char))
            may_repeat, i = char not in "^$|", i + 1
        atom, deep = 1, 1
        sizes[-1] += 0 if char == "(" else 1
    if open_groups:
        raise _refuse(pattern, open_groups[-1], "a ( without )")
    return "".join(out)


def _escape(pattern: str, i: int, inside: bool) -> tuple[str, int]:
    """The escape at `i` rewritten, and where it ends."""
    if i + 1 >= len(pattern):
        raise _refuse(pattern, i, "ends with a \\")
    char = pattern[i + 1]
    if char in _CLASSES:
        return (_CLASSES[char] if inside else f"[{_CLASSES[char]}]"), i + 2
    if char in "DWS":
        if inside:
            raise _refuse(pattern, i, f"\\{char} inside [ ] is refused", "write [^…] instead")
        return f"[^{_CLASSES[char.lower()]}]", i + 2
    if char in _CONTROLS:
        return _CONTROLS[char], i + 2
    if char == "x":
        match = _HEX.match(pattern, i)
        if not match:
            raise _refuse(pattern, i, "\\x needs two hexadecimal digits, or \\x{…}")
        point = int(match[1] or match[2], 16)
        if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            raise _refuse(pattern, i, "no such character")
        return f"\\x{{{point:X}}}", match.end()
    if char in "Az" and not inside:
        return "\\" + char, i + 2
    if char.isascii() and not char.isalnum() and char > " " and char not in "<>_":
        return ("\\" + char if char in _SPECIAL else char), i + 2
    if char in "<>_ ":
        return char, i + 2
    if char in "123456789":
        raise _refuse(pattern, i, "a reference back to a group is refused: only one engine has it")
    hint = "write the ASCII class you mean, such as [A-Za-z0-9_]" if char in "bBpPhHvRX" else ""
    raise _refuse(pattern, i, f"\\{char} is refused: engines read it differently, or only one has it", hint)


def _class(pattern: str, i: int) -> tuple[str, int]:
    """The class [ ] at `i` rewritten, and where it ends."""
    start = i
    i += 1
    out = ["["]
    if pattern[i : i + 1] == "^":
        out.append("^")
        i += 1
    first = True
    previous: str | None = None  # the single character before, which a range may start from
    while True:
        if i >= len(pattern):
            raise _refuse(pattern, start, "a [ without ]")
        char = pattern[i]
        if char == "]" and not first:
            return "".join(out) + "]", i + 1
        if char == "[":
            raise _refuse(pattern, i, "a [ inside [ ] is refused (sets within sets, [:alpha:])", "write \\[ to mean it")
        if pattern[i : i + 2] in ("&&", "--", "~~"):
            raise _refuse(
                pattern, i, f"{pattern[i : i + 2]} inside [ ] is refused: only one engine reads it as written"
            )
        if char == "-" and previous is not None and pattern[i + 1 : i + 2] not in ("]", ""):
            end, i = _one(pattern, i + 1)
            if end is None or _point(end) < _point(previous):
                raise _refuse(pattern, i - 1, "a range inside [ ] runs from a smaller to a greater character")
            out.append("-" + end)
            previous = None
        else:
            begin = i
            one, i = _one(pattern, i)
            out.append(_escape(pattern, begin, True)[0] if one is None else one)
            previous = one
        first = False


def _one(pattern: str, i: int) -> tuple[str | None, int]:
    """One character of a class as it is to be written, None for a set such as \\d; and where it ends."""
    if pattern[i] == "\\":
        text, end = _escape(pattern, i, True)
        return (None if pattern[i + 1] in _CLASSES else text), end
    return ("\\" + pattern[i] if pattern[i] in _SPECIAL else pattern[i]), i + 1


def _point(text: str) -> int:
    if text.startswith("\\x{"):
        return int(text[3:-1], 16)
    return {"\\t": 9, "\\n": 10, "\\r": 13, "\\f": 12}.get(text, ord(text[-1]))


def _quantifier(pattern: str, i: int) -> tuple[str, int, int]:
    """The quantifier at `i`, where it ends, and how many copies of its atom it builds."""
    start, times = i, 1
    if pattern[i] == "{":
        match = _COUNT.match(pattern, i)
        if not match:
            raise _refuse(pattern, i, "a { that is no count such as {2} or {2,5}", "write \\{ to mean the character")
        low, high = int(match[1]), int(match[3] or 0)
        if max(low, high) > REPEATS or (match[3] and high < low):
            raise _refuse(pattern, i, f"a count runs from a smaller to a greater number, at most {REPEATS}")
        i, times = match.end(), max(low, high, 1)
    else:
        i += 1
    if pattern[i : i + 1] == "+":
        raise _refuse(pattern, i, "a possessive quantifier is refused: only one engine has it")
    if pattern[i : i + 1] == "?":
        i += 1
    if pattern[i : i + 1] and pattern[i] in "*+?{":
        raise _refuse(pattern, i, "a quantifier after a quantifier", "put the first in (?:…)")
    return pattern[start:i], i, times


def matches_empty(portable: str) -> bool:
    """Whether a portable pattern matches the empty text, and so between any two characters."""
    python = _POINT.sub(lambda m: re.escape(chr(int(m[1], 16))), portable.replace("\\z", "\\Z"))
    return re.search(python, "") is not None


def like_pattern(pattern: str, escape: str = "\\") -> str:
    """The regular expression of a LIKE pattern: % any text, _ one character, `escape` before either means itself."""
    if len(pattern) > LONGEST:
        raise Refused(REFUSED_PATTERN, f"like: longer than {LONGEST} characters")
    out = ["\\A"]
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char == escape:
            i += 1
            if pattern[i : i + 1] not in ("%", "_", escape) or i >= len(pattern):
                raise Refused(REFUSED_PATTERN, f"like: {escape} stands before %, _ or itself only")
            out.append(quote(pattern[i]))
        else:
            out.append({"%": "(?s:.*)", "_": "(?s:.)"}.get(char) or quote(char))
        i += 1
    return "".join(out) + "\\z"


def quote(text: str) -> str:
    """`text` as a pattern that matches it and nothing else."""
    return "".join("\\" + c if c in _SPECIAL else c for c in text)


_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"  # a year 0000 is no date
_TOKENS = {"yyyy": _YEAR, **dict.fromkeys(("MM", "dd", "HH", "mm", "ss"), "[0-9]{2}")}
_TOKEN = re.compile("yyyy|MM|dd|HH|mm|ss")
_DATE = {"yyyy", "MM", "dd"}


def date_pattern(text: str, time: bool | None) -> str:
    """The ASCII pattern that text in this date format has; `Refused` (LK216) for a format that is not portable.

    A format is made of yyyy MM dd HH mm ss, each at most once, and the separators - / . : _ , space and 'T' as text.
    `time` True needs hours, False forbids them, None allows both.
    """
    found: list[str] = []
    out = ["\\A"]
    i = 0
    while i < len(text):
        match = _TOKEN.match(text, i)
        if match and match[0] not in found and text[match.end() : match.end() + 1] != text[i]:
            found.append(match[0])
            out.append(_TOKENS[match[0]])
            i = match.end()
        elif text[i] in "-/.:_, ":
            out.append(quote(text[i]))
            i += 1
        elif text.startswith("'T'", i):
            out.append("T")
            i += 3
        else:
            raise Refused(
                REFUSED_PATTERN,
                f"date format '{text}': not understood at character {i + 1}",
                valid=tuple(_TOKENS),
                hint="a format is made of yyyy MM dd HH mm ss, each once, and - / . : _ , space or 'T' between them",
            )
    if time is not None and not _DATE.issubset(found):
        raise Refused(REFUSED_PATTERN, f"date format '{text}': needs yyyy, MM and dd")
    if time is False and set(found) - _DATE:
        raise Refused(REFUSED_PATTERN, f"date format '{text}': a date has no hours", hint="use to_timestamp")
    if time is True and "HH" not in found:
        raise Refused(REFUSED_PATTERN, f"date format '{text}': needs HH", hint="use to_date")
    if ("mm" in found and "HH" not in found) or ("ss" in found and "mm" not in found):
        raise Refused(REFUSED_PATTERN, f"date format '{text}': seconds need minutes, minutes need hours")
    return "".join(out) + "\\z"
