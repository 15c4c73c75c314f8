"""What a run says about itself: the objects behind `lake run --json`. Plain data, ready for `dataclasses.asdict`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["published", "held", "failed", "nothing_to_do"]
_WORST_FIRST: tuple[Status, ...] = ("failed", "held", "published", "nothing_to_do")


def worst(statuses: Iterable[Status]) -> Status:
    """failed, held, published, nothing_to_do: the first that occurs; nothing_to_do for none."""
    found = set(statuses)
    return next((s for s in _WORST_FIRST if s in found), "nothing_to_do")


@dataclass(frozen=True, slots=True)
class Counts:
    """The terms of the equation. `in_` is the independent count of the boundary scan."""

    in_: int = 0
    accepted: int = 0
    quarantined: int = 0
    deduplicated: int = 0
    filtered: int = 0
    superseded: int = 0
    skipped: int = 0

    @property
    def closes(self) -> bool:
        return self.in_ == (
            self.accepted + self.quarantined + self.deduplicated + self.filtered + self.superseded + self.skipped
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self.terms(), other.terms(), strict=True)))

    def terms(self) -> tuple[int, ...]:
        return (
            self.in_, self.accepted, self.quarantined, self.deduplicated, self.filtered, self.superseded, self.skipped,
        )

    def as_dict(self) -> dict[str, int]:
        names = ("in", "accepted", "quarantined", "deduplicated", "filtered", "superseded", "skipped")
        return dict(zip(names, self.terms(), strict=True))

    @staticmethod
    def of(terms: dict[str, int]) -> Counts:
        return Counts(**{("in_" if k == "in" else k): v for k, v in terms.items()})


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """status: published, held, duplicate, superseded, withdrawn, failed, unmatched."""

    uri: str
    status: str
    reason: str | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class TargetOutcome:
    kind: str  # delta | csv
    name: str  # app/layer/table
    path: str
    version: int | None
    rows_written: int


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    name: str
    severity: str  # error | warning
    passed: bool
    failed_rows: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class QuarantineOutcome:
    path: str
    records: int


@dataclass(frozen=True, slots=True)
class StepLine:
    """One link of the chain after record accounting ends: what a step received and made, and why they differ."""

    step: str
    in_: int
    out: int
    why: str


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """`key` is the quarantine partition of the batch, readable: 2020-12-31_lar_2020_bank0_9f3a."""

    batch: str
    key: str
    business_date: str
    attempt: int
    origin: str  # files | table
    status: Status
    reason: str | None
    counts: Counts
    files: tuple[FileOutcome, ...] = ()
    targets: tuple[TargetOutcome, ...] = ()
    checks: tuple[CheckOutcome, ...] = ()
    quarantine: QuarantineOutcome | None = None
    steps: tuple[StepLine, ...] = ()
    quarantined_by_rule: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    transient: bool = False  # failed, and trying again may help
    files_late: int = 0

    def as_dict(self) -> dict[str, object]:
        return batch_document(self)


@dataclass(frozen=True, slots=True)
class PipelineOutcome:
    pipeline: str  # app/pipeline
    status: Status
    batches: tuple[BatchOutcome, ...] = ()
    error: str | None = None

    @property
    def transient(self) -> bool:
        """Whether trying again may help: some batch failed for a reason that passes."""
        return any(batch.transient for batch in self.batches)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    run: str
    status: Status
    pipelines: tuple[PipelineOutcome, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, object]:
        """The document of `lake run --json`; scripts rely on its keys."""
        return {
            "run": self.run,
            "status": self.status,
            "pipelines": [
                {
                    "pipeline": p.pipeline,
                    "status": p.status,
                    "error": p.error,
                    "batches": [b.as_dict() for b in p.batches],
                }
                for p in self.pipelines
            ],
            "error": self.error,
        }


def batch_document(b: BatchOutcome) -> dict[str, object]:
    """One batch of the document of `lake run --json`."""
    return {
        "batch": b.batch,
        "key": b.key,
        "business_date": b.business_date,
        "attempt": b.attempt,
        "origin": b.origin,
        "status": b.status,
        "reason": b.reason,
        "counts": b.counts.as_dict(),
        "files": [
            {"uri": f.uri, "status": f.status, "reason": f.reason, "counts": f.counts.as_dict()} for f in b.files
        ],
        "targets": [
            {"kind": t.kind, "name": t.name, "path": t.path, "version": t.version, "rows_written": t.rows_written}
            for t in b.targets
        ],
        "checks": [
            {"name": c.name, "severity": c.severity, "passed": c.passed, "failed_rows": c.failed_rows}
            for c in b.checks
        ],
        "quarantine": {"path": b.quarantine.path, "records": b.quarantine.records} if b.quarantine else None,
        "steps": [{"step": s.step, "in": s.in_, "out": s.out, "why": s.why} for s in b.steps],
    }
