"""The keys of masks, pinned by a print of each: under another key the same value would have another mask.

A merge by a masked key would then hold one record twice, and what is replayed would match nothing that stands. A print
is derived from the key and says nothing of it. An attempt pins it among its references as `key:<secret>`.

    MaskKeyChanged         a secret is not the one that the pipeline published with (permanent)
"""

from __future__ import annotations

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from processing.keys import SHORTEST, derived
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch
from resources.secrets import SecretMissing

_KEY = "key:"
_PURPOSE = "print of a mask key"


class MaskKeyChanged(SecretMissing):
    """The secret that is meant is missing: another one has its name."""


def key_pins(lake: Lake, pipeline: CheckedPipeline) -> dict[str, str]:
    """{key:<secret>: its print} of what the steps mask with; SecretMissing now, and not inside an engine's worker."""
    found = {}
    for name in dict.fromkeys(name for step in pipeline.steps for name in step.secrets):
        key = lake.secrets.key(name)
        if len(key) < SHORTEST:
            raise SecretMissing(f"secret '{name}' has {len(key)} bytes; a key needs at least {SHORTEST}")
        found[_KEY + name] = derived(key, _PURPOSE, 8).hex()
    return found


def require_same_keys(lake: Lake, pipeline: CheckedPipeline, pins: dict[str, str]) -> None:
    """MaskKeyChanged where the newest batch that was published had another key under one of these names."""
    if not pins:
        return
    published = Attempt.outcome["status"].as_string() == "published"
    newest = select(Attempt.references).join(Batch, Batch.id == Attempt.batch_id)
    newest = newest.where(Batch.pipeline == pipeline.key, published)
    with lake.ledger.read() as session:
        before = session.scalars(newest.order_by(Batch.arrival.desc(), Attempt.number.desc()).limit(1)).first() or {}
    changed = [name.removeprefix(_KEY) for name, print_ in pins.items() if before.get(name, print_) != print_]
    if changed:
        raise MaskKeyChanged(
            f"{pipeline.key}: {', '.join(changed)} is another key than the one its rows are masked with; put that "
            "back. A new key gets a name of its own in secretRef, then `lake run --reprocess` masks every batch with it"
        )
