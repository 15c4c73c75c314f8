"""What a workflow says of its pipelines, against the pipelines as they were resolved."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import CsvTarget, DefaultAssignment, Workflow
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code

CANNOT_REPLAY = code(
    "LK627",
    """replay mode="onApproval" of a pipeline that cannot replay: it skips what is wrong, groups records, or only
    exports.""",
)
UNKNOWN_RULE = code("LK628", "An assignment names a rule by which none of the workflow's pipelines rejects a record.")


def check_workflow(workflow: Workflow, pipelines: Iterable[CheckedPipeline], problems: Problems) -> None:
    """`pipelines` are those of its application that could be resolved."""
    mine = {p.pipeline.id: p for p in pipelines if p.pipeline.id in workflow.pipelines}
    if workflow.replay == "onApproval":
        for name, checked in mine.items():
            if reason := no_replay(checked):
                message = f"'{name}' cannot replay: {reason}"
                CANNOT_REPLAY.report(problems, message, workflow.place("mode"), ("manual",))
    if mine.keys() == set(workflow.pipelines):
        for assignment in workflow.assignments:
            _rule(assignment, list(mine.values()), problems)


def no_replay(checked: CheckedPipeline) -> str | None:
    """Why a record that the pipeline rejected can never come back into its targets, or None where it can."""
    if checked.pipeline.error_policy.on_record_error != "quarantine":
        return "it skips what is wrong, and quarantines nothing"
    ends = next((p for p in checked.steps if not p.output.per_record), None)
    if ends is not None:
        return f"<{ends.kind}> makes groups of its records"
    if checked.targets and all(isinstance(t.target, CsvTarget) for t in checked.targets):
        return "it writes exports only"
    return None


def _rule(assignment: DefaultAssignment, pipelines: list[CheckedPipeline], problems: Problems) -> None:
    rules = [r.rule.id for checked in pipelines for r in checked.record_rules if r.rule.severity == "error"]
    others = [name for checked in pipelines for name in _reasons(checked)]
    rule = assignment.rule
    if rule is None:
        return
    good = any(f"{name}.".startswith(f"{rule}.") for name in (*rules, *others))
    if not good and not any(rule.startswith(f"{name}.") for name in others):
        message = f"no record is rejected by the rule '{rule}'"
        valid = dict.fromkeys([*rules, *(name.split(".")[0] for name in others)])
        UNKNOWN_RULE.report(problems, message, assignment.place("rule"), valid)


def _reasons(checked: CheckedPipeline) -> Iterable[str]:
    """What the reasons of rejected records begin with, beside the ids of rules: contract fields and steps."""
    yield from (f"contract.{f.name}" for source in checked.sources[:1] for f in source.contract.fields)
    yield "record.ragged"
    yield from (f"lookup.{r.id}" for plan in checked.steps for r in plan.references)
    yield from (f"lookup.{r.id}" for plan in checked.steps for r in plan.tables)
    yield from (plan.kind for plan in checked.steps)
    if any(t.keys for t in checked.targets):
        yield "merge.keys"
