"""The numbers that records for HQ get: none is given twice, also where another box gave the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.store import outbox
from edge.store.journal import Conclusions, Journal
from tests.records import an_action


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def write(journal: Journal, records: int) -> None:
    journal.conclude(Conclusions(actions=[an_action() for _ in range(records)])).result()


def rows(journal: Journal) -> list[tuple[Any, ...]]:
    return journal.readers.connection().execute("SELECT epoch, lane, seq, id FROM outbox ORDER BY 1, 2, 3").fetchall()


def test_what_cannot_have_its_number_at_hq_gets_another_in_a_new_epoch(journal: Journal) -> None:
    write(journal, 6)
    before = rows(journal)
    epoch = before[0][0]
    contested = {(epoch, "now"): [(2, 3), (5, 5), (9, 20)], (epoch, "day"): [(1, 1)]}
    assert journal.write(lambda connection: outbox.renumber(connection, contested)).result() == 3
    after = rows(journal)
    assert [(old, seq) for old, _, seq, _ in after if old == epoch] == [(epoch, 1), (epoch, 4), (epoch, 6)]
    new = [(seq, id) for now, _, seq, id in after if now > epoch]
    assert new == [(1, before[1][3]), (2, before[2][3]), (3, before[4][3])]
    assert journal.write(lambda connection: outbox.renumber(connection, contested)).result() == 0
    write(journal, 1)
    assert rows(journal)[-1][:3] == (after[-1][0], "now", 4)
    assert {id for *_, id in before} <= {id for *_, id in rows(journal)}


def test_two_boxes_whose_clocks_stand_still_do_not_begin_the_same_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "now_us", lambda: 0)
    begun = set()
    for name in ("one", "other"):
        opened = Journal(tmp_path / f"{name}.db")
        opened.write(outbox.begin_epoch).result()
        write(opened, 1)
        begun.add(rows(opened)[0][0])
        opened.close()
    assert len(begun) == 2
