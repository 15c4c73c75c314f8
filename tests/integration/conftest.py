"""Real servers, each started once for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres_server import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; `postgres.database()` is the URL of a new empty database."""
    with postgres_server() as server:
        yield server
