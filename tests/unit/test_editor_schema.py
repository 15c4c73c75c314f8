"""The XSDs for editors: every document that is right follows them, and what is misspelt does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree
from typer.testing import CliRunner

from command_line.main import app
from pipeline_xml.editor_schema import editor_schemas
from processing.transformations import registry

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [path for root in ("config", "tests/cases/valid") for path in (PROJECT / root).rglob("*.xml")]
    + list((PROJECT / "tests/data/xml").glob("design_*.xml"))
)


@pytest.fixture(scope="module")
def schemas() -> dict[str, etree.XMLSchema]:
    return {name: etree.XMLSchema(etree.fromstring(text)) for name, text in editor_schemas(registry()).items()}


def test_there_are_documents() -> None:
    assert {path.name for path in DOCUMENTS} >= {"design_pipeline.xml", "design_job.xml", "lar.xml", "trades.xml"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_a_sound_document_follows_them(path: Path, schemas: dict[str, etree.XMLSchema]) -> None:
    document = etree.parse(path)
    schema = schemas[f"{document.getroot().tag}.xsd"]
    assert schema.validate(document), schema.error_log


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ('<filter source="s" conditoin="x"/>', "conditoin"),
        ('<filter source="s"/>', "'condition' is required"),
        ('<fliter source="s" condition="x"/>', "fliter"),
        ('<sort source="s" orderBy="x" direction="up"/>', "'up' is not an element of the set"),
        ('<derive source="s"><column expression="1"/></derive>', "'name' is required"),
    ],
)
def test_what_is_misspelt_is_told(step: str, told: str, schemas: dict[str, etree.XMLSchema]) -> None:
    text = (
        '<pipeline id="p" version="1.0" layer="staging"><metadata><appName>a</appName></metadata>'
        '<sources><csv id="s" path="x"/></sources>'
        f'<transformations>{step}</transformations><targets><csv path="y"/></targets></pipeline>'
    )
    schema = schemas["pipeline.xsd"]
    assert not schema.validate(etree.fromstring(text))
    assert told in str(schema.error_log)


def test_a_custom_step_may_have_attributes_of_its_own(schemas: dict[str, etree.XMLSchema]) -> None:
    assert "custom" in registry()
    pipeline = schemas["pipeline.xsd"]
    text = (
        '<pipeline id="p" version="1.0" layer="staging"><metadata><appName>a</appName></metadata>'
        '<sources><csv id="s" path="x"/></sources><transformations>'
        '<custom source="s" transformation="fx" currency="EUR"/></transformations>'
        '<targets><csv path="y"/></targets></pipeline>'
    )
    assert pipeline.validate(etree.fromstring(text)), pipeline.error_log


def test_the_command_writes_them(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["schema", str(tmp_path / "xsd")])
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "xsd").iterdir()}
    assert names == {"pipeline.xsd", "jobPipeline.xsd", "resources.xsd", "rulePack.xsd", "workflow.xsd"}
