"""CreateDatabase: writes the customers, products and orders of a small shop."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from lro_gateway.demo.databases import Databases, open_to_write, publish
from lro_gateway.demo.operations import Progress, batch_size
from lro_gateway.demo.threads import Threads
from lro_gateway.demo.v1 import database_admin_pb2 as pb

DEFAULT_ROWS = 10_000
LARGEST_ROWS = 10_000_000

_LARGEST_BATCH = 5_000
_PRODUCTS = ("tea", "coffee", "cocoa", "biscuits", "honey", "jam", "a cup", "a kettle")
_TABLES = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL) STRICT;
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, cents INTEGER NOT NULL) STRICT;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    product_id INTEGER NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL,
    ordered_at TEXT NOT NULL
) STRICT;
"""
_INDEX = "CREATE INDEX orders_by_customer ON orders (customer_id)"


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Makes one database of generated rows, which are the same every time."""

    databases: Databases
    database_id: str
    row_count: int

    async def __call__(self, progress: Progress[pb.CreateDatabaseMetadata]) -> pb.Database:
        """Write the rows to a file, and publish the file once it is complete."""
        final = self.databases.path(self.database_id)
        with self.databases.unfinished(final) as path:
            with closing(open_to_write(path)) as connection:
                await self._fill(connection, progress)
            publish(path, final)
        return self.databases.describe(self.database_id)

    async def _fill(
        self, connection: sqlite3.Connection, progress: Progress[pb.CreateDatabaseMetadata]
    ) -> None:
        threads = Threads(connection.interrupt)
        metadata = progress.metadata
        metadata.phase = metadata.CREATING_TABLES
        await threads.run(_create_tables, connection, self.row_count)
        await progress.step()

        metadata.phase = metadata.INSERTING_ORDERS
        size = batch_size(self.row_count, _LARGEST_BATCH)
        for first in range(1, self.row_count + 1, size):
            last = min(first + size - 1, self.row_count)
            await threads.run(_insert_orders, connection, first, last)
            metadata.rows_inserted = last
            metadata.progress_percent = 95 * last // self.row_count
            await progress.step()

        metadata.phase = metadata.INDEXING
        await threads.run(connection.execute, _INDEX)
        await progress.step()


def _create_tables(connection: sqlite3.Connection, row_count: int) -> None:
    connection.executescript(_TABLES)
    # SQLite keeps this number in the header of the file, so the rows are never counted again.
    connection.execute(f"PRAGMA user_version = {row_count:d}")
    connection.executemany(
        "INSERT INTO products VALUES (?, ?, ?)",
        ((i, name, 150 + 75 * i) for i, name in enumerate(_PRODUCTS, 1)),
    )
    countries = ("CZ", "DE", "ES", "FR", "GB", "IN", "JP", "US")
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO customers VALUES (?, ?, ?)",
        ((i, f"Customer {i}", countries[i % 8]) for i in range(1, _customers(row_count) + 1)),
    )
    connection.execute("COMMIT")


def _insert_orders(connection: sqlite3.Connection, first: int, last: int) -> None:
    customers = _customers(last)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?, datetime(1767225600 + 60 * ?, 'unixepoch'))",
        (
            (i, i * 7919 % customers + 1, i * 31 % len(_PRODUCTS) + 1, i % 5 + 1, i)
            for i in range(first, last + 1)
        ),
    )
    connection.execute("COMMIT")


def _customers(row_count: int) -> int:
    return min(1000, row_count)
