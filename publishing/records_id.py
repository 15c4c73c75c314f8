"""What the records of a file are, whatever their order, their quotes, their line ends and the form of their cells."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

from pipeline_xml.contract import Contract
from pipeline_xml.model import FileSource
from processing.read import RawFile, read_range
from publishing.raw import RawCopy

_MODULUS = 2**256
_NULL, _END = "\x00", "\x1f"


def records_id(source: FileSource, contract: Contract, copied: RawCopy, path: Path) -> str | None:
    """A sum of hashes over the typed records, so that their order does not count and how often each comes does.

    None where it was not asked for, and of a file that is broken or holds a record that is not right: what cannot be
    read is the same as nothing else.
    """
    wanted = source.delivery is not None and source.delivery.same_records == "hold"
    if not wanted or copied.scan.errors or not copied.scan.records:
        return None
    import pyarrow.compute as pc

    names = [column.name for column in contract.columns]
    file = RawFile(str(path), "", 0, path.name, date.min.replace(year=1970), copied.scan)
    total = 0
    for part in copied.scan.ranges:
        rows = read_range(file, part, source, contract)
        if pc.count(rows.column("_status")).as_py():
            return None
        cells = [pc.fill_null(rows.column(name).cast("string"), _NULL) for name in names]
        for text in pc.binary_join_element_wise(*cells, _END).to_pylist():
            total += int.from_bytes(hashlib.sha256(text.encode()).digest())
    return f"{total % _MODULUS:064x}"
