"""A multi-asset for each pipeline: specs from the translator, wrapped around one call."""

# Annotations stay objects here: Dagster reads that of `context` and understands no text.
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from datalake_assets import names
from datalake_assets.check_specs import check_specs
from datalake_assets.perform import check_published, perform
from datalake_assets.translate import Grains, target_specs
from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.durations import parse_duration
from pipeline_xml.model import ErrorPolicy


def pipeline_assets(root: Path, checked: CheckedPipeline, known: Grains) -> dg.AssetsDefinition:
    """Materialising any of its targets runs the pipeline; selecting only checks evaluates what is published."""

    @dg.multi_asset(
        name=names.pipeline_op(checked),
        specs=target_specs(root, checked, known),
        check_specs=check_specs(root, checked),
        can_subset=True,
        required_resource_keys={"lake"},
        retry_policy=retry_policy(checked.pipeline.error_policy),
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[Any]:
        if context.op_execution_context.selected_asset_keys:
            yield from perform(context, checked)
        else:
            yield from check_published(context, checked)[1]

    return body


def retry_policy(policy: ErrorPolicy) -> dg.RetryPolicy | None:
    """onStepError="retry" tries once more unless maxRetries says how often; held runs are never retried."""
    if policy.on_step_error != "retry":
        return None
    delay = parse_duration(policy.retry_delay).total_seconds() if policy.retry_delay else None
    return dg.RetryPolicy(max_retries=max(policy.max_retries, 1), delay=delay)
