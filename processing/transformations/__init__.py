"""The transformations: one file each, found by looking. Adding a file with a `TRANSFORMATION` adds an element."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from processing.step import Runner


@cache
def registry() -> Mapping[str, Runner]:
    """Every transformation by the name of its element; imports no engine."""
    found: dict[str, Runner] = {}
    for module in pkgutil.iter_modules(__path__):
        runner: Runner | None = getattr(importlib.import_module(f"{__name__}.{module.name}"), "TRANSFORMATION", None)
        if runner is None:
            continue  # a module that several transformations share
        if runner.kind in found:
            raise ValueError(f"{module.name}.py: there is a transformation '{runner.kind}' already")
        found[runner.kind] = runner
    return MappingProxyType(dict(sorted(found.items())))
