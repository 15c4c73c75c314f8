"""Definitions as an attacker or an accident writes them: refused in a second and 100 MB, whatever stands in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from pipeline_xml.load import check_path
from processing.transformations import registry
from tests.custom_distribution import installed

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "tests/cases/language/config"
BASE = PROJECT / "tests/cases/invalid/base"
XML = PROJECT / "tests/data/xml"
ATTRIBUTE = re.compile(r"""\s([A-Za-z]+)=("[^"]*"|'[^']*')""")

# What every text will do for: people, places and words that are shown or sent, data that is compared, expressions that
# file names are held against; never a name, and never computed. A path of a source may lie anywhere. An export to
# file:// is no path below the data folder: it does not run, and says so.
FREE = {
    ("*", "description"), ("*", "owner"), ("*", "runbook"), ("assignment", "to"), ("escalation", "to"),
    ("steward", "user"), ("errorPolicy", "quarantineTopic"), ("webhook", "url"), ("custom", "mark"),
    ("csv", "nullValues"), ("in", "values"), ("column", "path"), ("csv", "path"), ("json", "path"), ("parquet", "path"),
    ("landingZone", "doneMarker"), ("landingZone", "ignore"), ("landingZone", "manifest"), ("landingZone", "uri"),
    ("*", "pattern"), ("*", "memberPattern"), ("delivery", "senders"), ("holiday", "name"),
}  # fmt: skip
# They do not run in this version, and are read and checked by rules of their own.
OUTSIDE = {"database", "kafka", "api", "table"}

_MEASURED = """
import json, resource, sys, time
from pathlib import Path
from pipeline_xml.load import check_path
from processing.transformations import registry

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

steps, told = registry(), []
root, place = Path(sys.argv[1]), Path(sys.argv[2])
check_path(root, steps)  # what is imported and remembered is not the file's
before = peak()
for path in map(Path, sys.argv[3:]):
    place.unlink(missing_ok=True)
    place.hardlink_to(path)
    began = time.process_time()
    codes = [p.code for p in check_path(root, steps) if str(place).endswith(p.where.file) and p.severity == "error"]
    told.append([path.name, codes, time.process_time() - began])
print(json.dumps([told, peak() - before]))
"""


def measured(root: Path, place: str, files: list[Path]) -> tuple[list[tuple[str, list[str], float]], float]:
    """([name, codes of errors, seconds of processor time] of each file in that place, MB beyond what it began with)."""
    asked = [sys.executable, "-c", _MEASURED, str(root), str(root / place), *map(str, files)]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(asked, env=env, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=300)
    told, megabytes = json.loads(done.stdout)
    return told, megabytes


def huge(folder: Path) -> Iterator[Path]:
    """Files of 100 MB, 10,000 nested elements, and other ways to say too much."""
    head, tail = b'<pipeline id="a" version="1.0" layer="staging">', b"</pipeline>"
    many = {
        "spaces.xml": head + b" " * 100_000_000 + tail,
        "elements.xml": head + b"<a/>" * 25_000_000 + tail,
        "one_value.xml": b'<pipeline id="' + b"a" * 100_000_000 + b'"/>',
        "nested.xml": head + b"<a>" * 10_000 + b"</a>" * 10_000 + tail,
        "nested_open.xml": head + b"<a>" * 10_000,
        "attributes.xml": b"<pipeline " + b" ".join(b'a%d="1"' % n for n in range(10_000)) + b"/>",
        "comment.xml": head + b"<!-- " + b"-x" * 400_000 + b" -->" + tail,
        "entities.xml": b"<pipeline>" + b"&#65;" * 150_000 + b"</pipeline>",
    }
    for name, content in many.items():
        (folder / name).write_bytes(content)
        yield folder / name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BASE, tmp_path / "config"))


