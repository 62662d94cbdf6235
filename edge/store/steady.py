"""The steady clock: microseconds that no setting of the clock moves, and that go on over restarts.

Within a boot it is the time since the machine's boot. Over a boot it goes on from where it was last kept: by the wall
clock, if that says that the machine was off for a time that can be believed, and otherwise as if no time had passed.
A gateway that lost its clock must neither fire what nobody could see, nor hold it back for a year.
"""

import apsw

from edge.events import boot_id, mono_us, now_us

BELIEVED_US = 3 * 24 * 3_600_000_000
"""A machine that was off for longer than this is taken to have lost its clock."""

SET_US = 1_000_000
"""A clock that goes differently by more than this was set."""


class Steady:
    """The steady clock of a journal."""

    def __init__(self, connection: apsw.Connection) -> None:
        row = connection.execute("SELECT at, boot, mono, wall FROM steady").fetchone()
        at, boot, mono, wall = row if row is not None else (0, "", 0, 0)
        if boot == boot_id():
            since = mono_us() - mono
        else:
            off = now_us() - wall
            since = off if off <= BELIEVED_US else 0
        self._ahead = at + max(0, since) - mono_us()
        self._shift = now_us() - self.now()

    def now(self) -> int:
        """The steady clock in microseconds."""
        return self._ahead + mono_us()

    @property
    def shift(self) -> int:
        """What has to be added to a steady time so that people can read it: the gateway's clock less this one. It only
        changes when that clock was set, so that a time reads alike each time."""
        shift = now_us() - self.now()
        if abs(shift - self._shift) > SET_US:
            self._shift = shift
        return self._shift

    def keep(self, connection: apsw.Connection) -> None:
        """Write down where it is."""
        connection.execute(
            "UPDATE steady SET at = ?, boot = ?, mono = ?, wall = ?", (self.now(), boot_id(), mono_us(), now_us())
        )
