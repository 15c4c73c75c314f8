"""`<mask source columns strategy secretRef algorithm keepLast/>`: personal values replaced by what others may see.

    hash      HMAC-SHA-256 of the value's text, as 64 hex digits: equal values stay equal, nobody reads them back
    encrypt   AES-256-SIV, `<key id>:<base64url>`: equal values stay equal, whoever has the key reads them back
              with algorithm="aes-gcm" AES-256-GCM, `<key id>:gcm.<base64url>`: equal values of two records are not
              equal, so it is no key of anything; the value of a record stays the same whenever it is computed
    tokenize  'tok_' and 32 hex digits: equal values stay equal, and the application's vault table has for each token
              the value, encrypted under the key; it gets them in the batch's publication, before any target
    redact    '***'; with keepLast="4" followed by the last 4 characters, where the value is longer than that

A null stays null, and what a record had that is set aside already becomes null where a key is needed: nobody reads it.
The result is a string and no longer classified. All but redact need a key: `secretRef`, else the application's
`maskKey`. The text of a value is UTF-8: ISO 8601 for dates and times (UTC), plain digits for numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any

from pipeline_xml.checked import Dataset, StepContext, StepPlan
from pipeline_xml.model import Step
from pipeline_xml.types import STRING
from processing import frame as names
from processing.keys import SHORTEST, encrypt_each, encrypt_text, hmac_sha256, padded_half, token_text
from processing.rejects import alive
from processing.step import KeyResolver, Runtime
from processing.transformations.attributes import INCOMPLETE, NO_SECRET, WRONG_TYPE, WRONG_VALUE, Attributes

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

ALGORITHMS = ("aes-siv", "aes-gcm")
STRATEGIES = ("hash", "encrypt", "redact", "tokenize")
REDACTED = "***"
_KEPT_KINDS = ("string", "int", "bigint")  # whose text is the same on every engine without asking Python
_INNER, _OUTER = "_mask_inner", "_mask_outer"


@dataclass(frozen=True)
class Config:
    """`secret_ref` and `key_id` are None for redact. The key id is the maskKey's id, else the reference.

    `texts` are those of the columns that are texts already: what the engine can hash by itself. `by_record`: each
    value is encrypted for its record, not only under the key.
    """

    columns: tuple[str, ...]
    strategy: str
    secret_ref: str | None = None
    key_id: str | None = None
    keep_last: int = 0
    texts: tuple[str, ...] = ()
    by_record: bool = False


class Mask:
    kind = "mask"
    attributes: Mapping[str, bool] = {
        "source": True, "columns": True, "strategy": True, "secretRef": False, "algorithm": False,
        "keepLast": False, "as": False,
    }  # fmt: skip
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        strategy = read.choice("strategy", STRATEGIES, "")
        source = read.dataset()
        if source is None:
            return None
        columns = read.columns("columns", source)
        if not columns and not read.failed:
            read.report(INCOMPLETE, "<mask columns> names no column", read.place("columns"), source.names)
        texts = tuple(c.name for c in columns if c.type == STRING)
        by_record = self._by_record(read, source)
        config = Config(tuple(c.name for c in columns), strategy, texts=texts, by_record=by_record)
        if strategy == "redact":
            config = replace(config, keep_last=self._keep_last(read))
            odd = [c for c in columns if config.keep_last and c.type.kind not in _KEPT_KINDS]
            for column in odd:
                message = f"<mask keepLast> keeps the end of a text; {column.name} is {column.type}"
                read.report(WRONG_TYPE, message, read.place("columns", column.name), _KEPT_KINDS, "leave keepLast out")
        else:
            if "keepLast" in step.attributes:
                message = f'<mask keepLast> belongs to strategy="redact", not "{strategy}"'
                read.report(WRONG_VALUE, message, read.place("keepLast"), (), "leave it out")
            secret_ref, key_id = self._key(read, context)
            config = replace(config, secret_ref=secret_ref, key_id=key_id)
        masked = set(config.columns)
        after = (
            replace(c, type=STRING, classification=None, by_record=config.by_record or c.by_record)
            if c.name in masked
            else c
            for c in source.columns
        )
        plan = read.plan(source, after, config, anew=masked)
        if plan is None or config.secret_ref is None:
            return plan
        return replace(plan, secrets=(config.secret_ref,), fills_vault=strategy == "tokenize")

    def _by_record(self, read: Attributes, source: Dataset) -> bool:
        if "algorithm" not in read.step.attributes:
            return False
        each = read.choice("algorithm", ALGORITHMS, "") == "aes-gcm"
        if read.text("strategy") != "encrypt":
            message = f'<mask algorithm> belongs to strategy="encrypt", not "{read.text("strategy")}"'
            read.report(WRONG_VALUE, message, read.place("algorithm"), (), "leave it out")
        elif each and not source.per_record:
            message = f"<mask algorithm=\"aes-gcm\"> encrypts for a record, and rows of '{source.name}' are no records"
            read.report(WRONG_VALUE, message, read.place("algorithm"), ("aes-siv",))
        return each

    def _keep_last(self, read: Attributes) -> int:
        written = read.text("keepLast") or "0"
        if written.isascii() and written.isdigit() and int(written) <= 1000:
            return int(written)
        read.report(WRONG_VALUE, "<mask keepLast> must be a whole number from 0 to 1000", read.place("keepLast"))
        return 0

    def _key(self, read: Attributes, context: StepContext) -> tuple[str, str]:
        """(reference of the secret, key id) from `secretRef`, a maskKey or a secret; else the only maskKey."""
        declared = {key.id: key.secret_ref for key in context.keys}
        wanted = read.text("secretRef")
        if wanted:
            by_ref = {ref: key_id for key_id, ref in declared.items()}
            return declared.get(wanted, wanted), wanted if wanted in declared else by_ref.get(wanted, wanted)
        if "default" in declared or len(declared) == 1:
            key_id = "default" if "default" in declared else next(iter(declared))
            return declared[key_id], key_id
        lack = "there are several mask keys and none is 'default'" if declared else "this application has no maskKey"
        hint = 'say which with secretRef="…", or declare <maskKey id="default" secretRef="…"/> in resources'
        read.report(NO_SECRET, f"<mask> needs a key, and {lack}", read.place("strategy"), tuple(declared), hint)
        return "", ""

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F
        from pyspark.sql.pandas.functions import arrow_udf

        config: Config = plan.config
        if config.secret_ref is None or config.key_id is None:
            return frames[plan.inputs[0]].withColumns({c: _redacted(c, config.keep_last) for c in config.columns})
        rows = frames[plan.inputs[0]]
        if config.by_record:
            return _encrypted_each(rows, config, runtime.keys)
        texts = config.texts if config.strategy == "hash" else ()
        worker: Any = masker(config.strategy, config.secret_ref, config.key_id, runtime.keys)
        masked = arrow_udf(worker, "string")  # type: ignore[call-overload]  # its stub lacks a default it has
        for column in config.columns:
            rows = rows if column in texts else rows.withColumn(column, masked(F.when(alive(), F.col(column))))
        return _hashed(rows, texts, config.secret_ref, runtime.keys) if texts else rows

    def vault_rows(self, plan: StepPlan, rows: DataFrame, runtime: Runtime) -> DataFrame:
        """What the vault has to know of the step's input: each token once, with its value encrypted."""
        from pyspark.sql import functions as F
        from pyspark.sql.pandas.functions import arrow_udf

        config: Config = plan.config
        token, sealed = (
            arrow_udf(masker(each, *_named(config), runtime.keys), "string")  # type: ignore[call-overload]
            for each in ("tokenize", "encrypt")
        )
        living = rows.where(alive())
        parts = [
            living.where(F.col(c).isNotNull()).select(token(F.col(c)).alias("token"), sealed(F.col(c)).alias("value"))
            for c in config.columns
        ]
        return reduce(lambda a, b: a.unionByName(b), parts).distinct()


