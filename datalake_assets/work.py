"""What a run asks of the rooms below: run a pipeline, check what is published. Opened once a run, closed with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.outcome import BatchOutcome, CheckOutcome, PipelineOutcome
from publishing.standing import Standing, standings
from resources.definitions import pyspark_session, s3_client_of_dagster
from resources.settings import Settings
from stewardship.actors import Actor

if TYPE_CHECKING:
    from publishing.lake import Lake

Announce = Callable[[BatchOutcome], None]


class Work(Protocol):
    def run(
        self,
        checked: CheckedPipeline,
        *,
        run_id: str,
        business_date: date | None,
        reprocess: bool,
        claim: str | None,
        announce: Announce,
        parameters: Mapping[str, str],
    ) -> PipelineOutcome:
        """Runs everything that is ready; `announce` is called as each batch ends. `parameters` are texts by name."""
        ...

    def checks(self, checked: CheckedPipeline, business_date: date | None) -> tuple[CheckOutcome, ...]:
        """Evaluates the checks on what is published."""
        ...

    def replay(
        self, checked: CheckedPipeline, *, run_id: str, batch_key: str | None, actor: Actor, announce: Announce
    ) -> PipelineOutcome:
        """Replays the approved corrections of one quarantined batch, or of all (None); `actor` asked for it."""
        ...

    def standings(self, checked: CheckedPipeline, keys: Collection[str] | None = None) -> tuple[Standing, ...]:
        """How the pipeline's quarantined batches stand, or those with these keys."""
        ...

    def replay_checks(self, checked: CheckedPipeline, batch_key: str) -> tuple[CheckOutcome, ...]:
        """Evaluates the checks of the way back on one quarantined batch."""
        ...


OpenWork = Callable[[], AbstractContextManager[Work]]


@dataclass(frozen=True, slots=True)
class LakeWork:
    """The work done for real. Engines and table libraries are imported here and not before: a code location loads
    without them, and a run that finds nothing to do never starts an engine."""

    lake: Lake

    def run(
        self,
        checked: CheckedPipeline,
        *,
        run_id: str,
        business_date: date | None,
        reprocess: bool,
        claim: str | None,
        announce: Announce,
        parameters: Mapping[str, str],
    ) -> PipelineOutcome:
        from publishing.run import run_pipeline

        return run_pipeline(
            self.lake,
            checked,
            run_id=run_id,
            business_date=business_date,
            reprocess=reprocess,
            claim_id=claim,
            announce=announce,
            parameters=parameters,
        )

    def checks(self, checked: CheckedPipeline, business_date: date | None) -> tuple[CheckOutcome, ...]:
        from publishing.checks import published_checks

        return published_checks(self.lake, checked, business_date)

    def replay(
        self, checked: CheckedPipeline, *, run_id: str, batch_key: str | None, actor: Actor, announce: Announce
    ) -> PipelineOutcome:
        from stewardship.replay import replay

        return replay(self.lake, checked, actor, run_id=run_id, batch=batch_key, announce=announce)

    def standings(self, checked: CheckedPipeline, keys: Collection[str] | None = None) -> tuple[Standing, ...]:
        return standings(self.lake.ledger, checked.key, keys)

    def replay_checks(self, checked: CheckedPipeline, batch_key: str) -> tuple[CheckOutcome, ...]:
        from publishing.replay_checks import replay_checks

        return replay_checks(self.lake, checked, batch_key)


def lake_work(settings: Settings, catalog: Catalog) -> OpenWork:
    """Opens the lake of `settings` when a run begins."""

    @contextmanager
    def opened() -> Iterator[Work]:
        from publishing.lake import open_lake

        with open_lake(settings, catalog, connect_spark=pyspark_session, connect_s3=s3_client_of_dagster) as lake:
            yield LakeWork(lake)

    return opened
