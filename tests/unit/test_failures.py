"""Errors by what has to be done about them; nothing of a record in what is said of a stranger's error."""

from __future__ import annotations

import errno

import pytest

from publishing.outcome import Counts
from resources.failures import DiskFull, NotWritable, by_name, is_transient, named, told


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/lake/raw/x"), DiskFull, "disk: /lake/raw/x; make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), DiskFull, "no room left on the disk; make room"),
        (RuntimeError("Generic LocalFileSystem error: No space left on device (os error 28)"), DiskFull, "make room"),
        (OSError(errno.EROFS, "Read-only file system", "/lake/x"), NotWritable, "no right to write: /lake/x"),
        (RuntimeError("Unable to open file: Permission denied (os error 13)"), NotWritable, "where the lake is"),
    ],
)
def test_disks_and_folders_have_names(error: Exception, kind: type[Exception], says: str) -> None:
    found = named(error)
    assert type(found) is kind
    assert says in str(found)
    assert "then run again" in str(found)
    assert is_transient(found) == (kind is DiskFull)


def test_the_name_is_found_behind_other_errors() -> None:
    with pytest.raises(DiskFull), by_name():
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the table could not be written") from error


def test_an_error_that_has_no_name_stays_what_it_is() -> None:
    error = KeyError("some column")
    assert named(error) is error
    assert not is_transient(error)
    assert is_transient(ConnectionResetError())


def test_a_folder_named_by_a_value_is_not_told() -> None:
    path = "/lake/applications/app/staging/people/name=Ann Smith/part-1.parquet"
    assert str(named(OSError(errno.EACCES, "Permission denied", path))).startswith(
        "no right to write: /lake/applications/app/staging/people;"
    )


def test_of_a_strangers_error_only_type_and_place_are_told() -> None:
    try:
        Counts.of({"secret value": 1})
    except TypeError as error:
        assert "secret value" in str(error), "it would be told"
        assert told(error).startswith("TypeError at publishing/outcome.py:")
        assert "secret value" not in told(error)
    else:
        pytest.fail("no error")
    assert told(DiskFull("make room")) == "DiskFull: make room"
