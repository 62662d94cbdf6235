"""A writer like the daemon's journal: small transactions, each on disk before its last row's number is printed.

`python writer.py DATABASE` writes until it is killed.
"""

import sys
import time

import apsw

ROWS_PER_TRANSACTION = 4
# Without any pause litestream, which must write a row of its own now and then, finds no gap for seconds.
PAUSE_S = 0.001


def main(database: str) -> None:
    connection = apsw.Connection(database)
    connection.set_busy_timeout(5_000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute("CREATE TABLE IF NOT EXISTS readings (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")
    while True:
        with connection:
            for _ in range(ROWS_PER_TRANSACTION):
                connection.execute("INSERT INTO readings (body) VALUES (randomblob(300))")
        print(connection.last_insert_rowid(), flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main(sys.argv[1])
