"""A tiny distribution as an installer leaves it: a module, and a dist-info folder with its entry points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from processing.transformations.custom import offered

_MODULE = '''
from dataclasses import replace

from pipeline_xml.checked import Column
from pipeline_xml.types import BIGINT, STRING


class Shout:
    """Texts in capitals, a mark behind them."""

    attributes = {"column": True, "mark": False}
    engines = ("sail", "spark")
    per_record = True

    def columns(self, columns, attributes):
        if attributes["column"] not in [c.name for c in columns]:
            raise ValueError(f"there is no column {attributes['column']}")
        return [replace(c, type=STRING) if c.name == attributes["column"] else c for c in columns]

    def apply(self, rows, attributes, runtime):
        from pyspark.sql import functions as F

        shouted = F.concat(F.upper(F.col(attributes["column"])), F.lit(attributes.get("mark", "!")))
        return rows.withColumn(attributes["column"], shouted)


class Count:
    """How many rows there are."""

    attributes = {}
    engines = ("sail", "spark")
    per_record = False

    def columns(self, columns, attributes):
        return [Column("rows", BIGINT, False, origins=columns[0].origins)]

    def apply(self, rows, attributes, runtime):
        from pyspark.sql import functions as F

        return rows.agg(F.count(F.lit(1)).alias("rows"))


class Liar(Count):
    def apply(self, rows, attributes, runtime):
        return super().apply(rows, attributes, runtime).withColumnRenamed("rows", "lines")


class Elsewhere(Count):
    engines = ("nowhere",)


class Raises(Count):
    def columns(self, columns, attributes):
        raise KeyError("a value of somebody")


shout, count, liar, elsewhere, raises = Shout(), Count(), Liar(), Elsewhere(), Raises()
'''
_NAMES = ("shout", "count", "liar", "elsewhere", "raises")


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """The distribution `loud-steps` 2.1 in `folder`, on the path while this is open."""
    (folder / "loud_steps.py").write_text(_MODULE)
    info = folder / "loud_steps-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud-steps\nVersion: 2.1\n")
    points = "".join(f"{name} = loud_steps:{name}\n" for name in _NAMES)
    (info / "entry_points.txt").write_text(f"[datalake.transformations]\n{points}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        offered.cache_clear()
        try:
            yield
        finally:
            offered.cache_clear()
