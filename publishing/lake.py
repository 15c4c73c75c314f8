"""The lake as the publishing rooms see it: where everything lies, and the connections, opened when first needed."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline_xml.checked import Catalog
from pipeline_xml.model import FileSource, LandingZone
from publishing.journal import Journal
from publishing.ledger import Ledger
from publishing.private_folder import sweep_private
from resources.engine import Connect, Engine, connect, open_engine
from resources.lake_table import LakeTable
from resources.secrets import SecretResolver
from resources.settings import Settings
from resources.zone import Zone
from resources.zone_local import WildcardZone
from resources.zone_s3 import ConnectS3, s3_client
from resources.zones import lake_path, zone_opener


@dataclass(frozen=True, slots=True)
class RunNumber:
    """The run that goes on in this process: its caller's id, its number in the pipeline, and the values it was given
    for bound names of expressions, as texts."""

    id: str
    number: int
    parameters: Mapping[str, str] = field(default_factory=dict)


class Lake:
    """Paths below the lake root, the ledger, the journal, secrets and the engine."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        stack: ExitStack,
        engine: Engine | None,
        connect_spark: Connect,
        connect_s3: ConnectS3,
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.secrets = SecretResolver(settings.secrets)
        self.run: RunNumber | None = None
        self._stack = stack
        self._engine = engine
        self._connect_spark = connect_spark
        self._opening: Future[Engine] | None = None
        self.open_zone = zone_opener(settings.data, self.secrets, connect_s3)

    @cached_property
    def ledger(self) -> Ledger:
        ledger = Ledger.of(self.settings)
        self._stack.callback(ledger.close)
        return ledger

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.settings.data / "journal")

    @cached_property
    def engine(self) -> Engine:
        if self._engine is not None:
            return self._engine
        return self._opening.result() if self._opening is not None else self._open_engine()

    def begin_engine(self) -> None:
        """Starts the engine aside, which takes about a second; whoever uses it waits for what is left of that.

        An engine that cannot be started says so there.
        """
        if self._engine is None and self._opening is None and "engine" not in self.__dict__:
            self._opening = self._stack.enter_context(ThreadPoolExecutor(1)).submit(self._open_engine)

    def _open_engine(self) -> Engine:
        wanted = self.settings
        return self._stack.enter_context(open_engine(wanted.engine, wanted.spark_remote, self._connect_spark))

    @contextmanager
    def zone(self, source: FileSource, zone: LandingZone | None) -> Iterator[Zone]:
        """The zone of a source, or the files that its path names; SecretMissing where it names a secret of none."""
        wildcards = WildcardZone(lake_path(self.settings.data, source.path or ""))
        with closing(self.open_zone(zone) if zone is not None else wildcards) as opened:
            yield opened

    def raw_root(self, pipeline: str) -> Path:
        return self.settings.data / "raw" / pipeline

    def staged_root(self, pipeline: str, batch: str, attempt: int) -> Path:
        """Where an attempt stages. Records stand there in clear: the folder of all of them is this user's alone."""
        return self.staged / pipeline / batch / f"{attempt:04d}"

    @property
    def staged(self) -> Path:
        """The staging folder; it is there."""
        folder = self.settings.data / "staged"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def table(self, asset: tuple[str, str, str]) -> LakeTable:
        """A lake table by (app, layer, name): `<data>/applications/<app>/<layer>/<name>`."""
        return LakeTable(self.settings.application_data.joinpath(*asset))

    def quarantine(self, pipeline: str) -> LakeTable:
        app, _, name = pipeline.partition("/")
        return LakeTable(self.settings.application_data / app / "exceptions" / name)

    @contextmanager
    def alone(self, pipeline: str) -> Iterator[None]:
        """Waits until no other process of this machine runs the pipeline; a process that dies lets go.

        Tables and ledger bear two at once. What is staged, and the manifest of an export, have one writer.
        """
        path = self.settings.data / "locks" / pipeline
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def application_path(self, app: str, text: str) -> Path:
        """A target path of a definition; relative ones start at the application's data folder."""
        return self.settings.application_data / app / text.removeprefix("file://")


@contextmanager
def open_lake(
    settings: Settings,
    catalog: Catalog,
    engine: Engine | None = None,
    connect_spark: Connect = connect,
    connect_s3: ConnectS3 = s3_client,
) -> Iterator[Lake]:
    """Opens nothing by itself; closes what it opened. An engine that is given is used and left open.

    Cells in clear that a killed process left are removed.
    """
    sweep_private(settings.data / "staged")
    with ExitStack() as stack:
        yield Lake(settings, catalog, stack, engine, connect_spark, connect_s3)
