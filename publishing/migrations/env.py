"""Alembic's entry: online only, one transaction a migration."""

from alembic import context
from sqlalchemy import create_engine

from publishing.ledger import Base

url = context.config.get_main_option("sqlalchemy.url")
if url is None:
    raise RuntimeError("sqlalchemy.url is not set; call through publishing.ledger.Ledger")
with create_engine(url).connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
