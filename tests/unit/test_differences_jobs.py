"""What `lake diff` says of jobs, and what `lake check` and `lake explain` say of jobs and pipelines alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_line.main import app
from pipeline_xml.differences import Change, differences
from pipeline_xml.load import read_catalog
from processing.transformations import registry
from tests.custom_distribution import installed
from tests.definition_cases import FOLDER, lay_out

PROJECT = Path(__file__).resolve().parents[2]
CASE = PROJECT / "tests/cases/valid/loans/config"
EXAMPLES = PROJECT / "tests/cases/language/config"
JOB = "applications/lender/service/jobs/nightly.xml"
WRITTEN = """<jobPipeline id="nightly" version="1.0">
  <schedule>0 2 * * *</schedule>
  <parameters>
    <parameter name="region" default="EU"/>
    <parameter name="floor" type="int" default="1"/>
  </parameters>
  <pipelines>
    <pipelineRef id="loans"/>
    <pipelineRef id="loan" dependsOn="loans" onFailure="retry" maxRetries="2"/>
    <pipelineRef id="exposure" dependsOn="loan"/>
  </pipelines>
  <notifications>
    <email to="ops@example.com" on="failure"/>
  </notifications>
</jobPipeline>
"""
SUBJECT = "job lender/nightly"
STARTERS = ("those who start it",)


def changed(root: Path, *edits: tuple[str, str], gone: bool = False) -> set[Change]:
    """The changes of the job that edits (old text, new text) make."""
    for name in ("old", "new"):
        shutil.copytree(CASE, root / name)
        (root / name / JOB).parent.mkdir(parents=True)
        (root / name / JOB).write_text(WRITTEN)
    text = WRITTEN
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    (root / "new" / JOB).write_text(text)
    if gone:
        (root / "new" / JOB).unlink()
    found = differences(*(read_catalog(root / name, registry()) for name in ("old", "new")))
    assert {change.subject for change in found} <= {SUBJECT}
    return set(found)


def test_nothing_changed(tmp_path: Path) -> None:
    assert changed(tmp_path) == set()


@pytest.mark.parametrize(
    ("edit", "breaking", "what", "whom"),
    [
        (('    <parameter name="region" default="EU"/>\n', ""), True, "parameter region is gone", STARTERS),
        (('type="int" default="1"', 'type="bigint" default="1"'), True, "parameter floor int became bigint", STARTERS),
        (('default="EU"', 'default="US"'), False, "parameter region has another default", STARTERS),
        (("0 2 * * *", "0 3 * * *"), False, "schedule 0 2 * * * (UTC) became 0 3 * * * (UTC)", ()),
        (('dependsOn="loan"', 'dependsOn="loan,loans"'), False,
         "exposure ran after loan, and runs after loan, loans", ()),
        (('onFailure="retry" maxRetries="2"', 'onFailure="skip"'), False,
         "on a failure of loan: retry, 2 times became skip", ()),
        (('on="failure"', 'on="held"'), False, "tells by email of failure no more", ()),
        (('    <pipelineRef id="exposure" dependsOn="loan"/>\n', ""), True,
         "runs exposure no more, and nothing else does", ()),
    ],
)  # fmt: skip
def test_what_changed(tmp_path: Path, edit: tuple[str, str], breaking: bool, what: str, whom: tuple[str, ...]) -> None:
    assert Change(breaking, SUBJECT, what, whom) in changed(tmp_path, edit)


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (('type="int" default="1"', 'type="int"'), "parameter floor has to be given"),
        (('default="EU"/>', 'default="EU"/>\n  <parameter name="day" type="date"/>'), "parameter day has to be given"),
    ],
)
def test_a_parameter_that_has_to_be_given(tmp_path: Path, edit: tuple[str, str], what: str) -> None:
    """Of a job without a schedule: one that has it must have defaults."""
    found = changed(tmp_path, edit, ("  <schedule>0 2 * * *</schedule>\n", ""))
    assert Change(True, SUBJECT, what, STARTERS) in found
    assert Change(False, SUBJECT, "schedule 0 2 * * * (UTC) became none") in found


def test_a_job_that_is_gone_leaves_readers_without_news(tmp_path: Path) -> None:
    assert changed(tmp_path, gone=True) == {
        Change(True, SUBJECT, "is gone", STARTERS),
        Change(False, SUBJECT, "runs loans no more", ("lender/loan",)),  # files that land start it
        Change(True, SUBJECT, "runs loan no more, and nothing else does", ("lender/exposure",)),
        Change(True, SUBJECT, "runs exposure no more, and nothing else does", ()),
    }


def test_a_job_with_errors_is_told_and_exits_1(tmp_path: Path) -> None:
    found = changed(tmp_path, ('dependsOn="loans"', 'dependsOn="laons"'))
    assert Change(True, SUBJECT, "does not pass the check any more", STARTERS) in found
    done = CliRunner().invoke(app, ["diff", str(tmp_path / "old"), str(tmp_path / "new"), "--json"])
    assert done.exit_code == 1
    assert [c["subject"] for c in json.loads(done.output)["changes"]] == [SUBJECT]


@pytest.mark.parametrize(
    ("case", "annotation"),
    [
        ("LK612-unknown_dependency.xml",
         "::error file=config/applications/shop/staging/jobs/daily.xml,line={line},col={column},title=LK612::"),
        ("LK204-step_columns.xml",
         "::error file=config/applications/shop/staging/pipelines/orders.xml,line={line},col={column},title=LK204::"),
    ],
)  # fmt: skip
def test_annotations_stand_at_the_line_of_jobs_and_pipelines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, annotation: str
) -> None:
    """The place is the one that the text tells, and an error makes the check fail."""
    root = lay_out(FOLDER / case, tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATALAKE_CONFIG", str(root))
    told = json.loads(CliRunner().invoke(app, ["check", "--format", "json"]).stdout)
    done = CliRunner().invoke(app, ["check", "--format", "github"])
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert len(lines) == len(told)
    first = next(p for p in told if p["code"] == case[:5])
    assert any(line.startswith(annotation.format(**first)) for line in lines)


def test_explain_of_a_job_says_what_starts_it_asks_for_and_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATALAKE_CONFIG", str(EXAMPLES))
    with installed(tmp_path):
        said = json.loads(CliRunner().invoke(app, ["explain", "example/nightly", "--json"]).stdout)
        text = CliRunner().invoke(app, ["explain", "example/nightly"]).stdout
    assert (said["schedule"], said["time_zone"]) == ("0 2 * * *", "Europe/Berlin")
    assert said["parameters"] == [{"name": "minimum", "type": "int", "default": "10"}]
    assert [(p["pipeline"], p["on_failure"], p["fallback"]) for p in said["pipelines"]] == [
        ("example/orders", "fallback", "old_orders")
    ]
    assert [(n["kind"], n["on"]) for n in said["notifications"]] == [
        ("email", "failure"), ("webhook", "completion"), ("webhook", "slaMiss"),
    ]  # fmt: skip
    assert "https://" not in json.dumps(said)
    for words in ("parameter :minimum int, default 10", "on failure fallback, fallback old_orders",
                  "tells by webhook of slaMiss"):  # fmt: skip
        assert words in text
