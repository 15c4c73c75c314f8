"""`make soak`: a day simulated. Files of many feeds over SFTP and S3, each sender with a misbehaviour, servers killed.

python -m tests.faults.soak [--files 5000] [--feeds 40] [--rounds 6] [--seed 1]

Files are put by OpenSSH's `sftp` and by rclone. Afterwards each record, each file and each look is held against what
the day was to become (tests/faults/soak_day.py), and the lake against itself. Exit 1 with any difference.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncssh
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from pipeline_xml.checked import Catalog
from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.lake import Lake, open_lake
from publishing.landing import Tick, tick
from publishing.ledger import LandedFile, Look
from publishing.run import run_pipeline
from publishing.verify import verify
from publishing.zone_files import UNMATCHED, ZoneFile
from resources.engine import open_engine
from resources.secrets import SecretResolver
from resources.settings import Settings
from resources.zone import ZoneUnreachable
from resources.zones import zone_opener
from tests.delta_rows import delta_dataset
from tests.faults.soak_agreed import agreed_with, pgp_key
from tests.faults.soak_day import BEFORE, BETWEEN, Act, Day, day
from tests.landing_servers import (
    RCLONE,
    VERSITYGW,
    S3Server,
    SftpServer,
    by_rclone,
    by_sftp,
    moto_server,
    openssh_server,
    versity_server,
)

T = TypeVar("T")
SETTLE = "2"  # looks
CONTRACT = {
    "type": "object", "required": ["id", "v"], "properties": {"id": {"type": "string"}, "v": {"type": "integer"}},
}  # fmt: skip


@dataclass
class World:
    settings: Settings
    sftp: SftpServer
    s3: S3Server
    feeds: int
    folder: Path

    def zone(self, feed: int) -> str:
        return "bank" if feed % 2 == 0 else "cloud"

    def define(self) -> None:
        layer = self.settings.config / "applications" / "day" / "staging"
        sftp = f'uri="{self.sftp.uri}" secretRef="SOAK_SFTP" hostKey="{self.sftp.host_key}"'
        s3 = f'uri="s3://feeds/in" secretRef="SOAK_S3" endpoint="{self.s3.access.endpoint}"'
        zones = f'<landingZone id="bank" type="sftp" {sftp} settle="{SETTLE}" maxFiles="200"/>'
        zones += f'<landingZone id="cloud" type="s3" {s3} settle="{SETTLE}" maxFiles="200"/>'
        texts = {"resources/zones.xml": f"<resources>{zones}</resources>", "schemas/feed.json": json.dumps(CONTRACT)}
        for feed in range(self.feeds):
            name = f"feed{feed:02d}"
            source = f'<csv id="s" landing="{self.zone(feed)}" pattern="{name}_.*" schemaRef="schemas/feed.json"/>'
            if (agreed := agreed_with(feed)) is not None:
                pattern = f"{name}_[0-9]{{5}}{agreed.pattern}"
                source = source.replace(f"{name}_.*", pattern)
                source = source.replace("/>", f" {agreed.attributes}>{agreed.children}</csv>")
            texts[f"pipelines/{name}.xml"] = (
                f'<pipeline id="{name}" version="1.0" layer="staging"><metadata><appName>day</appName></metadata>'
                f'<sources>{source}</sources><targets><hive table="staging.{name}" mode="append"/></targets>'
                '<errorPolicy onRecordError="quarantine"/></pipeline>'
            )
        for name, text in texts.items():
            path = layer / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def act(self, acts: dict[int, list[Act]], when: str) -> None:
        """What senders do now: one `sftp` for the bank's, one rclone for the cloud's; without rclone, boto3."""
        batch, cloud = [], []
        for feed, own in sorted(acts.items()):
            for each in (act for act in own if act.when == when):
                if self.zone(feed) == "bank":
                    batch.append(self._by_sftp(each, len(batch)))
                elif RCLONE is not None:
                    cloud.append(each)
                else:
                    self._by_s3(each)
        if batch:
            by_sftp(self.sftp, "\n".join(batch) + "\n")
        if cloud:
            self._by_rclone(cloud)

    def _by_rclone(self, acts: Sequence[Act]) -> None:
        """A bucket knows no other name for an object: it is put under the new one and removed under the old."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            put, gone = Path(name) / "put", Path(name) / "gone"
            put.mkdir()
            for act in acts:
                if act.kind in ("put", "rename"):
                    (put / act.name).write_bytes(act.content)
            old = [act.old or act.name for act in acts if act.kind != "put"]
            gone.write_text("".join(f"/{each}\n" for each in old))
            by_rclone(self.s3, "copy", "--ignore-times", "--no-traverse", put, "land:feeds/in")
            if old:
                by_rclone(self.s3, "delete", "--files-from-raw", gone, "land:feeds/in")

    def bank_under_another_key(self, look: Callable[[], Tick]) -> None:
        """The bank's server comes back with another host key: it is not talked to."""
        path = self.sftp.root.parent / "host_key"
        own = path.read_bytes()
        self.stop_bank()
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(path))
        self.sftp.start_again()
        assert "is not the one we know" in (look().skipped or "")
        self.stop_bank()
        path.write_bytes(own)
        self.sftp.start_again()

    def stop_bank(self) -> None:
        assert self.sftp.process is not None
        self.sftp.process.kill()
        self.sftp.process.wait()

    def _by_sftp(self, act: Act, number: int) -> str:
        there = f"{self.sftp.root}/{act.name}".replace('"', '\\"')
        if act.kind == "remove":
            return f'rm "{there}"'
        if act.kind == "rename":
            return f'rename "{self.sftp.root}/{act.old}" "{there}"'
        local = self.folder / f"put-{number}"
        local.write_bytes(act.content)
        return f'put "{local}" "{there}"'

    def _by_s3(self, act: Act) -> None:
        client, key = self.s3.client, f"in/{act.name}"
        if act.kind == "put":
            client.put_object(Bucket="feeds", Key=key, Body=act.content)
        elif act.kind == "rename":
            client.put_object(Bucket="feeds", Key=key, Body=act.content)
            client.delete_object(Bucket="feeds", Key=f"in/{act.old}")
        else:
            client.delete_object(Bucket="feeds", Key=key)


