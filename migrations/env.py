"""Alembic's way in: run the migrations on the connection that `ofcd.store.migrate` hands over.

There is no alembic.ini: `ofcd migrate` and the start of the relay are the ways to run them, and
the tests compare the outcome with `ofcd.store.tables`.
"""

from __future__ import annotations

from alembic import context

from ofcd.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's tables are transactional, if BEGIN is said: engine.py does
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
