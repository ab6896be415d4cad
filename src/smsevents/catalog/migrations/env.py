"""The script that alembic runs for a migration, on the connection and in the transaction of `schema.migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
