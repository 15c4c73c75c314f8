"""CSV exports against their manifests, and manifests against what the ledger says was published."""

from __future__ import annotations

import bz2
import csv
import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_xml.checked import Catalog
from pipeline_xml.model import CsvTarget
from publishing.differences import Difference
from publishing.export import export_folder, read_manifest
from publishing.lake import Lake
from publishing.targets import replaces_unit
from publishing.verify_tables import Published


def verify_exports(lake: Lake, catalog: Catalog, known: Mapping[str, Published]) -> Iterator[Difference]:
    """Every export that a published batch made: its manifest, its parts, their rows."""
    seen: set[Path] = set()
    for application in catalog.applications:
        for pipeline in application.pipelines:
            for target in pipeline.targets:
                chosen = target.target
                if not isinstance(chosen, CsvTarget):
                    continue
                for each in known.values():
                    if each.batch.pipeline != pipeline.key or not each.stands:
                        continue
                    folder = export_folder(lake, application.name, chosen, each.batch)
                    parts = (read_manifest(folder) or {"parts": []})["parts"]
                    own = [part for part in parts if part["batch"] == each.batch.id]
                    alone = not parts or (chosen.mode == "append" and not replaces_unit(target, each.batch))
                    if not own and alone and not each.going_on and each.batch.status == "published":
                        yield Difference("export_part_unnamed", f"{each.batch.key} in {folder.name}", "no part", "1")
                    if folder not in seen:
                        seen.add(folder)
                        yield from _parts(folder, parts, chosen, known)


def _parts(
    folder: Path, parts: Sequence[Mapping[str, Any]], chosen: CsvTarget, known: Mapping[str, Published]
) -> Iterator[Difference]:
    for part in parts:
        subject = f"{part['file']} in {folder.name}"
        owner = known.get(part["batch"])
        if owner is None or not (owner.going_on or owner.stands):
            status = owner.batch.status if owner else "not in the ledger"
            yield Difference("export_of_unknown_batch", subject, f"its batch is {status}", "a published batch")
        path = folder / part["file"]
        if not path.exists():
            yield Difference("export_part_missing", subject, "no file", f"{part['rows']} rows")
        elif (rows := _rows(path, chosen)) != part["rows"]:
            yield Difference("export_rows_differ", subject, f"{rows} rows", f"{part['rows']} rows")


def _rows(path: Path, chosen: CsvTarget) -> int:
    """Records of a part; in CSV a quoted line break is none of its own."""
    if chosen.kind == "parquet":
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)
    if chosen.kind == "orc":
        import pyarrow.orc as orc

        return int(orc.ORCFile(path).nrows)
    opened: Any = {"gzip": gzip.open, "bzip2": bz2.open, "none": open}[chosen.compression]
    with opened(path, "rt", encoding="utf-8", newline="") as lines:
        rows = sum(1 for _ in csv.reader(lines, delimiter=chosen.delimiter))
    return rows - 1 if chosen.header and rows else rows
