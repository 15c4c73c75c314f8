"""One item is made while the one before it is used: Arrow writes without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The same items; an error comes out where its item would have."""
    over = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, over)
        while (item := coming.result()) is not over:
            coming = pool.submit(next, items, over)
            yield item
