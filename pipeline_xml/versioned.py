"""Which version says that the columns of a table may go: the x-version of a contract, or the version of a pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline_xml.checked import CheckedPipeline, CheckedTarget

_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Versioned:
    """`named` says whose version it is, for messages; `keys` are those that the table is merged by."""

    named: str
    version: str
    keys: tuple[str, ...] = ()


def versioned(pipeline: CheckedPipeline, target: CheckedTarget) -> Versioned:
    """The contract of the target's schemaRef, else of the driving source; read from a table, it is the pipeline."""
    keys = target.keys if target.target.mode == "merge" else ()
    driving = next((s for s in pipeline.sources if s.source.id == target.dataset.driving), pipeline.driving)
    contract = target.contract or (None if driving.upstream else driving.contract)
    if contract is None:
        return Versioned(f"version of the pipeline {pipeline.key}", pipeline.pipeline.version, keys)
    return Versioned(f"x-version of {contract.where.file}", contract.version, keys)


def is_greater(version: str, than: str) -> bool | None:
    """Whether a version comes after another, number by number: 1.10 after 1.9, 1.0 is 1. None of what is no numbers."""
    if not (_NUMBERS.fullmatch(version) and _NUMBERS.fullmatch(than)):
        return None
    return _parts(version) > _parts(than)


def _parts(version: str) -> list[int]:
    parts = [int(part) for part in version.split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return parts
