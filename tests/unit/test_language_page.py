"""docs/language.md leaves nothing out: every element and attribute has its meaning and a checked example."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline_xml.described import DOCUMENTS, elements, words
from pipeline_xml.load import check_path
from processing.transformations import registry
from tests.custom_distribution import installed

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "tests" / "cases" / "language" / "config"


@pytest.fixture(scope="module")
def page() -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(PROJECT / "scripts"), *sys.path])
        yield SimpleNamespace(**runpy.run_path(str(PROJECT / "scripts" / "language_page.py")))


def test_every_element_and_attribute_is_described_and_shown(page: SimpleNamespace) -> None:
    assert page.missing() == []


def test_the_examples_have_no_error(tmp_path: Path) -> None:
    with installed(tmp_path):
        problems = check_path(EXAMPLES, registry())
    assert [str(p) for p in problems if p.severity == "error"] == []


def test_no_word_is_about_something_that_is_not_there() -> None:
    known: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        for each in elements(document):
            names = {p.name for p in (*each.attributes, *each.children)}
            for key in ("/".join(each.path[-2:]), each.path[-1]):
                known.setdefault(key, set()).update(names)
    everywhere = set().union(*known.values())
    inner = {element.path[-1] for document in DOCUMENTS for element in elements(document)}
    for section, entries in words().items():
        allowed = everywhere if section == "*" else known.get(section, set())
        assert {name for name in entries if name and name not in allowed | inner} == set(), section


def test_every_transformation_says_in_its_module_what_it_does(page: SimpleNamespace) -> None:
    text = page.language_page()
    for kind, runner in registry().items():
        assert f"### `<{kind}>`" in text
        said = sys.modules[type(runner).__module__].__doc__ or ""
        assert said.startswith(f"`<{kind}"), kind
        for name in runner.attributes.keys() - {"as"}:
            assert name in said, f"<{kind} {name}> is not in the docstring of its module"
