"""Whether there is room for what comes from outside: the sources ask here before they accept anything.

What the journal may still grow by is the free disk and its own free pages: rows that were deleted leave those, and
SQLite uses them again; the file never shrinks. A quarter of the floor has to be free disk whatever the pages are:
SQLite's log and the replica's are written there first, so that what was accepted can be worked on and cards can move.
"""

import shutil
from pathlib import Path

from edge.errors import NoRoom
from edge.site import SiteSettings
from edge.store.journal import Journal

MB = 2**20


class Room:
    """The room on the disk where a journal lies, and in the outbox."""

    def __init__(self, journal: Journal, settings: SiteSettings) -> None:
        self._journal = journal
        self._disk = settings.disk
        self._outbox = settings.outbox
        self.outbox_excess = 0
        """How many bytes the outbox is beyond its budget with nothing left in it that may go (edge/upkeep.py)."""

    def check(self, file_bytes: int = 0) -> None:
        """Raise NoRoom when nothing more may be accepted now, or not a file of so many bytes, which only the disk can
        take."""
        sentence = self.shut(file_bytes)
        if sentence:
            raise NoRoom(sentence)

    def shut(self, file_bytes: int = 0) -> str:
        """Why nothing more (or not this file) may be accepted now, in a sentence; '' when it may."""
        if self.outbox_excess > 0:
            return (
                f"Nothing more is accepted: what waits for HQ is {self.outbox_excess / MB:,.1f} MiB beyond total_mb "
                f"({self._outbox.total_mb}) of [outbox], and none of it may go; bring up the link, or raise total_mb."
            )
        return self.full(file_bytes)

    def full(self, file_bytes: int = 0) -> str:
        """Why the disk takes nothing more (or not this file), in a sentence; '' when it does."""
        floor = self._disk.floor_mb * MB
        free, pages = self._free(), self._pages()
        if free >= floor + file_bytes or (not file_bytes and free >= floor // 4 and free + pages >= floor):
            return ""
        what = f"a file of {file_bytes // MB:,} MiB is not" if file_bytes > MB else "nothing more is"
        return (
            f"The disk is full, {what} accepted: {free // MB:,} MiB are free for {self._folder} and {pages // MB:,} in "
            f"the journal, floor_mb of [disk] is {self._disk.floor_mb}; free the disk, and it goes on by itself."
        )

    def warning(self) -> str:
        """What is said to people while room is made; '' when there is enough."""
        if self.short_on(self._folder) <= 0:
            return ""
        return (
            f"Only {self._free() // MB:,} MiB are free for {self._folder}: the oldest sound goes to make room, then "
            "readings, of which roll-ups stay; free the disk."
        )

    def short(self) -> int:
        """How many bytes the journal's room is below low_mb; not above 0: it is not."""
        return self._disk.low_mb * MB - self._free() - self._pages()

    def short_on(self, folder: Path) -> int:
        """How many bytes the free disk of a folder is below low_mb; not above 0: it is not."""
        return self._disk.low_mb * MB - shutil.disk_usage(folder).free

    @property
    def _folder(self) -> Path:
        return self._journal.path.parent

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free

    def _pages(self) -> int:
        connection = self._journal.readers.connection()
        return int(connection.pragma("freelist_count")) * int(connection.pragma("page_size"))