def test_every_hostile_xml_file_is_refused_quickly_and_in_little_memory(root: Path, tmp_path: Path) -> None:
    files = [p for p in sorted((XML / "attacks").glob("*.x*")) if not p.name.startswith("simple")]
    files += sorted((XML / "not_well_formed").glob("*.xml"))
    assert len(files) == 195
    files += huge(tmp_path)
    told, megabytes = measured(root, "applications/shop/staging/pipelines/orders.xml", files)
    assert [name for name, codes, _ in told if not codes] == []
    assert [(name, seconds) for name, _, seconds in told if seconds >= 1] == []
    assert megabytes < 100


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("applications/shop/staging/schemas/orders.json", b"[" * 10_000 + b"]" * 10_000),
        ("applications/shop/staging/schemas/orders.json", b'{"title": "' + b"x" * 100_000_000 + b'"}'),
        ("environments/dev.toml", b"a = " + b"[" * 10_000 + b"]" * 10_000),
        ("environments/dev.toml", b"# " + b"x" * 100_000_000),
        ("applications/shop/staging/jobs/daily.xml", b"<jobPipeline>" + b"<a>" * 10_000),
    ],
    ids=["nested_schema", "large_schema", "nested_environment", "large_environment", "nested_job"],
)
def test_other_documents_are_capped_too(root: Path, tmp_path: Path, place: str, content: bytes) -> None:
    (tmp_path / "hostile").write_bytes(content)
    ((_, codes, seconds),), megabytes = measured(root, place, [tmp_path / "hostile"])
    assert codes
    assert seconds < 1
    assert megabytes < 100


def accepted(root: Path, names: str, value: str) -> set[tuple[str, str]]:
    """(element, attribute) of the examples where `value` brings no error, among attributes whose names match."""
    found = set()
    steps = registry()
    for document in sorted(root.rglob("*.xml")):
        text = document.read_text()
        for match in ATTRIBUTE.finditer(text):
            if not re.fullmatch(names, match[1]):
                continue
            document.write_text(text[: match.start(2)] + quoteattr(value) + text[match.end(2) :])
            if not any(p.severity == "error" for p in check_path(root, steps)):
                tag = re.match(r"<(\w+)", text[text.rindex("<", 0, match.start()) :])
                assert tag is not None
                found.add((tag[1], match[1]))
        document.write_text(text)
    return {(tag, name) for tag, name in found if tag not in OUTSIDE and not {(tag, name), ("*", name)} & FREE}


@pytest.fixture
def examples(tmp_path: Path) -> Iterator[Path]:
    """A copy of the examples of docs/language.md, which have every element and attribute there is."""
    (tmp_path / "distribution").mkdir()
    with installed(tmp_path / "distribution"):
        yield Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


@pytest.mark.parametrize(
    "value", ["x'); DROP TABLE customers; --", "1 = 1 UNION SELECT * FROM secrets", "(select max(ssn) from people)"]
)
def test_sql_is_refused_in_every_name_and_expression(examples: Path, value: str) -> None:
    assert accepted(examples, ".*", value) == set()


@pytest.mark.parametrize(
    "value",
    [
        "../../../etc/passwd", "/etc/passwd", "schemas/../../../secret.json", "staging/../../secret.json", "..",
        "..\\..\\secret.json", "~/secret.json", "%2e%2e/secret.json", "staging.../../secret", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_no_reference_or_name_leads_out_of_its_folder(examples: Path, value: str) -> None:
    names = "schemaRef|path|table|id|reference|suite|rules|landing|pipelines|against|source|as|fallback|dependsOn|.*Ref"
    (examples.parent / "secret.json").write_text('{"type": "object", "properties": {"bait": {"type": "string"}}}')
    assert accepted(examples, names, value) == set()


@pytest.mark.parametrize("value", ["../../exports", "a/../../b", "/etc/cron.d", "~/x", "..\\x", "x/%H"])
def test_an_export_stays_in_the_data_folder(root: Path, value: str) -> None:
    document = root / "applications/shop/staging/pipelines/orders.xml"
    old = 'path="staging/exports/orders/%Y/%m/%d"'
    document.write_text(document.read_text().replace(old, f"path={quoteattr(value)}"))
    from tests.plain_steps import STEPS

    assert "LK123" in {p.code for p in check_path(root, STEPS)}


def test_a_link_out_of_the_schemas_is_not_followed(root: Path, tmp_path: Path) -> None:
    from tests.plain_steps import STEPS

    schema = root / "applications/shop/staging/schemas/orders.json"
    (tmp_path / "elsewhere.json").write_text(schema.read_text())
    schema.unlink()
    schema.symlink_to(tmp_path / "elsewhere.json")
    assert "LK409" in {p.code for p in check_path(root, STEPS)}
