"""A Delta table as deltalake sees it, its files read through Arrow's own file system.

Through deltalake's, an Arrow thread may still hold a Python object when the interpreter ends, which aborts it (seen).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem


def delta_dataset(path: Path) -> Any:
    """The newest version of the table as a pyarrow dataset."""
    return DeltaTable(str(path)).to_pyarrow_dataset(filesystem=SubTreeFileSystem(str(path), LocalFileSystem()))
