"""A promised feed with stewards: entries by file and record, decisions as approval leaves them, replays."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from publishing.corrections import apply_discards, changes_table, save_changes
from publishing.decisions import APPROVED, CORRECT, Correction, TouchedRecord
from publishing.lake import Lake, open_lake
from publishing.ledger import Attempt, Batch, now
from publishing.outcome import BatchOutcome
from stewardship import batch_decisions
from stewardship.actors import Actor
from stewardship.replay import replay
from tests.delta_rows import delta_dataset
from tests.promised_feed import Feed

STEWARD, APPROVER = Actor("ann", "steward"), Actor("bob", "approver")


class StewardFeed(Feed):
    """`<file>:<record>` names a quarantine entry; a batch is named by its file's name, for each holds one."""

    @contextmanager
    def open(self, name: str = "feed") -> Iterator[tuple[Lake, CheckedPipeline]]:
        catalog = self.catalog()
        pipeline = catalog.pipeline("app", name)
        assert pipeline is not None
        with open_lake(self.settings, catalog, self.engine) as lake:
            yield lake, pipeline

    def entries(self, name: str = "feed") -> dict[str, dict[str, Any]]:
        folder = self.settings.application_data / "app" / "exceptions" / name
        rows = delta_dataset(folder).to_table().to_pylist() if folder.exists() else []
        return {f"{row['source_file']}:{row['source_record']}": row for row in rows}

    def states(self, name: str = "feed") -> dict[str, str]:
        return {key: row["state"] for key, row in self.entries(name).items()}

    def decide(
        self,
        wanted: Mapping[str, Mapping[str, str | None]],
        kind: str = CORRECT,
        name: str = "feed",
        apply: bool = True,
    ) -> str:
        """An approved decision over entries of one batch; a discard takes effect, unless `apply` says not yet."""
        found = self.entries(name)
        rows = [(found[key]["record_id"], new, {}) for key, new in wanted.items()]
        (batch_id,) = {found[key]["batch_id"] for key in wanted}
        correction, pipeline = uuid.uuid4().hex, f"app/{name}"
        with self.open(name) as (lake, _):
            sealed = save_changes(lake, pipeline, batch_id, correction, changes_table(rows))
            with lake.ledger.write() as session:
                session.add(
                    Correction(
                        id=correction, pipeline=pipeline, batch_id=batch_id, kind=kind, state=APPROVED,
                        records=len(rows), actor="ann", role="steward", reason="typo", made_at=now(), sealed=sealed,
                    )
                )  # fmt: skip
                session.flush()
                for record, _, _ in rows:
                    session.merge(
                        TouchedRecord(
                            pipeline=pipeline, record_id=record, correction_id=correction, state=None, tries=0
                        )
                    )  # fmt: skip
            if apply:
                apply_discards(lake, pipeline)
        return correction

    def replay(self, name: str = "feed") -> list[BatchOutcome]:
        with self.open(name) as (lake, pipeline):
            return list(replay(lake, pipeline, STEWARD, run_id="replay").batches)

    def batch_of(self, file: str, name: str = "feed") -> str:
        """The key of the newest batch that a file began."""
        with self.open(name) as (lake, _), lake.ledger.read() as session:
            stem = file.rpartition(".")[0]
            named = Batch.key.contains(f"_{stem}_", autoescape=True)
            chosen = select(Batch.key).where(Batch.pipeline == f"app/{name}", named)
            chosen = chosen.where(Batch.origin != "replay")
            return session.scalars(chosen.order_by(Batch.created_at.desc(), Batch.id)).first() or ""

    def published(self, begins: str, name: str = "feed") -> list[str]:
        """Keys of the published batches of files whose names begin so."""
        with self.open(name) as (lake, _), lake.ledger.read() as session:
            named = Batch.key.contains(f"_{begins}", autoescape=True)
            chosen = select(Batch.key).where(Batch.pipeline == f"app/{name}", named)
            stands = Batch.status == "published", Batch.origin == "files"
            return list(session.scalars(chosen.where(*stands)))

    def statuses_of(self, begins: str, name: str = "feed") -> list[str]:
        """Statuses of the batches of files whose names begin so."""
        with self.open(name) as (lake, _), lake.ledger.read() as session:
            named = Batch.key.contains(f"_{begins}", autoescape=True), Batch.origin == "files"
            return list(session.scalars(select(Batch.status).where(Batch.pipeline == f"app/{name}", *named)))

    def unpublish_keys(self, keys: Sequence[str], name: str = "feed") -> list[str]:
        with self.open(name) as (lake, pipeline):
            return batch_decisions.unpublish(lake, pipeline, APPROVER, keys, "wrong")

    def unpublish(self, *files: str, name: str = "feed") -> list[str]:
        return self.unpublish_keys([self.batch_of(file, name) for file in files], name)

    def batches(self, name: str = "feed") -> list[tuple[str, str, int]]:
        """(origin, status, attempt) of each batch, in the order they were made."""
        with self.open(name) as (lake, _), lake.ledger.read() as session:
            chosen = select(Batch).where(Batch.pipeline == f"app/{name}").order_by(Batch.created_at, Batch.id)
            return [(b.origin, b.status, b.attempt) for b in session.scalars(chosen)]

    def counts(self, name: str = "feed") -> Sequence[dict[str, int]]:
        """The counts of the newest attempt of each published batch."""
        with self.open(name) as (lake, _), lake.ledger.read() as session:
            chosen = (
                select(Attempt.outcome)
                .join(Batch, (Batch.id == Attempt.batch_id) & (Batch.attempt == Attempt.number))
                .where(Batch.pipeline == f"app/{name}", Batch.status == "published")
                .order_by(Batch.arrival, Batch.created_at)
            )
            return [(outcome or {})["counts"] for outcome in session.scalars(chosen)]
