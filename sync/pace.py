"""How much may be under way to HQ at once, and how long to wait for its word: measured, because links differ so much.

The window of bytes follows the delay that it causes itself, as LEDBAT does (RFC 6817): it grows while a round trip is
hardly longer than the shortest one, and shrinks when more than TARGET_DELAY_S of our own bytes stand in the link's
queue. So a fresh record never waits long behind a backlog, however slow the link is, and a fast link is filled. The
shortest round trip is measured anew from time to time with nothing else under way, or our own queue would in the end
be taken for the link (LEDBAT++'s periodic slowdown). The wait is TCP's (RFC 6298).

A round trip ends with HQ's acknowledgement, so a slow store at HQ counts as a slow link, as it should.
"""

import math

TARGET_DELAY_S = 0.4
GAIN = 0.25
"""Of a window a round trip. Stable while (shortest round trip + target) / target is less than 1 / GAIN."""
FIRST_WINDOW_BYTES = 8 << 10
LEAST_WINDOW_BYTES = 2 << 10
MOST_WINDOW_BYTES = 8 << 20
LEAST_ENVELOPE_BYTES = 2 << 10
MOST_ENVELOPE_BYTES = 256 << 10
ENVELOPES_A_WINDOW = 8
BASE_FRESH_S = 20.0
FIRST_TIMEOUT_S = 5.0
LEAST_TIMEOUT_S = 2.0
LONGEST_TIMEOUT_S = 60.0


class Pace:
    """The window and the timeout of one connection. Times are seconds of a monotonic clock, sizes bytes as sent."""

    def __init__(self) -> None:
        self.timeout_s = FIRST_TIMEOUT_S
        self.round_trip_s: float | None = None
        self._variation_s = 0.0
        self._window_bytes: float = FIRST_WINDOW_BYTES
        self._growing_fast = True
        self._base_s = math.inf
        self._base_at_s = -math.inf
        self._measuring_base = False
        self._shrunk_at_s = -math.inf

    @property
    def window_bytes(self) -> int:
        """Another envelope may leave while less than this is under way."""
        return LEAST_WINDOW_BYTES if self._measuring_base else int(self._window_bytes)

    @property
    def envelope_bytes(self) -> int:
        """How large the next envelope should be: a small part of the window, so that what is urgent gets in between."""
        return int(min(MOST_ENVELOPE_BYTES, max(LEAST_ENVELOPE_BYTES, self._window_bytes / ENVELOPES_A_WINDOW)))

    def taken(self, size_bytes: int, ahead_bytes: int, left_s: float, now_s: float) -> None:
        """HQ acknowledged an envelope of `size_bytes` that left at `left_s`, when `ahead_bytes` were under way, and was
        sent only once."""
        round_trip_s = max(1e-4, now_s - left_s)
        self._time(round_trip_s)
        self._measure_base(round_trip_s, ahead_bytes, now_s)
        queueing_s = round_trip_s - self._base_s
        if self._growing_fast and queueing_s < TARGET_DELAY_S / 2:
            change = float(size_bytes)
        else:
            if self._growing_fast:
                # It doubled once more while this envelope was under way; what the link carries is known now.
                carried_bytes_a_s = (ahead_bytes + size_bytes) / round_trip_s
                self._set_window(min(self._window_bytes, carried_bytes_a_s * (self._base_s + TARGET_DELAY_S)))
                self._growing_fast = False
            change = GAIN * size_bytes * max(-1.0, (TARGET_DELAY_S - queueing_s) / TARGET_DELAY_S)
        # A window that was not used says nothing about a larger one.
        if change < 0 or ahead_bytes + size_bytes >= self._window_bytes / 2:
            self._set_window(self._window_bytes + change)

    def silent(self, now_s: float) -> None:
        """An envelope was not acknowledged in time."""
        if now_s - self._shrunk_at_s >= self.timeout_s:
            self._shrunk_at_s = now_s
            self._growing_fast = False
            self._set_window(self._window_bytes / 2)
            self.timeout_s = min(LONGEST_TIMEOUT_S, 2 * self.timeout_s)

    def _time(self, round_trip_s: float) -> None:
        if self.round_trip_s is None:
            self.round_trip_s, self._variation_s = round_trip_s, round_trip_s / 2
        else:
            self._variation_s += (abs(self.round_trip_s - round_trip_s) - self._variation_s) / 4
            self.round_trip_s += (round_trip_s - self.round_trip_s) / 8
        wanted_s = self.round_trip_s + 4 * self._variation_s
        self.timeout_s = min(LONGEST_TIMEOUT_S, max(LEAST_TIMEOUT_S, wanted_s))

    def _measure_base(self, round_trip_s: float, ahead_bytes: int, now_s: float) -> None:
        alone = self._measuring_base and ahead_bytes < LEAST_WINDOW_BYTES
        if alone or round_trip_s <= self._base_s:
            self._base_s, self._base_at_s, self._measuring_base = round_trip_s, now_s, False
        elif now_s - self._base_at_s > BASE_FRESH_S:
            self._measuring_base = True

    def _set_window(self, size_bytes: float) -> None:
        self._window_bytes = min(MOST_WINDOW_BYTES, max(LEAST_WINDOW_BYTES, size_bytes))


class Rate:
    """How much a second, lately: what was added fades with a time constant of `FADES_S`."""

    FADES_S = 10.0

    def __init__(self) -> None:
        self._amount = 0.0
        self._at_s = -math.inf

    def add(self, amount: float, now_s: float) -> None:
        """So much more, now."""
        self._amount = self._faded(now_s) + amount
        self._at_s = now_s

    def per_s(self, now_s: float) -> float:
        """The rate as of now."""
        return self._faded(now_s) / self.FADES_S

    def _faded(self, now_s: float) -> float:
        return self._amount * math.exp((self._at_s - now_s) / self.FADES_S) if self._amount else 0.0
