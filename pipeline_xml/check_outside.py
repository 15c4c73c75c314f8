"""Sources and targets outside the lake that are checked and do not run yet: databases, Kafka topics, APIs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from pipeline_xml.checked import CheckedSource
from pipeline_xml.contract import Contract
from pipeline_xml.model import OtherSource, OtherTarget
from pipeline_xml.rulebook import NO_CONTRACT, UNKNOWN_COLUMN, code

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import PipelineCheck

ONE_QUERY = code("LK151", "A database source reads either <sql> or a <table>; a database target writes a <table>.")
IN_CLEAR = code("LK152", "An address holds a user or a password: secrets, which userSecretRef names and nobody writes.")
BAD_QUERY = code("LK153", "The <sql> of a database source is one query, and every value it is bound to is known.")
NOT_SELECTED = code("LK154", "The <sql> of a database source does not select a column of its contract.")
ADDRESS = code("LK155", "A source or target outside the lake says where it is: jdbcUrl, topic or url.")
ALONE = code("LK156", "An attribute says nothing without another one.")

INSTEAD = {
    "database": "have an extract sent as csv, json or parquet files, and read those",
    "kafka": "have the messages sent as files of JSON lines, and read those by <json>",
    "api": "have its answers sent as JSON files, and read those by <json>",
}
INSTEAD_OF_TARGET = "write a lake table or an export, and have that loaded"
MOST = 64 * 1024
_DIALECTS = {
    "mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "sqlserver": "tsql", "oracle": "oracle",
    "sqlite": "sqlite", "snowflake": "snowflake", "redshift": "redshift",
}  # fmt: skip
_HELD, _NAMED = "holds a user or password", "take it out and name the secret: userSecretRef"
_SECRET = re.compile(r"(?i)(?:^|[?&;/])(password|pwd|user|username|token|secret)=")
_JDBC = re.compile(r"jdbc:([a-z0-9]+):\S+\Z")


def check_source(check: PipelineCheck, source: OtherSource) -> Contract | None:
    """The contract of the source, where it names one; its problems are reported."""
    check.cannot_run(f"<{source.kind}> sources", source.where, INSTEAD.get(source.kind, ""))
    contract = None
    if source.schema_ref is not None:
        where = source.place("schemaRef")
        contract = check.around.schemas.contract(check.pipeline.app, check.pipeline.layer, source.schema_ref, where)
    else:
        hint = "add <schemaRef>schemas/….json</schemaRef>"
        NO_CONTRACT.report(check.problems, f"source '{source.id}' has no contract", source.where, hint=hint)
    if contract is not None:
        check.sources[source.id] = CheckedSource(source, contract)
    if source.kind == "database":
        _jdbc(check, source)
        _database(check, source, contract)
    else:
        _address(check, source, "topic" if source.kind == "kafka" else "url")
    return contract


def check_target(check: PipelineCheck, target: OtherTarget) -> Contract | None:
    """The contract of the target, where it names one; its problems are reported."""
    check.cannot_run(f"<{target.kind}> targets", target.where, INSTEAD_OF_TARGET)
    _jdbc(check, target)
    if "table" not in target.attributes:
        ONE_QUERY.report(check.problems, f"target '{target.id}' names no table", target.where, hint='<table name="…"/>')
    contract = None
    if target.schema_ref is not None:
        where = target.place("schemaRef")
        contract = check.around.schemas.contract(check.pipeline.app, check.pipeline.layer, target.schema_ref, where)
    merges, keys = target.attributes.get("mode") == "merge", target.attributes.get("keys")
    if keys and not merges:
        ALONE.report(check.problems, "keys without mode merge", target.place("keys"), hint="leave it out")
    if merges and not keys and target.schema_ref is None:
        hint = 'say keys="…", or name a contract with x-primaryKey'
        ALONE.report(check.problems, f"mode merge of '{target.id}' without keys", target.place("mode"), hint=hint)
    if merges and not keys and contract is not None and not contract.primary_key:
        hint = 'say keys="…", or give the contract an x-primaryKey'
        ALONE.report(check.problems, f"mode merge of '{target.id}' without keys", target.place("mode"), hint=hint)
    return contract


def _jdbc(check: PipelineCheck, node: OtherSource | OtherTarget) -> None:
    url = node.attributes.get("jdbcUrl", "")
    if not _JDBC.match(url):
        hint = "as jdbc:postgresql://host:5432/name"
        ADDRESS.report(check.problems, f"'{node.id}' has no jdbcUrl that can be read", node.place("jdbcUrl"), hint=hint)
    elif _SECRET.search(url) or "@" in urlsplit(url.removeprefix("jdbc:")).netloc:
        IN_CLEAR.report(check.problems, f"jdbcUrl of '{node.id}' {_HELD}", node.place("jdbcUrl"), hint=_NAMED)


def _address(check: PipelineCheck, source: OtherSource, attribute: str) -> None:
    value = source.attributes.get(attribute, "").strip()
    where = source.place(attribute)
    if not value:
        message = f"<{source.kind}> '{source.id}' has no {attribute}"
        ADDRESS.report(check.problems, message, where, hint=f'{attribute}="…"')
    elif attribute == "url":
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            ADDRESS.report(check.problems, f"url of '{source.id}' is no web address", where, ("http://…", "https://…"))
        elif parts.username or _SECRET.search(f"?{parts.query}"):
            IN_CLEAR.report(check.problems, f"url of '{source.id}' {_HELD}", where, hint=_NAMED)


def _database(check: PipelineCheck, source: OtherSource, contract: Contract | None) -> None:
    table = source.attributes.get("table")
    if (source.sql is None) == (table is None):
        said = "both <sql> and <table>" if table else "neither <sql> nor <table>"
        ONE_QUERY.report(check.problems, f"source '{source.id}' has {said}", source.where, ("<sql>", "<table>"))
    if source.sql is not None:
        _query(check, source, source.sql, contract)
    if "lookback" in source.attributes and "incrementalColumn" not in source.attributes:
        message = "lookback without incrementalColumn"
        ALONE.report(check.problems, message, source.place("lookback"), hint="name the column that tells what is new")
    names = tuple(f.name for f in contract.fields) if contract is not None else ()
    for attribute in ("incrementalColumn", "partitionColumn"):
        column = source.attributes.get(attribute)
        if column is not None and contract is not None and column not in names:
            message = f"unknown column '{column}' in <database {attribute}>"
            UNKNOWN_COLUMN.report(check.problems, message, source.place(attribute), names)


def _query(check: PipelineCheck, source: OtherSource, sql: str, contract: Contract | None) -> None:
    """What can be said of a query in the words of another system: that it is one, and what it asks for and gives."""
    where = source.place("sql")
    if len(sql) > MOST:
        BAD_QUERY.report(check.problems, f"<sql> of '{source.id}' is longer than {MOST} characters", where)
        return
    database = _JDBC.match(source.attributes.get("jdbcUrl", ""))
    try:
        found = sqlglot.parse(sql, dialect=_DIALECTS.get(database[1]) if database else None)
    except (SqlglotError, RecursionError):
        message = f"<sql> of '{source.id}' cannot be read, so its columns and bound values are not checked"
        BAD_QUERY.report(check.problems, message, where, severity="warning")
        return
    queries = [each for each in found if each is not None]
    if len(queries) != 1 or not isinstance(queries[0], exp.Query):
        message = f"<sql> of '{source.id}' is not one query"
        BAD_QUERY.report(check.problems, message, where, ("SELECT …", "WITH … SELECT …"))
        return
    query = queries[0]
    known = {"businessDate", "runDate", *check.bindings()}
    for name in sorted({str(p.this) for p in query.find_all(exp.Placeholder) if p.this} - known):
        valid = sorted(f":{k}" for k in known)
        BAD_QUERY.report(check.problems, f"nothing is bound to ':{name}' in <sql>", where, valid)
    selected = query.named_selects
    if contract is None or not selected or "*" in selected:
        return
    have = {name.lower() for name in selected}
    missing = [f.name for f in contract.fields if f.name.lower() not in have]
    if missing:
        message = f"<sql> of '{source.id}' does not select {', '.join(missing)}"
        NOT_SELECTED.report(check.problems, message, where, selected)
