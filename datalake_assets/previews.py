"""Dagster warns at each use of a feature it calls beta or preview; those used here were tried and are pinned."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


@contextmanager
def previews_accepted() -> Iterator[None]:
    """Silences those two categories and no other, inside the block or the decorated function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield


def quiet_inside_dagster() -> None:
    """Dagster also warns of its own use of a beta parameter while it resolves sensors, long after our calls ended."""
    warnings.filterwarnings("ignore", category=dg.BetaWarning, module=r"dagster\._core\.")
