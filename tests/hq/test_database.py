"""The seam to SQLite and PostgreSQL: a transaction is whole or not there, whenever the database says what is wrong."""

import pytest

from sync.hq.errors import StoreFailed
from sync.hq.postgres import COPIED_FROM_ROWS
from sync.hq.store import Store

SITES = "SELECT count(*) FROM contact"


@pytest.mark.parametrize("asks_after", [False, True])
def test_a_write_that_fails_undoes_its_transaction_and_the_next_one_works(store: Store, asks_after: bool) -> None:
    def insert_twice() -> None:
        with store.transaction(["a"]):
            store.database.execute("INSERT INTO contact (site) VALUES (?)", "a")
            store.database.execute("INSERT INTO contact (site) VALUES (?)", "a")
            if asks_after:
                store.database.select(SITES)

    with pytest.raises(StoreFailed):
        insert_twice()
    assert store.database.select(SITES) == [(0,)]
    with store.transaction(["a"]):
        store.database.execute("INSERT INTO contact (site) VALUES (?)", "a")
    assert store.database.select(SITES) == [(1,)]


@pytest.mark.parametrize("rows", [1, COPIED_FROM_ROWS])
def test_few_rows_and_many_stand_between_other_writes(store: Store, rows: int) -> None:
    with store.transaction(["a"]):
        store.database.execute("INSERT INTO contact (site) VALUES (?)", "first")
        store.database.bulk("contact", ("site",), [(f"site {number}",) for number in range(rows)])
        store.database.execute("INSERT INTO contact (site) VALUES (?)", "last")
        assert store.database.select(SITES) == [(rows + 2,)]
    assert store.database.select(SITES) == [(rows + 2,)]
