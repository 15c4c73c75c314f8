"""Which columns a table may get and which may leave it, by what the table itself remembers of its contract.

The property `datalake.contract` of a Delta table holds the version it was last published with, the columns that have
left the contract since (they stay in the table, null in new rows), and the keys it is merged by. Properties survive
checkpoints and the cleanup of the log.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline_xml.system_columns import SYSTEM_COLUMNS
from pipeline_xml.versioned import Versioned, is_greater

PROPERTY = "datalake.contract"


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a table remembers of the contract it was last published with."""

    version: str
    gone: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def property(self) -> dict[str, str]:
        return {PROPERTY: json.dumps({"version": self.version, "gone": self.gone, "keys": self.keys})}


def remembered(properties: Mapping[str, str | None]) -> Remembered | None:
    """None of a table that was last published before there was a property."""
    text = properties.get(PROPERTY)
    if not text:
        return None
    said = json.loads(text)
    return Remembered(said["version"], tuple(said["gone"]), tuple(said["keys"]))


def to_remember(before: Remembered | None, now: Versioned, have: Collection[str], want: Collection[str]) -> Remembered:
    """What the table remembers once rows of the wanted columns are published in it. The version never becomes less."""
    lower = before is not None and is_greater(now.version, before.version) is False
    version = before.version if before is not None and lower else now.version
    return Remembered(version, tuple(sorted(set(have) - set(want))), now.keys)


def why_not_gone(
    dropped: Collection[str], before: Remembered | None, now: Versioned | None, fixed: Collection[str]
) -> str | None:
    """Why columns of the table may not be missing in rows that come; None where they may.

    Without `now` none may: a table that is made again would lose what stands in them. `fixed` are columns that no
    version lets go: partitions, and what must not be null.
    """
    fresh = [name for name in dropped if now is None or before is None or name not in before.gone]
    if not fresh:
        return None
    said = f"{', '.join(fresh)} of the table are gone"
    if now is None:
        return f"{said}: made again without them, the table would lose what stands there"
    keys = before.keys if before else ()
    if stuck := [name for name in fresh if name in fixed or name in keys or name in SYSTEM_COLUMNS]:
        return f"{said}, and {', '.join(stuck)} cannot leave it (key, partition or not null): write another table"
    if before is None:
        return f"{said}, and it does not say which version it was published with: publish a batch with them first"
    greater = is_greater(now.version, before.version)
    if greater is None:
        return f"{said}, and {now.version} cannot be told from {before.version}: write the {now.named} as 2 or 2.1"
    if not greater:
        return f"{said}: raise the {now.named}, {now.version} now, above {before.version} if they are to go"
    return None
