"""Cells of rejected records as they stand now: those of the file, under what was approved of them and failed again."""

from __future__ import annotations

from typing import Any

from pipeline_xml.checked import CheckedPipeline
from publishing.corrections import approved_for, load_changes, stacked
from publishing.decisions import CORRECT, Correction
from publishing.inputs import landed
from publishing.lake import Lake
from publishing.ledger import Batch
from stewardship.payloads import CELL, Cells, fields


class Corrected:
    """Lays approved corrections over cells; the set of a correction is opened once."""

    def __init__(self, lake: Lake, pipeline: CheckedPipeline) -> None:
        self._lake, self._names = lake, [field.name for field in fields(pipeline)]
        self._chosen: dict[str, tuple[Correction, ...]] = {}  # by batch
        self._sets: dict[tuple[str, ...], Any] = {}

    def over(self, cells: Cells) -> Cells:
        """The cells with each approved text in its place. A ragged record that was given whole is ragged no more."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from processing.overlay import NEW, RECORD_ID, SET, fields_of

        rows, ragged = cells.rows, set(cells.ragged)
        for batch_id in rows["batch_id"].unique().to_pylist():
            changes = self._changes(batch_id)
            if changes is None:
                continue
            at = pc.index_in(rows["record_id"], value_set=changes[RECORD_ID].combine_chunks()).combine_chunks()
            at = pc.if_else(pc.equal(rows["batch_id"].combine_chunks(), batch_id), at, pa.scalar(None, at.type))
            whole = at.is_valid()
            for name in self._names:
                if name not in fields_of(changes):
                    whole = pa.repeat(pa.scalar(False), len(at))
                    continue
                given = pc.fill_null(changes[SET + name].combine_chunks().take(at), False)
                whole = pc.and_(whole, given)
                place = rows.schema.get_field_index(CELL + name)
                if place >= 0:
                    text = pc.if_else(given, changes[NEW + name].combine_chunks().take(at), rows.column(place))
                    rows = rows.set_column(place, CELL + name, text)
            ragged -= set(rows["record_id"].filter(whole).to_pylist())
        return Cells(rows, frozenset(ragged))

    def _changes(self, batch_id: str) -> Any | None:
        """All that was approved over records of the batch, as one set; None for nothing."""
        if batch_id not in self._chosen:
            with self._lake.ledger.read() as session:
                batch = session.get_one(Batch, batch_id)
                found = approved_for(session, batch, landed(self._lake, batch))
            self._chosen[batch_id] = tuple(each for each in found if each.kind == CORRECT)
        chosen = self._chosen[batch_id]
        ids = tuple(each.id for each in chosen)
        if ids and ids not in self._sets:
            self._sets[ids] = stacked([(each.kind, load_changes(self._lake, each)) for each in chosen])
        return self._sets.get(ids)
