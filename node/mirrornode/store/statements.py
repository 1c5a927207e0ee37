"""Many values in one SQL statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import sqlite3

_Value = TypeVar("_Value")

MAX_BATCH = 500  # values in one IN (…): below SQLite's oldest limit of 999
ROWS_AT_ONCE = 32  # of at most 30 values, for the same reason


def batches(values: Iterable[_Value]) -> Iterator[tuple[list[_Value], str]]:
    """Cut values for `IN (…)` into lists SQLite takes, each with its question marks."""
    remaining = iter(values)
    while batch := list(islice(remaining, MAX_BATCH)):
        yield batch, ",".join("?" * len(batch))


def insert_rows(
    connection: sqlite3.Connection, statement: str, rows: Iterable[Sequence[Any]]
) -> None:
    """Run `statement` for rows of values, many at a time, inside the caller's transaction.

    Every step of a statement gives the interpreter's lock away and takes it back, and with
    `executemany` each row is a step: beside busy threads that costs more than the rows.

    Args:
        statement: With `{rows}` where the values of all rows belong: `INSERT … VALUES {rows}`.
    """
    remaining = iter(rows)
    while batch := list(islice(remaining, ROWS_AT_ONCE)):
        row = f"({','.join('?' * len(batch[0]))})"
        # Few rows one by one: each number of them would be one more statement to prepare.
        groups = [batch] if len(batch) == ROWS_AT_ONCE else [[one] for one in batch]
        for group in groups:
            connection.execute(
                statement.format(rows=",".join([row] * len(group))),
                [value for values in group for value in values],
            )
