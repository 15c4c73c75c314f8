"""Problems as text with an excerpt, as JSON, and as GitHub annotations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from pipeline_xml.location import Location
from pipeline_xml.problems import Problem, nearest

_SHOWN = 12
_QUOTED = re.compile(r"'([^']*)'")
# What a line may hold in clear by mistake: it is found, and not printed into a log.
_SECRETS = (
    re.compile(r"(?i)(?<![a-z])(?:password|passwd|pwd|token)\s*=\s*\"?(?P<secret>[^\"&;<>\n]+)"),
    re.compile(r"://[^/@\s\"':]*:(?P<secret>[^/@\s\"']+)@"),
)


def render_text(problems: Iterable[Problem], root: Path, shown_root: str = "") -> str:
    """All problems, each with the lines of its file. `shown_root` is put before file names, such as `config/`."""
    excerpts: dict[str, list[str]] = {}
    return "\n".join(_one(p, root, shown_root, excerpts) for p in problems)


def _one(problem: Problem, root: Path, shown_root: str, excerpts: dict[str, list[str]]) -> str:
    severity = "" if problem.severity == "error" else f"{problem.severity}: "
    head = f"{shown_root}{problem.where}: {problem.code} {severity}{problem.message}\n"
    advice = _advice(problem)
    lines = excerpts.setdefault(problem.where.file, _lines(root, problem.where.file))
    return head + _excerpt(problem.where, lines, advice)


def _advice(problem: Problem) -> str:
    """Valid values, the nearest one, and what to do."""
    parts = []
    if problem.valid:
        shown = list(problem.valid[:_SHOWN])
        rest = len(problem.valid) - len(shown)
        noun = "columns are" if "unknown column" in problem.message else "valid"
        parts.append(f"{noun}: {', '.join(shown)}{f' and {rest} more' if rest else ''}.")
        quoted = _QUOTED.search(problem.message)
        close = nearest(quoted[1], problem.valid) if quoted else None
        if close and "Did you mean" not in problem.hint:
            parts.append(f"Did you mean {close}?")
    if problem.hint:
        starts_sentence = parts and "=" not in problem.hint.split()[0]
        parts.append(problem.hint[0].upper() + problem.hint[1:] if starts_sentence else problem.hint)
    return " ".join(parts)


def _lines(root: Path, file: str) -> list[str]:
    path = root / file
    if not path.is_file():
        return []
    return [_without_secrets(line) for line in path.read_text(encoding="utf-8", errors="replace").split("\n")]


def _without_secrets(line: str) -> str:
    """The line with stars, as many, where a password seems to stand."""
    for pattern in _SECRETS:
        for match in pattern.finditer(line):
            start, end = match.span("secret")
            line = line[:start] + "*" * (end - start) + line[end:]
    return line


def _excerpt(where: Location, lines: list[str], advice: str) -> str:
    """The line before, the line itself, and a caret with the advice behind it."""
    if not 1 <= where.line <= len(lines) or not lines[where.line - 1].strip():
        return f"      = {advice}\n" if advice else ""
    first = max(where.line - 1, 1)
    width = max(4, len(str(where.line)))
    out = []
    for number in range(first, where.line + 1):
        out.append(f" {number:>{width}} | {lines[number - 1].rstrip()}".rstrip())
    line = lines[where.line - 1]
    # Tabs before the caret stay tabs, so that the caret stands under its character however wide a tab is shown.
    blank = "".join("\t" if c == "\t" else " " for c in line[: where.column - 1].ljust(where.column - 1))
    out.append(f" {'':>{width}} | {blank}^ {advice}".rstrip())
    return "\n".join(out) + "\n"


def render_json(problems: Iterable[Problem]) -> str:
    """`[{"file","line","column","code","severity","message"}]`; the message has the valid values and the advice."""
    return json.dumps([as_dict(p) for p in problems], indent=2, ensure_ascii=False)


def as_dict(problem: Problem) -> dict[str, str | int]:
    advice = _advice(problem)
    return {
        "file": problem.where.file,
        "line": problem.where.line,
        "column": problem.where.column,
        "code": problem.code,
        "severity": problem.severity,
        "message": f"{problem.message}; {advice}" if advice else problem.message,
    }


def render_github(problems: Iterable[Problem], shown_root: str = "") -> str:
    """Workflow commands that GitHub shows at the lines of a pull request."""
    return "\n".join(_annotation(p, shown_root) for p in problems)


def _annotation(problem: Problem, shown_root: str) -> str:
    advice = _advice(problem)
    message = _escape(f"{problem.message}. {advice}" if advice else problem.message)
    where = problem.where
    place = f"file={_escape_property(shown_root + where.file)},line={where.line},col={where.column}"
    return f"::{problem.severity} {place},title={problem.code}::{message}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
