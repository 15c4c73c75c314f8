"""Dagster's resources over plain connections: opened when a run needs them, closed when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import dagster as dg

from resources.settings import Settings

T = TypeVar("T")


def opened_for_a_run(open_it: Callable[[], AbstractContextManager[T]], description: str) -> dg.ResourceDefinition:
    """A resource around a context manager; with the in-process executor it is opened once a run."""

    def resource(_context: dg.InitResourceContext) -> Iterator[T]:
        with open_it() as opened:
            yield opened

    return dg.ResourceDefinition(resource_fn=resource, description=description)


def lake_description(settings: Settings) -> str:
    """What the UI says of the lake: engine, environment and places; nothing secret is among them."""
    return (
        f"The lake at {settings.data}, definitions of {settings.config}, engine {settings.engine}, "
        f"environment {settings.environment}."
    )
