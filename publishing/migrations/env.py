"""Alembic's entry: online only, over the ledger's own connection, all in one transaction.

SQLite would change table by table, and a crash between two of them left a ledger that no run could open (seen). It
bears DDL inside a transaction, if the transaction is begun by hand; the second of two that migrate at once waits.
"""

from alembic import context

from publishing.ledger import LOCK, Base

connection = context.config.attributes["connection"]
if connection.dialect.name == "sqlite":
    connection.exec_driver_sql("BEGIN IMMEDIATE")
else:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=True, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
