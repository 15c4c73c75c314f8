"""Reading: hostile XML ends before any tree is built, and every value knows its place."""

from __future__ import annotations

import time
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_xml.element import Element
from pipeline_xml.place import within
from pipeline_xml.problems import Problems
from pipeline_xml.read import read_document
from pipeline_xml.scan import MAX_BYTES, MAX_ELEMENTS, read_bytes, scan
from pipeline_xml.structure import validate
from pipeline_xml.variables import Variables

DATA = Path(__file__).parents[1] / "data" / "xml"
ATTACKS = sorted(p for p in (DATA / "attacks").glob("*.x*") if not p.name.startswith("simple"))
BROKEN = sorted((DATA / "not_well_formed").glob("*.xml"))
NOTHING = Variables("dev", "environments/dev.toml", {})


def read(path: Path) -> tuple[Element | None, list[str]]:
    problems = Problems()
    found = read_document(path, path.name, "pipeline", NOTHING, problems)
    return found, [p.code for p in problems.found]


def parsed(text: str) -> Element:
    problems = Problems()
    found = scan(text.encode(), "x.xml", problems)
    assert found is not None, problems.found
    return found


@pytest.mark.parametrize("path", ATTACKS, ids=lambda p: p.name)
def test_attack_is_refused_at_once(path: Path) -> None:
    start = time.perf_counter()
    found, codes = read(path)
    assert found is None
    assert codes == (["LK010"] if path.suffix == ".xsl" else ["LK003"])
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("path", BROKEN, ids=lambda p: p.name)
def test_not_well_formed_is_refused(path: Path) -> None:
    found, codes = read(path)
    assert found is None
    assert codes and codes[0] in ("LK001", "LK002", "LK003")  # 168 to 170 are not UTF-8 either


@pytest.mark.parametrize("name", ["simple.xml", "simple-ns.xml"])
def test_harmless_xml_is_scanned(name: str) -> None:
    problems = Problems()
    data = read_bytes(DATA / "attacks" / name, name, problems)
    assert data is not None and scan(data, name, problems) is not None
    assert problems.found == ()


def test_sizes_are_capped(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    path.write_bytes(b"<pipeline>" + b" " * MAX_BYTES + b"</pipeline>")
    assert read(path) == (None, ["LK004"])
    path.write_bytes(b"<pipeline>" + b"<a/>" * MAX_ELEMENTS + b"</pipeline>")
    assert read(path) == (None, ["LK004"])
    path.write_text("<pipeline " + " ".join(f'a{i}=""' for i in range(300)) + "/>")
    assert read(path) == (None, ["LK004"])


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path) == (None, ["LK001"])
    assert read(tmp_path / "missing.xml") == (None, ["LK001"])


@pytest.mark.parametrize("name", ["design_pipeline.xml", "design_job.xml"])
def test_samples_of_the_design_follow_the_xsd(name: str) -> None:
    problems = Problems()
    root = scan((DATA / name).read_bytes(), name, problems)
    assert root is not None
    assert validate(root, root.tag, problems)
    assert problems.found == ()


def test_all_findings_of_a_document_come_at_once() -> None:
    root = parsed(
        '<pipeline id="a" version="1.0" layer="gold"><metadata><app/></metadata><sources><cvs/><csv/></sources>'
        '<targets><hive mode="x"/></targets></pipeline>'
    )
    problems = Problems()
    assert not validate(root, "pipeline", problems)
    said = {p.message for p in problems.found}
    assert {
        "'gold' is not a value of <pipeline layer>",
        "<app> is not expected here in <metadata>",
        "<cvs> is not expected here in <sources>",
        "<csv> lacks the attribute 'id'",
        "<hive> lacks the attribute 'table'",
        "'x' is not a value of <hive mode>",
    } <= said


def test_places_of_tags_attributes_and_texts() -> None:
    root = parsed('\ufeff<a\n   one = "1"\ttwo=\'zwö\' three="3">\n  <b>\n   text </b>\n</a>'.removeprefix("\ufeff"))
    assert (root.where.line, root.where.column) == (1, 1)
    assert {k: (p.line, p.column) for k, p in root.places.items()} == {"one": (2, 11), "two": (2, 19), "three": (2, 31)}
    child = root.children[0]
    assert child.text_where is not None and (child.text_where.line, child.text_where.column) == (4, 4)


_WORD = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters=","), min_size=1)
_VALUES = st.lists(_WORD, min_size=1)


@given(values=_VALUES, before=st.sampled_from(["", "é ", "\n  ", "<&>"]))
def test_an_item_of_a_list_is_found_in_the_file(values: list[str], before: str) -> None:
    """However the list is written, the place of an item is where its first character stands in the file."""
    value = before + ", ".join(values)
    written = f'<a\n list="{escape(value, {chr(34): "&quot;"})}"/>'
    root = parsed(written)
    item = within(root.places["list"], root.attributes["list"], values[-1])
    line = written.split("\n")[item.line - 1][item.column - 1 :]
    first = values.index(values[-1])
    assert line.startswith(escape(values[-1], {'"': "&quot;"})) or (first == 0 and before)
