"""Bound values of expressions: what a run gave, what the batch was computed with before, else the default.

A value once given stays with its batch until another is given, so a retry and a replay compute what the attempt before
them computed. They are pinned among the attempt's references: `:name` what was given, `default:name` a default.

    ParameterMissing       a parameter without default that no run has given (permanent)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.parameters import RUN_DATE, parameter_value
from publishing.ledger import Attempt, Batch

GIVEN, DEFAULT = ":", "default:"


class ParameterMissing(Exception):
    """Says which parameter, and how to give it."""


def pinned_before(session: Session, batch: Batch) -> dict[str, str]:
    """What the batch's last attempt was given; of a new replay, the batch that its records come from."""
    for identity in (batch.id, (batch.window or {}).get("source")):
        newest = select(Attempt).where(Attempt.batch_id == identity).order_by(Attempt.number.desc()).limit(1)
        found = session.scalars(newest).first() if identity else None
        if found is not None:
            return {name: text for name, text in found.references.items() if name.startswith(GIVEN)}
    return {}


def pins(
    pipeline: CheckedPipeline, batch: Batch, given: Mapping[str, str], before: Mapping[str, str], open_already: bool
) -> dict[str, str]:
    """The references to pin for an attempt; a retry of an attempt that is `open_already` keeps its run date."""
    found = {}
    for value in pipeline.bound:
        old, new = before.get(GIVEN + value.name), given.get(value.name)
        if value.name == RUN_DATE:
            new = old if open_already and old else new or old or batch.business_date.isoformat()
        text = new if new is not None else old
        if text is not None:
            found[GIVEN + value.name] = text
        elif value.default is not None:
            found[DEFAULT + value.name] = value.default
        else:
            raise ParameterMissing(
                f"{pipeline.key} reads :{value.name}, which has no default; give --param {value.name}=…"
            )
    return found


def bound_values(pipeline: CheckedPipeline, references: Mapping[str, str], business_date: date) -> dict[str, object]:
    """The typed values of an attempt by name; ParameterMissing where the definition of today asks for one it lacks."""
    found: dict[str, object] = {}
    for value in pipeline.bound:
        text = references.get(GIVEN + value.name, value.default)
        if text is None and value.name == RUN_DATE:
            text = business_date.isoformat()
        if text is None:
            raise ParameterMissing(f"{pipeline.key} reads :{value.name}, which has no default and was never given")
        try:
            found[value.name] = parameter_value(text, value.type)
        except ValueError as error:
            raise ParameterMissing(f"{pipeline.key}: the value of :{value.name} is {error}") from None
    return found