def live(world: World, plan: Day, lake: Lake, catalog: Catalog, say: Console) -> tuple[int, int]:
    """Lets the day pass; how many ticks were skipped, and runs lost their server."""
    application = catalog.application("day")
    assert application is not None
    opened = zone_opener(world.settings.data, SecretResolver())
    bank = next(zone for zone in application.zones if zone.id == "bank")
    skipped, lost = 0, 0
    for number in range(len(plan.rounds) + 3):
        acts = {feed: list(own) for feed, own in plan.rounds[number].items()} if number < len(plan.rounds) else {}
        world.act(acts, BEFORE)
        if number % 4 == 3:  # the bank's server is killed: one tick finds nobody, nothing counts as gone
            world.stop_bank()
            skipped += tick(world.settings, application, bank, lambda: opened(bank)).skipped is not None
            world.sftp.start_again()
        if number % 4 == 1:
            world.bank_under_another_key(lambda: tick(world.settings, application, bank, lambda: opened(bank)))
            skipped += 1
        claims = []
        for zone in application.zones:
            found = tick(world.settings, application, zone, lambda zone=zone: opened(zone))
            skipped += found.skipped is not None
            claims += found.claims
        world.act(acts, BETWEEN)
        newest = {claim.pipeline: claim.id for claim in claims}  # a run takes those before its own too
        if number % 4 == 2:  # the bank's server is gone when the first of its runs comes to copy
            lost += _run_without_bank(world, lake, catalog, newest)
        for pipeline, claim in sorted(newest.items()):
            checked = catalog.pipeline("day", pipeline)
            assert checked is not None
            run_pipeline(lake, checked, run_id=f"round {number}", claim_id=claim)
        say.print(f"round {number}: {len(claims)} claims, {len(newest)} runs")
    return skipped, lost


def _run_without_bank(world: World, lake: Lake, catalog: Catalog, claims: Mapping[str, str]) -> int:
    """How many runs ended because the server was gone: the next takes up their claims."""
    of_bank = sorted(name for name in claims if world.zone(int(name.removeprefix("feed"))) == "bank")
    for name in of_bank[:1]:
        checked = catalog.pipeline("day", name)
        assert checked is not None
        world.stop_bank()
        try:
            run_pipeline(lake, checked, run_id=f"lost {name}", claim_id=claims[name])
        except ZoneUnreachable:
            return 1
        finally:
            world.sftp.start_again()
    return 0


