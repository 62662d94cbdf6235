"""The pace over a link of a known rate: full, and yet never a long queue."""

import pytest

from sync.pace import LEAST_TIMEOUT_S, Pace, Rate


@pytest.mark.parametrize("round_trip_s", [0.02, 0.1, 0.6])
@pytest.mark.parametrize("bytes_a_s", [25_000, 1_000_000])
def test_a_link_is_filled_and_its_queue_stays_short(bytes_a_s: int, round_trip_s: float) -> None:
    pace, now_s, free_s, sent_bytes = Pace(), 0.0, 0.0, 0
    under_way: list[tuple[float, int, int, float]] = []
    delays_s = []
    while now_s < 120.0:
        ahead = sum(size for _, size, _, _ in under_way)
        if ahead < pace.window_bytes:
            size = pace.envelope_bytes
            free_s = max(free_s, now_s) + size / bytes_a_s
            under_way.append((free_s + round_trip_s, size, ahead, now_s))
            if now_s > 20:
                delays_s.append(free_s - now_s)
            continue
        now_s, size, ahead, left_s = under_way.pop(0)
        pace.taken(size, ahead, left_s, now_s)
        sent_bytes += size
    assert sent_bytes / 120 > 0.8 * bytes_a_s
    # After the link was emptied to measure it, a whole window leaves at once.
    assert max(delays_s) < round_trip_s + 0.6


def test_silence_halves_the_window_once_a_timeout_and_prolongs_it() -> None:
    pace = Pace()
    before, timeout_s = pace.window_bytes, pace.timeout_s
    pace.silent(10.0)
    pace.silent(10.1)
    assert (pace.window_bytes, pace.timeout_s) == (before // 2, 2 * timeout_s)
    pace.taken(1000, 0, 10.0, 10.05)
    assert pace.timeout_s == LEAST_TIMEOUT_S


def test_a_rate_fades() -> None:
    rate = Rate()
    for second in range(100):
        rate.add(50, float(second))
    assert 45 < rate.per_s(99.5) < 55
    assert rate.per_s(200.0) < 0.1
