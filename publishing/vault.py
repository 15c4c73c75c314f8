"""The vault of an application: for each token of `<mask strategy="tokenize">` its value, encrypted under its key.

`<data>/applications/<app>/vault/tokens`. A batch brings in the tokens that are not there yet, before its first target,
so that no token stands in a table whose value could not be had back. Nothing is taken out with a batch: the same value
has the same token in another one.

    UnknownToken           not in the vault
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from processing.keys import decrypt_text
from publishing.commit import committed, until_committed
from publishing.lake import Lake
from publishing.targets import Publication
from resources.durable import fsync
from resources.lake_table import Snapshot, describe_parquet


class UnknownToken(Exception):
    """A token that the vault does not hold; says how many."""


def commit_vault(lake: Lake, pipeline: CheckedPipeline, given: Publication) -> None:
    """Brings the tokens of an attempt into the vault, once."""
    if not given.manifest.vault:
        return
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    staged = [pq.ParquetFile(given.staged / item.path).read() for item in given.manifest.vault]
    tokens = pa.concat_tables([t.select(["token", "value"]).cast(_schema()) for t in staged])
    tokens = tokens.group_by("token").aggregate([("value", "min")]).rename_columns(["token", "value"])
    table = lake.table((pipeline.pipeline.app, "vault", "tokens"))
    table.open_or_create(_schema(), (), "Tokens of masked values, and the values encrypted")
    name, version = given.transaction

    def commit(snapshot: Snapshot) -> int | None:
        if committed(snapshot, name, version):
            return None
        known = snapshot.dataset().to_table(columns=["token"])["token"].combine_chunks()
        fresh = tokens.filter(pc.invert(pc.is_in(tokens["token"], value_set=known)))
        if not fresh.num_rows:
            return None
        path = f"part-{given.batch.id}-{given.manifest.attempt:04d}.parquet"
        pq.write_table(fresh.sort_by("token"), table.root / path, compression="zstd")
        fsync(table.root / path)
        return snapshot.commit(
            [describe_parquet(table.root, path, ())], [], {name: version}, given.metadata(pipeline)
        )

    until_committed(table, commit)


def reveal(lake: Lake, app: str, tokens: Sequence[str]) -> Mapping[str, str]:
    """The values behind tokens, as texts. UnknownToken; SecretMissing and SealBroken where the key is not to be had."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    table = lake.table((app, "vault", "tokens"))
    wanted = pa.array(sorted(set(tokens)), pa.string())
    found: list[dict[str, Any]] = []
    if table.exists:
        found = table.snapshot().dataset().to_table(filter=ds.field("token").isin(wanted)).to_pylist()
    if len(found) < len(wanted):
        raise UnknownToken(f"{len(wanted) - len(found)} of {len(wanted)} tokens are not in the vault of '{app}'")
    application = lake.catalog.application(app)
    declared = {key.id: key.secret_ref for key in application.keys} if application else {}
    secrets = {key: lake.secrets.key(declared.get(key, key)) for key in {r["value"].partition(":")[0] for r in found}}
    return {row["token"]: decrypt_text(row["value"], secrets[row["value"].partition(":")[0]]) for row in found}


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([("token", pa.string()), ("value", pa.string())])
