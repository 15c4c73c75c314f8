"""Work done by the chunk, some chunks ahead of their use: Arrow computes and writes without the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

THREADS = 2


def made_ahead(make: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
    """`make` of each item, in order; at most THREADS + 1 of them at a time. An error comes out in its place."""
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
