"""Alembic runs this file for each migration, on the connection that `records.upgrade` opens."""

from alembic import context

from lro_gateway.records.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite changes a column only by a copy of its table.
    render_as_batch=True,
)
context.run_migrations()
