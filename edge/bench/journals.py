"""A journal of its own in a temporary folder, and records to fill it with."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.events import Action, ChannelName, Terms, new_id, now_us
from edge.store.journal import Journal

HOUR_US = 3_600_000_000


@contextmanager
def fresh_journal() -> Iterator[tuple[Journal, Path]]:
    """A new journal on disk, and the folder it is in."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        journal = Journal(folder / "journal.db")
        try:
            yield journal, folder
        finally:
            journal.close()


def an_action(channel: ChannelName = "card", *, decision_id: str = "", fires_in_us: int | None = None) -> Action:
    """An action that is due in an hour, and fires by itself after some microseconds (None: never)."""
    at = now_us()
    return Action(
        at=at,
        decision_id=decision_id or new_id(),
        step=0,
        role="rep",
        channel=channel,
        what={"en": "Ring back within the hour", "zh": "一小时内回电"},
        payload={"template": "bench"},
        due=at + HOUR_US,
        fires_at=None if fires_in_us is None else at + fires_in_us,
        terms=Terms(undo_s=600.0),
    )