def _named(config: Config) -> tuple[str, str]:
    return config.secret_ref or "", config.key_id or ""


def _encrypted_each(rows: DataFrame, config: Config, keys: KeyResolver) -> DataFrame:
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.functions import arrow_udf

    for column in config.columns:
        worker: Any = each_masker(*_named(config), column, keys)
        masked = arrow_udf(worker, "string")  # type: ignore[call-overload]  # its stub lacks a default it has
        rows = rows.withColumn(column, masked(F.when(alive(), F.col(column)), F.col(names.RECORD_ID)))
    return rows


def _hashed(rows: DataFrame, columns: Sequence[str], secret_ref: str, keys: KeyResolver) -> DataFrame:
    """HMAC-SHA-256 of text columns by the engine's own sha2, many times faster than a hash a value in Python.

    The two padded halves of the key come out of a function that looks the key up where it runs: they are data of a
    temporary column, and never stand in a plan.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.functions import arrow_udf

    halves = {}
    for name, byte in ((_INNER, 0x36), (_OUTER, 0x5C)):
        worker: Any = key_half(secret_ref, byte, keys)
        udf = arrow_udf(worker, "binary")  # type: ignore[call-overload]  # its stub lacks a default it has
        halves[name] = udf(F.col(names.SOURCE_RECORD))
    order = rows.columns

    def digest(column: str) -> Column:
        inner = F.sha2(F.concat(F.col(_INNER), F.col(column).cast("binary")), 256)
        return F.sha2(F.concat(F.col(_OUTER), F.unhex(inner)), 256)

    return rows.withColumns(halves).withColumns({c: F.when(alive(), digest(c)) for c in columns}).select(*order)


def key_half(secret_ref: str, byte: int, keys: KeyResolver) -> Callable[[pa.Array], pa.Array]:
    """The function that gives one padded half of an HMAC key for every row; it carries the key's name only."""
    import pyarrow as pa

    def half(rows: pa.Array) -> pa.Array:
        return pa.repeat(pa.scalar(padded_half(_secret(secret_ref, keys), byte), pa.binary()), len(rows))

    half.__annotations__.update({"rows": pa.Array, "return": pa.Array})
    return half


