"""The ledger's schema: models and migrations agree, and a crash while migrating leaves nothing half made."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import publishing.ledger
from publishing.decisions import Correction
from publishing.ledger import HEAD, Base, Ledger
from publishing.outbox import OutboxMessage
from publishing.zone_files import LandingDecision
from stewardship.stores import Audit

TABLES_BESIDE = (  # of rooms below; imported, they are in the metadata
    Correction.__tablename__,
    LandingDecision.__tablename__,
    OutboxMessage.__tablename__,
    Audit.__tablename__,
)
KILLED_WHILE_MIGRATING = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from publishing.ledger import Ledger

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.strip().startswith("CREATE TABLE " + sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

Ledger.at(Path(sys.argv[1]))
"""


def test_models_and_migrations_agree(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path)
    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert set(TABLES_BESIDE) <= set(Base.metadata.tables)
    ledger.close()


def test_a_ledger_of_today_is_not_migrated_again() -> None:
    """What HEAD names is the newest revision: else each opening would wait for whoever writes."""
    revisions = Path(publishing.ledger.__file__).with_name("revisions").glob("[0-9]*.py")
    assert max(path.name[:4] for path in revisions) == HEAD


def test_a_crash_while_migrating_leaves_nothing_half_made(tmp_path: Path) -> None:
    for table in ("claim", "batch", "attempt"):
        done = subprocess.run([sys.executable, "-c", KILLED_WHILE_MIGRATING, str(tmp_path), table], check=False)
        assert done.returncode == -signal.SIGKILL
        with sqlite3.connect(tmp_path / "ledger.db") as found:
            assert found.execute("select name from sqlite_master where type = 'table'").fetchall() == []
    Ledger.at(tmp_path).close()


def test_two_that_open_an_empty_lake_at_once_both_get_a_ledger(tmp_path: Path) -> None:
    opening = "import sys; from pathlib import Path; from publishing.ledger import Ledger; Ledger.at(Path(sys.argv[1]))"
    both = [subprocess.Popen([sys.executable, "-c", opening, str(tmp_path)]) for _ in range(2)]
    assert [child.wait(timeout=60) for child in both] == [0, 0]
