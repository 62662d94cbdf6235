"""Who is heard when: live before recordings, each by one thread at a time, and none forgotten."""

import threading
import time

from edge.bench.waiting import until
from edge.perceive.crew import Crew


class Counted:
    """A track of so many steps."""

    def __init__(self, steps: int, live: bool, order: list[str], name: str) -> None:
        self.live = live
        self.left = steps
        self.together = 0
        self.most_together = 0
        self._order = order
        self._name = name

    def step(self) -> bool:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        time.sleep(0.002)  # as long as a step takes
        self._order.append(self._name)
        self.together -= 1
        self.left -= 1
        return self.left > 0


def test_who_speaks_now_is_heard_before_recordings() -> None:
    order: list[str] = []
    begun, gate = threading.Event(), threading.Event()

    class Gate(Counted):
        def step(self) -> bool:
            begun.set()
            gate.wait()
            return super().step()

    crew = Crew(1)
    crew.put(Gate(1, False, order, "gate"))
    begun.wait()
    recording, live = Counted(5, False, order, "recording"), Counted(5, True, order, "live")
    crew.put(recording)
    crew.put(live)
    gate.set()
    until(lambda: len(order) == 11, "all is heard")
    crew.stop()
    assert order == ["gate", *["live"] * 5, *["recording"] * 5]


def test_while_somebody_speaks_recordings_leave_a_thread_free() -> None:
    order: list[str] = []
    crew = Crew(2)
    for number in range(4):
        crew.put(Counted(50, False, order, f"recording {number}"))
    live = Counted(1, True, order, "live")
    crew.put(live)
    until(lambda: live.left == 0, "who speaks is heard")
    assert len(order) < 150
    until(lambda: len(order) == 201, "and the recordings after that")
    crew.stop()


def test_a_track_is_heard_by_one_thread_at_a_time_and_again_when_more_came_meanwhile() -> None:
    order: list[str] = []
    crew = Crew(4)
    track = Counted(300, True, order, "live")
    while track.left > 0:
        crew.put(track)
        crew.put(track)
    crew.stop()
    assert track.most_together == 1
    assert len(order) >= 300