def reconciled(world: World, plan: Day, lake: Lake, catalog: Catalog) -> dict[str, Counter[str]]:
    """By misbehaviour: files, what they ended as, and differences from what they had to."""
    with lake.ledger.read() as session:
        landed = session.execute(select(LandedFile.name, LandedFile.status)).all()
        missed = session.execute(select(Look.name, Look.outcome).where(Look.outcome.is_not(None))).all()
        strangers = set(session.scalars(select(ZoneFile.name).where(ZoneFile.state == UNMATCHED)))
    rows: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for feed in range(world.feeds):
        for layer, into in (("staging", rows), ("exceptions", rejected)):
            root = world.settings.application_data / "day" / layer / f"feed{feed:02d}"
            if root.exists():
                column = "id" if layer == "staging" else "source_file"
                into.update(delta_dataset(root).to_table(columns=[column])[column].to_pylist())
    landed_of, missed_of, rejected_of = (_by_stem(told) for told in (landed, missed, rejected.items()))
    found: dict[str, Counter[str]] = {}
    for each in plan.stories:
        line = found.setdefault(each.misbehaviour, Counter())
        line["files"] += 1
        names = {act.name.partition(".csv.gz")[0] for acts in each.acts.values() for act in acts}
        stems = {_stem(name) for name in names}
        own = Counter(status for stem in stems for status in landed_of[stem])
        looks = Counter(outcome for stem in stems for outcome in missed_of[stem])
        line.update({f"{status}": count for status, count in (own + looks).items()})
        line["rows"] += sum(rows.pop(i, 0) for i in each.accepted)
        line["rejected"] += sum(count for stem in stems for count in rejected_of[stem])
        line["expected rows"] += len(each.accepted)
        wrong = own != Counter(each.files) or looks != Counter(each.looks)
        wrong |= not set(each.unmatched) <= strangers
        line["differences"] += wrong
    found["(rows nobody sent)"] = Counter({"differences": sum(rows.values())} if rows else {})
    for each in plan.stories:
        found[each.misbehaviour]["expected rejected"] += each.rejected
    differences = verify(lake, catalog)
    found["(lake against itself)"] = Counter({"differences": len(differences)})
    for each in found.values():
        each["differences"] += each["rows"] != each["expected rows"]
        each["differences"] += each["rejected"] != each["expected rejected"]
    return found


def _by_stem(told: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    """What was told of files, by story."""
    found: dict[str, list[T]] = defaultdict(list)
    for name, what in told:
        found[_stem(name)].append(what)
    return found


def _stem(name: str) -> str:
    """What all files of one story have in common: feedNN_NNNNN."""
    at = name.find("feed")
    return name[at : at + 12]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make soak")
    for option, default in (("files", 5000), ("feeds", 40), ("rounds", 6), ("seed", 1)):
        parser.add_argument(f"--{option}", type=int, default=default)
    chosen = parser.parse_args(arguments)
    say = Console(width=160)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="datalake-soak-") as name, ExitStack() as stack:
        root = Path(name)
        sftp = stack.enter_context(openssh_server(root / "sshd"))
        s3 = stack.enter_context(versity_server(root / "s3") if VERSITYGW else moto_server())
        s3.bucket("feeds", versioned=True)
        secret = {"access_key_id": s3.access.access_key_id, "secret_access_key": s3.access.secret_access_key}
        os.environ |= {"SOAK_SFTP": sftp.private_key.decode(), "SOAK_S3": json.dumps(secret)}
        os.environ["SOAK_PGP"] = str(pgp_key())
        settings = Settings(root / "config", root / "data", "sail")
        settings.data.mkdir()
        world = World(settings, sftp, s3, chosen.feeds, root)
        world.define()
        keeps = frozenset(feed for feed in range(chosen.feeds) if world.zone(feed) == "cloud")
        plan = day(chosen.files, chosen.feeds, chosen.rounds, chosen.seed, keeps)
        catalog = load_catalog(settings.config, registry())
        engine = stack.enter_context(open_engine("sail", None))
        lake = stack.enter_context(open_lake(settings, catalog, engine))
        skipped, lost = live(world, plan, lake, catalog, say)
        found = reconciled(world, plan, lake, catalog)
    return _told(found, skipped, lost, time.monotonic() - began, say)


def _told(found: dict[str, Counter[str]], skipped: int, lost: int, seconds: float, say: Console) -> int:
    columns = (
        "files", "published", "duplicate", "held", "withdrawn", "unpacked", "changed", "gone", "rows", "rejected",
        "differences",
    )  # fmt: skip
    table = Table("misbehaviour", *columns)
    for name, line in found.items():
        table.add_row(name, *(str(line[column] or "") for column in columns))
    say.print(table)
    differences = sum(line["differences"] for line in found.values())
    files = sum(line["files"] for line in found.values())
    servers = f"{skipped} ticks skipped, {lost} runs lost their server"
    say.print(f"{files} files, {servers}, {differences} differences, {seconds:.0f} s")
    return int(differences > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
