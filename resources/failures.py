"""What an error means for the one who runs the pipeline: its name, what to do, and whether trying again may help.

An error is permanent unless its type is Transient; that is decided where the type stands. What the operating system, a
table library or an engine says of a disk or a folder is told in our own words by `named`.

    DiskFull               no room left where the lake is written (transient)
    NotWritable            a folder or file that the user of the run may not read or write
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
# Rust and Java libraries tell the errno in their text only.
_FULL_TEXT = re.compile(r"\(os error (28|122|27)\)|No space left on device|Disk quota exceeded|File too large")
_CLOSED_TEXT = re.compile(r"\(os error (13|1|30)\)|Read-only file system|Permission denied")
_OWN = {"pipeline_xml", "processing", "resources", "publishing", "stewardship"}
_ROOT = Path(__file__).resolve().parent.parent


class Transient(Exception):
    """Trying again may help, with nothing changed by hand."""


class Outside(Exception):
    """What a server outside the lake answers, or does not: never a matter of our own disk and rights."""


class DiskFull(Transient):
    """The disk, a quota or a limit of the process leaves no room; nothing that was committed is touched."""


class NotWritable(Exception):
    """The user of the run lacks rights on a folder or file, or it is mounted read-only."""


def named(error: BaseException) -> BaseException:
    """The error itself, or the one with a name that stands behind it, wherever in its chain."""
    for each in _chain(error):
        if isinstance(each, Outside):
            return error
        if isinstance(each, (DiskFull, NotWritable)):
            return each
        number = each.errno if isinstance(each, OSError) else None
        text = "" if number is not None or _is_own(each) else str(each)
        if number in _FULL or _FULL_TEXT.search(text):
            return DiskFull(f"no room left on the disk{_place(each)}; make room, then run again: nothing is lost")
        if number in _CLOSED or _CLOSED_TEXT.search(text):
            return NotWritable(
                f"no right to write{_place(each) or ' where the lake is'}; give the user of the run the right, or "
                "mount it for writing, then run again: nothing is lost"
            )
    return error


@contextmanager
def by_name() -> Iterator[None]:
    """Raises what stands behind an error instead of it, where that has a name of ours."""
    try:
        yield
    except Exception as raised:
        found = named(raised)
        if found is raised:
            raise
        raise found from raised


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help."""
    return isinstance(error, (Transient, ConnectionError, TimeoutError))


def told(error: BaseException) -> str:
    """`Type: message` of an error of ours. Of another, whose message may hold a record's value, type and place only."""
    name = type(error).__name__
    if _is_own(error):
        return f"{name}: {error}"
    condition = getattr(error, "getCondition", lambda: None)()
    return f"{name}{f' [{condition}]' if condition else ''}{_raised_at(error)}"


def _is_own(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _OWN


def _chain(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    seen: set[int] = set()
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _place(error: BaseException) -> str:
    """Where, as far as the system says it; folders below a partition are left out, they are named by values."""
    path = getattr(error, "filename", None)
    if not isinstance(path, str):
        return ""
    parts = Path(path).parts
    known = next((number for number, part in enumerate(parts) if "=" in part), len(parts))
    return f": {Path(*parts[:known])}"


def _raised_at(error: BaseException) -> str:
    """The last line of ours on the way to the error."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _OWN:
            found = f" at {path.relative_to(_ROOT)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
