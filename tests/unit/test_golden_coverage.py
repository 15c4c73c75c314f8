"""The golden cases leave nothing out: every transformation, every attribute of it, every value there is to choose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline_xml.checked import StepPlan
from pipeline_xml.load import load_catalog
from processing.transformations import registry
from processing.transformations.aggregate import FUNCTIONS
from processing.transformations.attributes import Attributes
from processing.transformations.windows import NAMED
from tests.custom_distribution import installed
from tests.golden_cases import CASES


@dataclass
class Seen:
    """What the cases use. `chosen` and `choices` are by (transformation, attribute), defaults counted as chosen."""

    plans: list[StepPlan] = field(default_factory=list)
    chosen: Mapping[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    choices: dict[tuple[str, str], set[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    found, ask = Seen(), Attributes.choice

    def choice(self: Attributes, name: str, valid: tuple[str, ...], default: str) -> str:
        value = ask(self, name, valid, default)
        found.chosen[self.step.kind, name].add(value)
        found.choices[self.step.kind, name] = set(valid)
        return value

    with pytest.MonkeyPatch.context() as patch, installed(tmp_path_factory.mktemp("site")):
        patch.setattr(Attributes, "choice", choice)
        for case in sorted(CASES.iterdir()):
            found.plans += plans(case)
        yield found


def plans(case: Path) -> list[StepPlan]:
    catalog = load_catalog(case / "config", registry())
    return [plan for app in catalog.applications for pipeline in app.pipelines for plan in pipeline.steps]


def test_every_transformation_and_every_attribute_of_it(seen: Seen) -> None:
    used = {(plan.kind, name) for plan in seen.plans for name in plan.step.attributes}
    wanted = {(kind, name) for kind, runner in registry().items() for name in {"as", *runner.attributes}}
    assert sorted(wanted - used) == []


def test_every_attribute_of_their_columns(seen: Seen) -> None:
    names = ("name", "expression", "type", "format", "path")
    used = {(plan.kind, n) for plan in seen.plans for column in plan.step.columns for n in names if getattr(column, n)}
    wanted = {(kind, name) for kind, runner in registry().items() for name in getattr(runner, "columns", ())}
    assert len(wanted) > 8
    assert sorted(wanted - used) == []


def test_every_value_that_can_be_chosen(seen: Seen) -> None:
    missing = {key: sorted(valid - seen.chosen[key]) for key, valid in seen.choices.items() if valid - seen.chosen[key]}
    assert len(seen.choices) > 10
    assert missing == {}


def test_every_metric_and_window_of_an_aggregate(seen: Seen) -> None:
    configs = [plan.config for plan in seen.plans if plan.kind == "aggregate"]
    assert {metric.function for config in configs for metric in config.metrics} == set(FUNCTIONS)
    every = {config.windows.every for config in configs if config.windows}
    assert set(NAMED) < every, "and a cron expression"
    assert any(config.windows and config.windows.rolling for config in configs)
