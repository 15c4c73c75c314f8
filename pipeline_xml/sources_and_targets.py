"""Elements of `<sources>` and `<targets>` become their model: one small reader an element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from pipeline_xml.element import Element
from pipeline_xml.model import (
    Control,
    CsvSource,
    CsvTarget,
    Delivery,
    HiveSource,
    HiveTarget,
    JsonSource,
    OtherSource,
    OtherTarget,
    ParquetSource,
    Source,
    Target,
    Total,
)
from pipeline_xml.place import items


def character(written: str | None) -> str | None:
    r"""The character that `\t` or `\x01` in writing stands for; None for an empty text."""
    if not written:
        return None
    if written == r"\t":
        return "\t"
    if len(written) == 4 and written.startswith(r"\x"):
        return chr(int(written[2:], 16))
    return written


def source(e: Element) -> Source:
    """The source of an element of `<sources>`."""
    return _SOURCES.get(e.tag, _other_source)(e)


def target(e: Element) -> Target:
    """The target of an element of `<targets>`."""
    return _TARGETS.get(e.tag, _other_target)(e)


def _csv_source(e: Element) -> CsvSource:
    a = e.attributes
    control = e.child("control")
    nulls = a.get("nullValues")
    return CsvSource(
        **_files(e),
        header=a.get("header", "true") == "true",
        delimiter=character(a.get("delimiter")) or ",",
        quote=character(a.get("quote", '"')),
        escape=character(a.get("escape")),
        encoding=a.get("encoding", "utf-8"),
        # An empty cell is null whatever else is; the list only adds to it.
        null_values=("",) if nulls is None else tuple(dict.fromkeys(("", *items(nulls)))),
        comment=character(a.get("comment")),
        skip_lines=int(a.get("skipLines", "0")),
        columns=items(a.get("columns")),
        infer_schema=a.get("inferSchema") == "true",
        control=_control(control) if control else None,
    )


def _files(e: Element) -> dict[str, Any]:
    """What every source of files may say."""
    a = e.attributes
    return {
        "id": a["id"],
        "path": a.get("path"),
        "landing": a.get("landing"),
        "pattern": a.get("pattern"),
        "compression": a.get("compression"),
        "member_pattern": a.get("memberPattern"),
        "pgp_secret_ref": a.get("pgpSecretRef"),
        "pgp_passphrase_ref": a.get("pgpPassphraseRef"),
        "max_unpacked_bytes": int(a.get("maxUnpackedBytes", str(10 * 1024**3))),
        "load_policy": a.get("loadPolicy", "eager"),
        "schema_ref": e.value("schemaRef"),
        "max_record_bytes": int(a.get("maxRecordBytes", str(16 * 1024 * 1024))),
        "snapshot": a.get("snapshot") == "true",
        "supersedes": a.get("supersedes", "none"),
        "empty_file": a.get("emptyFile", "hold"),
        "delivery": _delivery(delivery) if (delivery := e.child("delivery")) else None,
        "where": e.where,
        "places": e.all_places("columns"),
    }


def _json_source(e: Element) -> JsonSource:
    return JsonSource(**_files(e))


def _parquet_source(e: Element) -> ParquetSource:
    return ParquetSource(**_files(e))


def _delivery(e: Element) -> Delivery:
    a = e.attributes
    return Delivery(
        sequence=cast(Any, a.get("sequence", "none")),
        calendar=cast(Any, a.get("calendar")),
        due=a.get("due"),
        files=int(a.get("files", "1")),
        senders=items(a.get("senders")),
        same_records=cast(Any, a.get("sameRecords", "publish")),
        where=e.where,
        places=e.places,
    )


def _control(e: Element) -> Control:
    a = e.attributes
    return Control(
        record=cast(Any, a.get("record", "first")),
        file=a.get("file"),
        field=int(a["field"]) if "field" in a else None,
        counts=a.get("counts", "rows"),
        business_date_field=int(a["businessDateField"]) if "businessDateField" in a else None,
        schema_ref=a.get("schemaRef"),
        totals=tuple(_total(child) for child in e.children if child.tag == "total"),
        where=e.where,
        places=e.places,
    )


def _total(e: Element) -> Total:
    a = e.attributes
    return Total(
        field=int(a["field"]),
        counts=cast(Any, a.get("counts")),
        sum=a.get("sum"),
        hash=cast(Any, a.get("hash")),
        where=e.where,
        places=e.places,
    )


def _hive_source(e: Element) -> HiveSource:
    a = e.attributes
    return HiveSource(
        id=a["id"],
        table=a["table"].strip(),
        read=cast(Any, a.get("read", "full")),
        schema_ref=e.value("schemaRef"),
        load_policy=cast(Any, a.get("loadPolicy", "eager")),
        where=e.where,
        places=e.all_places(),
    )


def _other_source(e: Element) -> OtherSource:
    table = e.child("table")
    attributes = e.attributes | ({"table": table.attributes["name"]} if table else {})
    return OtherSource(
        kind=e.tag,
        id=e.attributes["id"],
        attributes=attributes,
        schema_ref=e.value("schemaRef"),
        sql=e.value("sql"),
        where=e.where,
        places=e.all_places(),
    )


def _hive_target(e: Element) -> HiveTarget:
    a = e.attributes
    return HiveTarget(
        table=a["table"].strip(),
        mode=cast(Any, a["mode"]),
        source=a.get("source"),
        partition_by=items(a.get("partitionBy")),
        format=cast(Any, a.get("format", "delta")),
        schema_ref=e.value("schemaRef"),
        keys=items(a.get("keys")),
        order_by=items(a.get("orderBy")),
        schema_evolution=cast(Any, a.get("schemaEvolution", "none")),
        where=e.where,
        places=e.all_places("keys", "orderBy", "partitionBy"),
        reserved=tuple(sorted(a.keys() & {"operationColumn", "deleteWhen"})),
    )


def _csv_target(e: Element) -> CsvTarget:
    a = e.attributes
    return CsvTarget(
        path=a["path"].strip(),
        mode=cast(Any, a.get("mode", "overwrite")),
        compression=cast(Any, a.get("compression", "none")),
        source=a.get("source"),
        header=a.get("header", "true") == "true",
        delimiter=character(a.get("delimiter")) or ",",
        where=e.where,
        places=e.places,
    )


def _other_target(e: Element) -> OtherTarget:
    table = e.child("table")
    attributes = e.attributes | ({"table": table.attributes["name"]} if table else {})
    return OtherTarget(
        kind=e.tag,
        id=e.attributes["id"],
        attributes=attributes,
        source=e.attributes.get("source"),
        schema_ref=e.value("schemaRef"),
        where=e.where,
        places=e.all_places(),
    )


_SOURCES: dict[str, Callable[[Element], Source]] = {
    "csv": _csv_source, "json": _json_source, "parquet": _parquet_source, "hive": _hive_source
}  # fmt: skip
_TARGETS: dict[str, Callable[[Element], Target]] = {"hive": _hive_target, "csv": _csv_target}
