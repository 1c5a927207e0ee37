"""Many rows in one statement: all of them, in order, however many."""

from __future__ import annotations

import sqlite3

import pytest

from mirrornode.store.statements import ROWS_AT_ONCE, batches, insert_rows


@pytest.mark.parametrize("count", [0, 1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 1])
def test_insert_rows_when_there_are_so_many_then_all_in_order(count: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE things (number, name)")
    rows = [(number, b"%d" % number) for number in range(count)]
    insert_rows(connection, "INSERT INTO things VALUES {rows}", iter(rows))
    assert connection.execute("SELECT * FROM things ORDER BY rowid").fetchall() == rows


def test_insert_rows_when_a_row_is_refused_then_the_error_is_the_databases() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE things (number UNIQUE)")
    rows = [(number % ROWS_AT_ONCE,) for number in range(ROWS_AT_ONCE + 1)]
    with pytest.raises(sqlite3.IntegrityError):
        insert_rows(connection, "INSERT INTO things VALUES {rows}", rows)


def test_batches_hold_everything_with_as_many_marks() -> None:
    values = [b"%d" % number for number in range(1201)]
    cut = list(batches(values))
    assert [value for batch, _ in cut for value in batch] == values
    assert all(marks.count("?") == len(batch) <= 999 for batch, marks in cut)
