"""Every bad input ends as a held file or a quarantined record with its file and record number; never a lost row."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.lake import Lake, open_lake
from publishing.outcome import Counts, PipelineOutcome
from publishing.run import run_pipeline
from resources.engine import Engine
from resources.settings import Settings

PIPELINE = """<?xml version="1.0" encoding="UTF-8"?>
<pipeline id="feed" version="1.0" layer="staging">
  <metadata><appName>app</appName></metadata>
  <sources>
    <csv id="feed" path="landing/*.csv" header="true" schemaRef="schemas/feed.json"{attributes}/>
  </sources>
  <targets><hive table="staging.feed" mode="append"/></targets>
  <errorPolicy onRecordError="quarantine"/>
</pipeline>
"""
CONTRACT = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string", "maxLength": 40},
        "amount": {"type": "number", "x-type": "decimal(10,2)"},
    },
}


@dataclass(frozen=True)
class Feed:
    """A config root and a lake root with one pipeline of three columns."""

    root: Path
    engine: Engine
    attributes: str = ""

    def land(self, name: str, content: bytes) -> Path:
        path = self.root / "data" / "landing" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def run(self, reprocess: bool = False) -> tuple[PipelineOutcome, int]:
        """The outcome and the number of rows in the target afterwards."""
        layer = self.root / "config" / "applications" / "app" / "staging"
        for folder, name, text in (
            ("pipelines", "feed.xml", PIPELINE.format(attributes=self.attributes)),
            ("schemas", "feed.json", json.dumps(CONTRACT)),
        ):
            (layer / folder).mkdir(parents=True, exist_ok=True)
            (layer / folder / name).write_text(text)
        (self.root / "data").mkdir(exist_ok=True)
        settings = Settings(self.root / "config", self.root / "data", self.engine.name)
        catalog = load_catalog(settings.config, registry())
        pipeline = catalog.pipeline("app", "feed")
        assert pipeline is not None
        with open_lake(settings, catalog, self.engine) as lake:
            outcome = run_pipeline(lake, pipeline, run_id="test", reprocess=reprocess)
            return outcome, rows_in(lake)


def rows_in(lake: Lake) -> int:
    table = lake.table(("app", "staging", "feed"))
    return table.snapshot().dataset().count_rows() if table.exists else 0


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    return Feed(tmp_path, engine)


HEADER = b"id,name,amount\n"
PUBLISHED = {
    "header_only": (HEADER, Counts()),
    "no_newline_at_the_end": (HEADER + b"1,a,1.00\n2,b,2.00", Counts(2, 2)),
    "crlf": (b"id,name,amount\r\n1,a,1.00\r\n2,b,2.00\r\n", Counts(2, 2)),
    "bom": (b"\xef\xbb\xbf" + HEADER + b"1,a,1.00\n", Counts(1, 1)),
    "nul_bytes": (HEADER + b"1,a\x00b,1.00\n2,b,2.00\n", Counts(2, 1, 1)),
    "ragged": (HEADER + b"1,a\n2,b,2.00\n3,c,3.00,x\n", Counts(3, 1, 2)),
    "blank_lines": (HEADER + b"\n1,a,1.00\n\n\n2,b,2.00\n\n", Counts(2, 2)),
    "quoted_newline": (HEADER + b'1,"a\nb",1.00\n2,b,2.00\n', Counts(2, 2)),
    "wrong_types": (HEADER + b"x,a,1.00\n2,b,1.001\n3,,3.00\n4,d,4.00\n", Counts(4, 1, 3)),
}
HELD = {
    "empty_file": (b"", "empty"),
    "utf_16": (HEADER.decode().encode("utf-16"), "encoding"),
    "latin_1": (HEADER + "1,Jos\u00e9,1.00\n".encode("latin-1"), "encoding"),
    "unclosed_quote": (HEADER + b'1,a,1.00\n2,"b,2.00\n3,c,3.00\n', "unclosed_quote"),
    "missing_column": (b"id,name\n1,a\n", "header"),
    "unknown_column": (b"id,name,amount,colour\n1,a,1.00,red\n", "header"),
    "duplicate_column": (b"id,name,name,amount\n1,a,a,1.00\n", "header"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_goes_on_and_every_record_is_counted(feed: Feed, name: str) -> None:
    content, expected = PUBLISHED[name]
    feed.land("x.csv", content)
    outcome, rows = feed.run()
    (batch,) = outcome.batches
    assert (batch.status, batch.counts, rows) == ("published", expected, expected.accepted), batch.reason
    assert batch.quarantine is not None
    assert batch.quarantine.records == expected.quarantined


@pytest.mark.parametrize("name", HELD)
def test_holds_the_file_and_the_others_go_on(feed: Feed, name: str) -> None:
    content, reason = HELD[name]
    feed.land("bad.csv", content)
    feed.land("good.csv", HEADER + b"1,a,1.00\n")
    outcome, rows = feed.run()
    by_file = {Path(f.uri).name: f for b in outcome.batches for f in b.files}
    assert outcome.status == "held"
    assert by_file["bad.csv"].status == "held"
    assert reason in (by_file["bad.csv"].reason or "")
    assert (by_file["good.csv"].status, rows) == ("published", 1)


def test_a_field_of_fifty_megabytes_is_named_by_its_limit_or_read(engine: Engine, tmp_path: Path) -> None:
    huge = HEADER + b'1,"' + b"x" * 50_000_000 + b'",1.00\n2,b,2.00\n'
    held = Feed(tmp_path / "limit", engine)
    held.land("big.csv", huge)
    outcome, rows = held.run()
    assert (outcome.status, rows) == ("held", 0)
    assert "record" in (outcome.batches[0].reason or "")
    wide = Feed(tmp_path / "wide", engine, ' maxRecordBytes="60000000"')
    wide.land("big.csv", huge)
    outcome, rows = wide.run()
    assert outcome.batches[0].counts == Counts(2, 1, 1), "longer than the contract's maxLength: quarantined, not lost"
    assert rows == 1


def test_a_folder_named_like_a_file_is_held_and_seen_again(feed: Feed) -> None:
    feed.land("good.csv", HEADER + b"1,a,1.00\n")
    (feed.root / "data" / "landing" / "x.csv").mkdir()
    for _ in range(2):
        outcome, rows = feed.run()
        assert (outcome.status, rows) == ("held", 1)
        assert any("not_a_file" in (b.reason or "") for b in outcome.batches)


def test_an_unreadable_file_is_held_and_the_others_go_on(feed: Feed) -> None:
    feed.land("good.csv", HEADER + b"1,a,1.00\n")
    # A regular file whose first byte cannot be read, by root neither: address 0 of a process's memory.
    (feed.root / "data" / "landing" / "x.csv").symlink_to("/proc/self/mem")
    outcome, rows = feed.run()
    assert (outcome.status, rows) == ("held", 1)
    assert any("unreadable" in (b.reason or "") for b in outcome.batches)


def test_a_file_that_grows_while_it_is_read_is_taken_whole_later(feed: Feed) -> None:
    path = feed.land("x.csv", HEADER)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as out:
            number = 0
            while not stop.is_set():
                number += 1
                out.write(b"%d,a,1.00\n" % number)
                time.sleep(0.0005)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        seen = sum(b.counts.in_ for b in feed.run()[0].batches)
    finally:
        stop.set()
        writer.join()
    lines = path.read_bytes().count(b"\n") - 1
    outcome, rows = feed.run()
    assert outcome.status == "published"
    # A copy that was stable while it was read is a delivery of its own; what it held is counted with its file.
    assert rows == lines + seen


def test_a_renamed_copy_is_a_duplicate_and_loads_nothing(feed: Feed) -> None:
    content = HEADER + b"1,a,1.00\n"
    feed.land("x.csv", content)
    feed.run()
    feed.land("y.csv", content)
    outcome, rows = feed.run()
    assert (outcome.status, rows) == ("nothing_to_do", 1)
    assert [f.status for b in outcome.batches for f in b.files] == ["duplicate"]


def test_the_same_input_again_publishes_nothing_twice_and_reprocess_replaces(feed: Feed) -> None:
    feed.land("x.csv", HEADER + b"1,a,1.00\n2,,2.00\n")
    assert feed.run()[0].status == "published"
    assert feed.run()[0].status == "nothing_to_do"
    outcome, rows = feed.run(reprocess=True)
    (batch,) = outcome.batches
    assert (batch.attempt, batch.counts, rows) == (2, Counts(2, 1, 1), 1)
