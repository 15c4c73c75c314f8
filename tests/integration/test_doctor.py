"""`lake doctor` as a process: a wrong key, a server that is gone, a missing secret and bucket, each with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from resources.engine import Engine
from tests.landing_servers import PASSWORD, free_port, light_sftp_server, moto_server
from tests.promised_feed import Feed

LAKE = Path(sys.executable).with_name("lake")
NO_ENGINE = Engine("sail", None)  # type: ignore[arg-type]  # none is opened


def doctor(feed: Feed, *arguments: str, **secrets: str) -> tuple[int, dict[str, tuple[bool, str]]]:
    where = {"DATALAKE_CONFIG": str(feed.settings.config), "DATALAKE_DATA": str(feed.settings.data)}
    done = subprocess.run(
        [str(LAKE), "doctor", *arguments, "--json"], env={**os.environ, **where, **secrets}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    examined: list[dict[str, Any]] = json.loads(done.stdout)["examined"]
    assert not [value for value in secrets.values() if value in done.stdout + done.stderr]
    return done.returncode, {f"{e['kind']} {e['subject']}": (e["ok"], e["said"]) for e in examined}


def test_what_is_well_is_said_too(tmp_path: Path) -> None:
    feed = Feed(tmp_path, NO_ENGINE)
    feed.define()
    feed.land("a.csv", "id,v")
    code, found = doctor(feed)
    assert code == 0
    assert found[f"ledger {feed.settings.data / 'ledger.db'}"] == (True, "answers")
    ok, said = found["zone app/zone (local)"]
    assert ok
    assert said.startswith("1 entries")


def test_each_thing_that_is_wrong_outside_is_told_with_what_to_do(tmp_path: Path) -> None:
    feed = Feed(tmp_path / "lake", NO_ENGINE)
    feed.define(source='pgpSecretRef="NO_PGP" pgpPassphraseRef="NO_WORDS"')
    with light_sftp_server(tmp_path / "server") as server, moto_server() as s3:
        key = f'hostKey="{server.host_key}"'
        nowhere = f"sftp://bank@127.0.0.1:{free_port()}/in"
        zones = (
            f'<landingZone id="well" type="sftp" uri="{server.uri}" secretRef="GOOD" {key}/>',
            f'<landingZone id="wrong" type="sftp" uri="{server.uri}" secretRef="BAD" {key}/>',
            f'<landingZone id="other" type="sftp" uri="{server.uri}" secretRef="GOOD" hostKey="SHA256:{"a" * 43}"/>',
            f'<landingZone id="gone" type="sftp" uri="{nowhere}" secretRef="GOOD" {key}/>',
            f'<landingZone id="unset" type="sftp" uri="{server.uri}" secretRef="NOT_SET" {key}/>',
            f'<landingZone id="empty" type="s3" uri="s3://no-such-bucket/in" secretRef="S3" '
            f'endpoint="{s3.access.endpoint}"/>',
            '<landingZone id="later" type="local" uri="landing/later"/>',
            '<calendar id="old"><holiday date="2020-12-25"/></calendar>',
            '<calendar id="new"><holiday date="2020-12-25"/><holiday date="9999-12-31"/></calendar>',
        )
        path = feed.settings.config / "applications" / "app" / "staging" / "resources" / "more.xml"
        path.write_text(f"<resources>{''.join(zones)}</resources>")
        cloud = json.dumps({"access_key_id": "key", "secret_access_key": "secret-of-a-test"})
        code, found = doctor(feed, "app", GOOD=PASSWORD, BAD="a wrong password", S3=cloud)
    assert code == 1
    zones_of = {name.split("/")[1].split(" ")[0]: said for name, said in found.items() if name.startswith("zone ")}
    assert {name for name, (ok, _) in zones_of.items() if ok} == {"zone", "well", "later"}
    assert "is not there yet" in zones_of["later"][1]
    expected = {
        "wrong": "does not let sender in; check secretRef and user",
        "other": "the server's key is not the one we know; ask its owner",
        "gone": "the server does not answer",
        "unset": "secret 'NOT_SET' is missing; looked at the environment variable NOT_SET",
        "empty": "there is no bucket no-such-bucket; make it, or correct the uri",
    }
    for name, words in expected.items():
        assert words in zones_of[name][1], zones_of[name]
    assert found["secret app: NOT_SET"][0] is False
    assert found["secret app: NO_PGP"][1].startswith("of pipeline feed: secret 'NO_PGP' is missing")
    assert found["secret app: NO_WORDS"][0] is False
    assert found["calendar app/old"][1].startswith("its last holiday is 2020-12-25: add those to come")
    assert found["calendar app/new"] == (True, "2 holidays, the last on 9999-12-31")
    assert found["secret app: GOOD"][0] is True
