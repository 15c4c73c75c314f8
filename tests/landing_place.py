"""A zone in memory with its pipelines and a ledger of its own, for tests of looking and claiming: no engine, no raw."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from pipeline_xml.location import Location
from pipeline_xml.model import LandingZone
from publishing.claim import claim_settled
from publishing.landing_decisions import standing
from publishing.ledger import Ledger, Look
from publishing.look import Feed, Watched, look
from publishing.zone_files import ZoneFile
from publishing.zone_manifests import read_manifests
from resources.zone_memory import MemoryZone

HERE = Location("t.xml")


@dataclass
class Desk:
    """`now` moves by a second with every look."""

    root: Path
    feeds: tuple[Feed, ...] = (Feed("app/feed", None),)
    zone: LandingZone = field(
        default_factory=lambda: LandingZone(where=HERE, app="app", id="zone", type="local", uri="landing")
    )
    memory: MemoryZone = field(default_factory=MemoryZone)
    now: float = 1_700_000_000.0
    url: str | None = None  # of the ledger's database; SQLite in `root` where there is none

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.url) if self.url else Ledger.at(self.root)

    @property
    def at(self) -> Watched:
        return Watched("app/zone", "zone", self.zone, self.feeds)

    def look(self, most: int = 50, seconds: float = 1.0) -> list[list[str]]:
        """Looks and claims, as a tick does; the names of each claim."""
        self.now += seconds
        look(self.ledger, self.at, self.memory, self.now)
        read_manifests(self.ledger, self.at, self.memory, self.now)
        return self.claim(most)

    def claim(self, most: int = 50) -> list[list[str]]:
        """Claims what has settled as of the last look."""
        decided = standing(self.ledger, self.at)
        patient = [ZoneFile.not_before <= self.now]
        made = claim_settled(self.ledger, self.at, self.now, most, also=patient, waits=decided.waits)
        with self.ledger.read() as session:
            chosen = [select(Look.name).where(Look.claim_id == each).order_by(Look.name) for each in made]
            return [list(session.scalars(each)) for each in chosen]

    def files(self) -> dict[str, tuple[str, int]]:
        """{name: (state, occurrence)} of what is remembered."""
        with self.ledger.read() as session:
            rows = session.execute(select(ZoneFile.name, ZoneFile.state, ZoneFile.occurrence).order_by(ZoneFile.name))
            return {name: (state, occurrence) for name, state, occurrence in rows}
