"""Random records on three branches: each is told once, and stands in the targets that a few lines beside say."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from publishing.verify import verify
from resources.engine import Engine
from tests.engine.test_property_splits import few, on_sail
from tests.promised_feed import DATED, NUMBER, TEXT
from tests.steward_feed import StewardFeed

Record = tuple[str | None, int | None]  # shop and v
TARGETS = """<hive table="staging.low" source="low" mode="append"/>
  <hive table="staging.high" source="high" mode="append"/>
  <hive table="staging.sole" source="sole" mode="append"/>
  <hive table="staging.newest" source="high" mode="merge" keys="shop" orderBy="v"/>"""
STEPS = """<filter source="s" condition="v &lt; {low}" onReject="drop" as="low"/>
  <filter source="s" condition="v &gt; {high}" onReject="{reject}" as="high"/>
  <deduplicate source="s" keys="shop" keep="first" as="sole"/>"""
records = st.lists(
    st.tuples(st.sampled_from(["x", "y", "z", None]), st.one_of(st.none(), st.integers(0, 9))), min_size=1, max_size=14
)


def fates(given_records: Sequence[Record], low: int, high: int, reject: str) -> list[tuple[str, set[str]]]:
    """(term, targets other than the merged one) of each record."""
    seen: set[str] = set()
    found = []
    for shop, v in given_records:
        on = {"low"} if v is not None and v < low else set()
        passes = v is not None and v > high
        on |= {"high"} if passes else set()
        first = shop is None or shop not in seen
        seen |= {shop} if shop is not None else set()
        on |= {"sole"} if first else set()
        # A record on the merged branch needs its key.
        broken = (reject == "quarantine" and not passes) or (passes and shop is None)
        if broken:
            found.append(("quarantined", set()))
        elif on:
            found.append(("accepted", on))
        else:
            found.append(("deduplicated", on))
    return found


@on_sail
@few
@given(records, st.integers(0, 10), st.integers(-1, 9), st.sampled_from(["drop", "quarantine"]))
def test_each_record_is_told_once_and_stands_where_it_belongs(
    engine: Engine, drawn: list[Record], low: int, high: int, reject: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        feed = StewardFeed(Path(folder), engine)
        steps = STEPS.format(low=low, high=high, reject=reject)
        feed.define(TARGETS, steps, pattern=f"{DATED}.*", shop=TEXT, v=NUMBER)
        lines = [f"r{n},{shop or ''},{'' if v is None else v}" for n, (shop, v) in enumerate(drawn)]
        feed.land("20240105.csv", "id,shop,v", *lines)
        (batch,) = feed.run()
        wanted = fates(drawn, low, high, reject)
        told = {term: number for term, number in batch.counts.as_dict().items() if number and term != "in"}
        assert told == dict(Counter(term for term, _ in wanted))
        for name in ("low", "high", "sole"):
            there = sorted(f"r{n}" for n, (_, on) in enumerate(wanted) if name in on)
            assert sorted(feed.rows(f"staging.{name}", "id")) == there, name
        best: dict[str, tuple[int, int]] = {}
        for n, ((shop, v), (_, on)) in enumerate(zip(drawn, wanted, strict=True)):
            if "high" in on and shop is not None and v is not None:
                best[shop] = max(best.get(shop, (v, n)), (v, n))
        assert sorted(feed.rows("staging.newest", "id")) == sorted(f"r{n}" for _, n in best.values())
        with feed.open() as (lake, _):
            assert verify(lake, lake.catalog) == []
