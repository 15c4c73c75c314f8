"""Rules about what was agreed on the delivery of files: control files and totals, sequences, names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from pipeline_xml.durations import parse_duration
from pipeline_xml.model import Application, Control, CsvSource, FileSource, Pipeline
from pipeline_xml.rulebook import Report, catalog_rule, pipeline_rule


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


@pipeline_rule("LK162")
def overlapping_patterns(pipeline: Pipeline, report: Report) -> None:
    """Two sources of one pipeline never ask for one file: their patterns have no name in common."""
    sources = [s for s in pipeline.sources if isinstance(s, FileSource) and s.landing is not None]
    for position, second in enumerate(sources):
        for first in sources[:position]:
            if first.landing == second.landing and first.id != second.id and _overlap(first.pattern, second.pattern):
                text = f"a file can be for '{first.id}' as well as for '{second.id}'"
                report(text, second.place("pattern"), hint="make the names different, such as by how they begin")


LONGEST = 300  # characters of a pattern; and repeats that are counted: more would take long to compare
_COUNTS = re.compile(r"\{(\d*),?(\d*)\}")


@lru_cache(maxsize=1024)
def _overlap(one: str | None, other: str | None) -> bool:
    """Whether a name can match both. Of patterns that cannot be compared only whether they are the same.

    Remembered: it takes longer than all the rest of checking a pipeline.
    """
    if one is None or other is None or one == other:
        return True
    if len(one) > LONGEST or len(other) > LONGEST or any(_large(each) for each in (one, other)):
        return False
    from interegular import InvalidSyntax, Unsupported, parse_pattern

    try:
        return not (parse_pattern(one).to_fsm() & parse_pattern(other).to_fsm()).empty()
    except (InvalidSyntax, Unsupported):
        return False


def _large(pattern: str) -> bool:
    return any(int(number) > LONGEST for found in _COUNTS.findall(pattern) for number in found if number)


@pipeline_rule("LK163")
def sequence(pipeline: Pipeline, report: Report) -> None:
    """A sequence is read from names: the pattern (or memberPattern) has the group sequence."""
    for source in pipeline.sources:
        if not isinstance(source, FileSource) or source.delivery is None or source.delivery.sequence == "none":
            continue
        written = "".join(filter(None, (source.pattern, source.member_pattern))) if source.landing else ""
        if "(?P<sequence>" not in written:
            hint = 'pattern="orders_(?P&lt;sequence&gt;[0-9]+)\\.csv"'
            report("no pattern has the group sequence", source.delivery.place("sequence"), hint=hint)


@pipeline_rule("LK164")
def expected_files(pipeline: Pipeline, report: Report) -> None:
    """Files are expected by a calendar and due after a duration; senders are told by the pattern's group sender, and
    dates by its group business_date or the control record."""
    for source in pipeline.sources:
        written = source.delivery if isinstance(source, FileSource) else None
        if written is None or not isinstance(source, FileSource):
            continue
        if (written.calendar is None) != (written.due is None):
            lacks = "due" if written.due is None else "calendar"
            report(f"expected files without {lacks}", written.where, hint='as calendar="weekdays" due="P1DT6H"')
        for name in ("files", "senders"):
            if name in written.places and written.calendar is None:
                report(f"{name} without a calendar", written.place(name), ("daily", "weekdays", "monthEnd"))
        if written.due is not None:
            try:
                parse_duration(written.due)
            except ValueError as error:
                report(str(error).split(";")[0], written.place("due"), hint="for example PT18H, P1DT6H")
        patterns = "".join(filter(None, (source.pattern, source.member_pattern))) if source.landing else ""
        if written.senders and "(?P<sender>" not in patterns:
            hint = "leave them out, or tell them apart"
            report("no pattern has the group sender", written.place("senders"), hint=hint)
        dated = "(?P<business_date>" in patterns or (source.control and source.control.business_date_field)
        if written.calendar is not None and not dated:
            hint = "a pattern with the group business_date, or businessDateField in <control>"
            report("nothing says of a file which date it is for", written.place("calendar"), hint=hint)


@catalog_rule("LK165")
def unknown_calendar(applications: tuple[Application, ...], report: Report) -> None:
    """The calendar of a pipeline's metadata is one of the application's resources."""
    for application in applications:
        known = sorted(each.id for each in application.calendars)
        for pipeline in () if "resources" in application.unread else application.pipelines:
            named, where = pipeline.metadata.calendar, pipeline.metadata.place("calendar")
            if named is not None and named not in known:
                hint = "" if known else '<calendar id="…"><holiday date="2026-12-25"/></calendar> in resources'
                report(f"unknown calendar '{named}'", where, known, hint=hint)


@pipeline_rule("LK166")
def passphrase(pipeline: Pipeline, report: Report) -> None:
    """pgpPassphraseRef goes with pgpSecretRef: it is the passphrase of that key."""
    for source in pipeline.sources:
        if isinstance(source, FileSource) and source.pgp_passphrase_ref and source.pgp_secret_ref is None:
            report("a passphrase without a key", source.place("pgpPassphraseRef"), hint="add pgpSecretRef")
