"""The way from a token back to its value: for an auditor of the pipeline that masks, with a reason, and on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.lake import Lake
from publishing.vault import UnknownToken, reveal
from resources.secrets import SecretMissing
from stewardship import audit
from stewardship.actors import Actor, reason_of, require
from stewardship.refused import NotFound, Refused

MOST = 1_000  # tokens of one question: each stands in the audit trail


def reveal_tokens(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, reason: str, tokens: Sequence[str]
) -> Mapping[str, str]:
    """{token: value as text}; the audit trail has the question before anybody sees the answer.

    NotAllowed; NotFound where the vault lacks one; Refused for too many, and where the key is not to be had.
    """
    require(catalog, pipeline.key, actor, "reveal")
    kept = reason_of(reason)
    wanted = sorted(set(tokens))
    if not 1 <= len(wanted) <= MOST:
        raise Refused(f"{len(wanted)} tokens; from 1 to {MOST} are revealed at a time")
    with lake.ledger.write() as session:
        about = {"pipeline": pipeline.key, "reason": kept, "tokens": wanted}
        audit.append(session, lake, actor, "reveal", f"vault of {pipeline.pipeline.app}", about)
    audit.journal_entries(lake)
    try:
        return reveal(lake, pipeline.pipeline.app, wanted)
    except UnknownToken as unknown:
        raise NotFound(str(unknown)) from unknown
    except SecretMissing as missing:
        raise Refused(str(missing)) from missing