def _secret(secret_ref: str, keys: KeyResolver) -> bytes:
    secret = keys.key(secret_ref)
    if len(secret) < SHORTEST:
        raise ValueError(f"secret '{secret_ref}' has {len(secret)} bytes; a mask key needs {SHORTEST}")
    return secret


def masker(strategy: str, secret_ref: str, key_id: str, keys: KeyResolver) -> Callable[[pa.Array], pa.Array]:
    """The function that runs in a worker. It carries the name of the key and where to ask, never the key."""
    import pyarrow as pa

    def mask(values: pa.Array) -> pa.Array:
        # each distinct value of a batch is worked once: names and codes repeat
        distinct = values.dictionary_encode()
        secret = _secret(secret_ref, keys)
        work = _work(strategy, secret, key_id)
        texts = [None if v is None else work(text_of(v).encode()) for v in distinct.dictionary.to_pylist()]
        return pa.array(texts, pa.string()).take(distinct.indices)

    # arrow_udf reads the hints as types, and this module must be importable without pyarrow
    mask.__annotations__.update({"values": pa.Array, "return": pa.Array})
    return mask


def each_masker(
    secret_ref: str, key_id: str, column: str, keys: KeyResolver
) -> Callable[[pa.Array, pa.Array], pa.Array]:
    """`masker` for values of one column, each encrypted for its record."""
    import pyarrow as pa

    def mask(values: pa.Array, records: pa.Array) -> pa.Array:
        encrypt = encrypt_each(_secret(secret_ref, keys), key_id)
        both = zip(values.to_pylist(), records.to_pylist(), strict=True)
        texts = [None if v is None else encrypt(text_of(v).encode(), f"{column}:{r}".encode()) for v, r in both]
        return pa.array(texts, pa.string())

    mask.__annotations__.update({"values": pa.Array, "records": pa.Array, "return": pa.Array})
    return mask


def _work(strategy: str, secret: bytes, key_id: str) -> Callable[[bytes], str]:
    if strategy == "hash":
        return hmac_sha256(secret)
    return token_text(secret) if strategy == "tokenize" else encrypt_text(secret, key_id)


def text_of(value: object) -> str:
    """A value as text, the same whatever the engine."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


def _redacted(name: str, keep_last: int) -> Column:
    from pyspark.sql import functions as F

    text = F.col(name).cast("string")
    whole = F.when(text.isNotNull(), F.lit(REDACTED))
    if not keep_last:
        return whole
    return F.when(
        F.length(text) > keep_last, F.concat(F.lit(REDACTED), F.substring(text, -keep_last, keep_last))
    ).otherwise(whole)


TRANSFORMATION = Mask()
