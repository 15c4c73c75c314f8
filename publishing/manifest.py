"""The manifest of an attempt: what was staged and counted. Once it is in the journal, it is what gets published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from publishing.outcome import CheckOutcome, Counts, StepLine
from resources.lake_table import DataFile


@dataclass(frozen=True, slots=True)
class FileCounts:
    """The line of one file: `arrival` 0 is the upstream table of a table batch."""

    arrival: int
    uri: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Manifest:
    """`root` is the staged folder relative to the lake root; file paths are relative to it.

    `records` maps a status to its staged files; `targets` maps a target's position to the files that are its rows where
    they are not the accepted records themselves. `rules` counts the records that broke a rule,
    `rejecting` those of rules of severity error. `held` is the reason why nothing may be published, or None.
    `corrections` are the approved decisions that were laid over the records; `vault` the files of tokens.
    """

    batch: str
    attempt: int
    root: str
    records: Mapping[str, Sequence[DataFile]]
    targets: Mapping[int, Sequence[DataFile]]
    files: Sequence[FileCounts]
    rules: Mapping[str, int]
    rejecting: Mapping[str, int]
    checks: Sequence[CheckOutcome]
    steps: Sequence[StepLine] = ()
    held: str | None = None
    corrections: Sequence[str] = ()
    vault: Sequence[DataFile] = ()

    @property
    def counts(self) -> Counts:
        return sum((f.counts for f in self.files), Counts())

    def as_dict(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            "attempt": self.attempt,
            "root": self.root,
            "records": {s: [asdict(f) for f in files] for s, files in self.records.items()},
            "targets": {str(i): [asdict(f) for f in files] for i, files in self.targets.items()},
            "files": [{"arrival": f.arrival, "uri": f.uri, "counts": f.counts.as_dict()} for f in self.files],
            "rules": dict(self.rules),
            "rejecting": dict(self.rejecting),
            "checks": [asdict(c) for c in self.checks],
            "steps": [asdict(s) for s in self.steps],
            "held": self.held,
            "corrections": list(self.corrections),
            "vault": [asdict(f) for f in self.vault],
        }

    @staticmethod
    def of(stored: Mapping[str, Any]) -> Manifest:
        return Manifest(
            batch=stored["batch"],
            attempt=stored["attempt"],
            root=stored["root"],
            records={s: [DataFile(**f) for f in files] for s, files in stored["records"].items()},
            targets={int(i): [DataFile(**f) for f in files] for i, files in stored["targets"].items()},
            files=[FileCounts(f["arrival"], f["uri"], Counts.of(f["counts"])) for f in stored["files"]],
            rules=stored["rules"],
            rejecting=stored["rejecting"],
            checks=[CheckOutcome(**c) for c in stored["checks"]],
            steps=[StepLine(**s) for s in stored["steps"]],
            held=stored["held"],
            corrections=tuple(stored.get("corrections", ())),
            vault=[DataFile(**f) for f in stored.get("vault", ())],
        )


def staged_files(root: Path, folder: Path, columns: Sequence[str] | None = None) -> list[DataFile]:
    """Every Parquet file below a folder, described relative to `root`, in name order."""
    from resources.lake_table import SKIPPING_COLUMNS, describe_parquet

    chosen = SKIPPING_COLUMNS if columns is None else columns
    found = sorted(p for p in folder.rglob("*.parquet") if not p.name.startswith((".", "_")))
    out = []
    for path in found:
        described = describe_parquet(folder, str(path.relative_to(folder)), chosen)
        relative = str(path.relative_to(root))
        out.append(
            DataFile(relative, described.size, described.records, described.partition, described.low, described.high)
        )
    return out
