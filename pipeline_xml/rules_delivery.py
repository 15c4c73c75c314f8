"""Rules about what was agreed on the delivery of files: control files and totals."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_xml.model import Control, CsvSource, Pipeline
from pipeline_xml.rulebook import Report, pipeline_rule


def _csv(pipeline: Pipeline) -> Iterable[CsvSource]:
    return (s for s in pipeline.sources if isinstance(s, CsvSource))


@pipeline_rule("LK161")
def control(pipeline: Pipeline, report: Report) -> None:
    """A control record stands in the file (record) or in a control file of its own (file, the ending of its name); each
    of its totals is one of counts, sum and hash; a hash is of the whole file, so no file can hold its own."""
    for source in _csv(pipeline):
        if source.control is not None:
            _one_control(source, source.control, report)


def _one_control(source: CsvSource, written: Control, report: Report) -> None:
    if written.file is None and "record" not in written.places:
        report("neither record nor file says where the control record stands", written.where, ("record", "file"))
    if written.file is not None and (not written.file.startswith(".") or "/" in written.file):
        report(f"'{written.file}' is no ending of a name", written.place("file"), hint='as file=".ctl"')
    if written.file is not None and source.landing is None:
        report("a control file without landing", written.place("file"), hint="name a landing zone")
    for total in written.totals:
        given = [name for name in ("counts", "sum", "hash") if name in total.places]
        if len(given) != 1:
            what = " and ".join(given) or "nothing"
            report(f"a total of {what}", total.where, ("counts", "sum", "hash"), hint="one of them")
        if total.hash is not None and written.file is None:
            report("a file cannot hold its own hash", total.place("hash"), hint='in a control file: file=".ctl"')
