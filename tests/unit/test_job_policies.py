"""Job pipelines: each failure policy on four pipelines of which each one in turn fails; retries and parameters.

    extract ─┬─▶ left ──┬─▶ publish
             └─▶ right ─┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from datalake_assets import names
from datalake_assets.build import build
from datalake_assets.execute import UnknownName, execute
from datalake_assets.previews import quiet_inside_dagster
from pipeline_xml.checked import BoundValue, Catalog, CheckedPipeline
from pipeline_xml.location import Location
from pipeline_xml.model import Parameter
from pipeline_xml.types import STRING
from publishing.outcome import BatchOutcome
from resources.settings import Settings
from tests import small_catalog as small

FOUR = ("extract", "left", "right", "publish")
AFTER = {"extract": (), "left": ("extract",), "right": ("extract",), "publish": ("left", "right")}
SETTINGS = Settings(config=Path("/config"), data=Path("/nowhere"))
Script = Callable[[CheckedPipeline], list[BatchOutcome]]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def named(name: str, **policy: Any) -> CheckedPipeline:
    """A pipeline like `orders` under another name, with a table of its own."""
    checked = small.orders()
    target = replace(checked.targets[0], asset=("shop", "staging", name))
    own = replace(checked.pipeline, id=name, error_policy=replace(checked.pipeline.error_policy, **policy))
    return replace(checked, pipeline=own, targets=(target,))


def four(failing: str, on_failure: str, **more: Any) -> Catalog:
    """The job in which `failing` has the policy; a fifth pipeline stands ready as a fallback."""
    extra = {"fallback": "spare"} if on_failure == "fallback" else {}
    refs = [
        small.ref(name, *AFTER[name], **({"on_failure": on_failure, **extra, **more} if name == failing else {}))
        for name in FOUR
    ]
    return small.catalog(tuple(named(name) for name in (*FOUR, "spare")), (small.chain(*refs),))


def published(checked: CheckedPipeline) -> list[BatchOutcome]:
    return [small.batch(checked)]


def failed(checked: CheckedPipeline) -> list[BatchOutcome]:
    return [small.batch(checked, status="failed", reason="disk full", checks=(), quarantine=None, transient=True)]


def run(
    work: small.ScriptedWork, instance: dg.DagsterInstance, catalog: Catalog, **asked: Any
) -> dg.ExecuteInProcessResult:
    quiet_inside_dagster()
    job = build(SETTINGS, catalog, work.open()).resolve_job_def("shop__nightly")
    return job.execute_in_process(instance=instance, raise_on_error=False, **asked)


# What still runs when one of the four fails, and whether the job is a success; the failing one itself always ran.
# While one waits for its next try, what does not depend on it goes on: `right` has begun before `left` halts the job.
EXPECTED = {
    ("halt", "extract"): ((), False),
    ("halt", "left"): (("extract",), False),
    ("halt", "right"): (("extract", "left"), False),
    ("halt", "publish"): (("extract", "left", "right"), False),
    ("skip", "extract"): ((), False),
    ("skip", "left"): (("extract", "right"), False),
    ("skip", "right"): (("extract", "left"), False),
    ("skip", "publish"): (("extract", "left", "right"), False),
    ("continue", "extract"): (("left", "right", "publish"), False),
    ("continue", "left"): (("extract", "right", "publish"), False),
    ("continue", "right"): (("extract", "left", "publish"), False),
    ("continue", "publish"): (("extract", "left", "right"), False),
    ("fallback", "extract"): (("spare", "left", "right", "publish"), True),
    ("fallback", "left"): (("extract", "spare", "right", "publish"), True),
    ("fallback", "right"): (("extract", "left", "spare", "publish"), True),
    ("fallback", "publish"): (("extract", "left", "right", "spare"), True),
    ("retry", "extract"): (("extract", "extract"), False),
    ("retry", "left"): (("extract", "right", "left", "left"), False),
    ("retry", "right"): (("extract", "left", "right", "right"), False),
    ("retry", "publish"): (("extract", "left", "right", "publish", "publish"), False),
}


@pytest.mark.parametrize(("policy", "failing"), EXPECTED, ids=lambda value: str(value))
def test_a_policy_decides_what_still_runs(instance: dg.DagsterInstance, policy: str, failing: str) -> None:
    others, success = EXPECTED[policy, failing]
    script: dict[str, Script] = {name: published for name in (*FOUR, "spare")} | {failing: failed}
    work = small.ScriptedWork(script)
    more = {"max_retries": 2} if policy == "retry" else {}
    result = run(work, instance, four(failing, policy, **more))
    assert result.success == success
    assert sorted(work.ran) == sorted((failing, *others))


@pytest.mark.parametrize("failing", FOUR)
def test_a_retry_that_succeeds_leaves_nothing_of_the_failure(instance: dg.DagsterInstance, failing: str) -> None:
    tries: list[str] = []

    def second_time(checked: CheckedPipeline) -> list[BatchOutcome]:
        tries.append(checked.pipeline.id)
        return published(checked) if len(tries) == 2 else failed(checked)

    work = small.ScriptedWork({name: published for name in FOUR} | {failing: second_time})
    assert run(work, instance, four(failing, "retry", max_retries=2)).success
    assert sorted(work.ran) == sorted((*FOUR, failing))


@pytest.mark.parametrize(("policy", "goes_on"), [("continue", True), ("fallback", True), ("skip", False)])
def test_an_error_that_nobody_foresaw_is_a_failure_like_any_other(
    instance: dg.DagsterInstance, policy: str, goes_on: bool
) -> None:
    """Seen: `continue` skipped the dependents of a pipeline whose engine had gone away."""

    def raising(checked: CheckedPipeline) -> list[BatchOutcome]:
        raise RuntimeError("the engine went away")

    work = small.ScriptedWork({name: published for name in (*FOUR, "spare")} | {"left": raising})
    run(work, instance, four("left", policy))
    assert ("publish" in work.ran) == goes_on


def test_a_pipeline_retries_by_its_own_policy_before_the_jobs_counts(instance: dg.DagsterInstance) -> None:
    catalog = four("left", "continue")
    patient = named("left", on_step_error="retry", max_retries=1)
    pipelines = tuple(patient if p.pipeline.id == "left" else p for p in catalog.applications[0].pipelines)
    work = small.ScriptedWork({name: published for name in FOUR} | {"left": failed})
    result = run(work, instance, small.catalog(pipelines, catalog.applications[0].jobs))
    assert work.ran.count("left") == 2
    assert "publish" in work.ran
    assert not result.success


def with_region(default: str | None) -> Catalog:
    where = Location("applications/shop/service/jobs/nightly.xml", 2, 3)
    parameter = Parameter(where=where, name="region", type="string", default=default)
    reading = replace(named("extract"), bound=(BoundValue("region", STRING, default),))
    job = replace(small.chain(small.ref("extract"), small.ref("left")), parameters=(parameter,))
    return small.catalog((reading, named("left")), (job,))


def test_parameters_and_the_run_date_travel_in_tags_to_who_reads_them(instance: dg.DagsterInstance) -> None:
    work = small.ScriptedWork()
    tags = {names.PARAMETERS_TAG: '{"region": "US"}', "datalake/run_date": "2024-12-31"}
    assert run(work, instance, with_region("EU"), tags=tags).success
    assert work.given == [("extract", {"region": "US"}), ("left", {})]


@pytest.mark.parametrize("written", ["region=US", '["US"]', '{"region": 1}'])
def test_a_tag_that_is_no_object_of_texts_fails_the_run(instance: dg.DagsterInstance, written: str) -> None:
    work = small.ScriptedWork()
    result = run(work, instance, with_region("EU"), tags={names.PARAMETERS_TAG: written})
    assert not result.success
    assert work.ran == []


def test_a_command_is_told_which_parameters_there_are(tmp_path: Path) -> None:
    asked = {"catalog": with_region("EU"), "open_work": small.ScriptedWork().open()}
    settings = replace(SETTINGS, data=tmp_path)
    with pytest.raises(UnknownName, match="'nightly' has no parameter 'regon'; valid: region"):
        execute(settings, "shop", "nightly", parameters={"regon": "US"}, **asked)  # type: ignore[arg-type]
