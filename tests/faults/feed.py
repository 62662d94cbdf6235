"""What happens at the site while its parts fail: people write notes and settle cards, devices leave their logs.

Like a phone, it offers a note until the gateway has taken it, under a key of the note's own, and remembers what was
taken: that must be in the journal, once.
"""

import random
import threading
import time
from pathlib import Path

import httpx

PAUSE_S = 0.1
CARD_EVERY = 3
LOG_EVERY = 5
ROWS_PER_LOG = 12
SENTENCES = (
    "The hoist tripped twice this morning and shows overcurrent again.",
    "No seals left in the store, please send two sets this week.",
    "They want somebody to ring back before noon.",
    "Gas smell at the pump house, two men felt dizzy.",
    "Quiet shift, nothing to report.",
    "七号提升机又跳闸两次，复位以后能开，怀疑变频器有问题。",
    "三号泵的机封库里一套都没有了，麻烦这周先发两套过来。",
    "上回来换绳的师傅手脚麻利，请代为转达谢意。",
)


class Feed(threading.Thread):
    """Feeds the site whose page is at `url` until `finish`; what comes in which order follows from `seed`."""

    def __init__(self, url: str, inbox: Path, seed: int) -> None:
        super().__init__(name="feed")
        self.taken: dict[str, int] = {}
        """The notes that the gateway took (201): text, and when that was (µs, by the true clock)."""
        self.readings = 0
        """How many readings were left in the inbox."""
        self._url = url
        self._inbox = inbox
        self._chance = random.Random(seed)
        self._finished = threading.Event()

    def finish(self) -> None:
        """End after what is under way was taken."""
        self._finished.set()
        self.join()

    def run(self) -> None:
        """Feed."""
        with httpx.Client(base_url=self._url, timeout=3) as client:
            number = 0
            while not self._finished.wait(PAUSE_S * self._chance.uniform(0.2, 1.8)):
                if self._note(client, number):
                    number += 1
                    if number % CARD_EVERY == 0:
                        self._settle(client)
                    if number % LOG_EVERY == 0:
                        self._leave_log(number // LOG_EVERY)

    def _note(self, client: httpx.Client, number: int) -> bool:
        text = f"{SENTENCES[number % len(SENTENCES)]} ({number})"
        body = {"subject": f"customer-{number % 97}", "author": "Lin", "text": text, "key": f"note-{number}"}
        try:
            taken = client.post("/api/notes", json=body).is_success
        except httpx.HTTPError:
            return False
        if taken:
            self.taken[text] = time.time_ns() // 1000
        return taken

    def _settle(self, client: httpx.Client) -> None:
        """Accept or decline a card, if there is one; whether that was taken only the journal knows."""
        try:
            cards = client.get("/api/cards", params={"state": "open", "limit": 5}).json()
            if isinstance(cards, list) and cards:
                card = self._chance.choice(cards)
                client.post(f"/api/cards/{card['id']}/{self._chance.choice(('accept', 'decline'))}", json={"by": "lin"})
        except (httpx.HTTPError, ValueError):
            return

    def _leave_log(self, number: int) -> None:
        """A device's log; it may fail on a full disk, as a device's own copying would, and is tried again."""
        rows = "".join(
            f"{1_770_000_000 + number * ROWS_PER_LOG + row},pump-{number % 7},{self._chance.uniform(40, 60):.2f}\n"
            for row in range(ROWS_PER_LOG)
        )
        unfinished = self._inbox / f"log-{number}.part"
        while not self._finished.wait(PAUSE_S):
            try:
                unfinished.write_text("time,device,bearing_temp_c\n" + rows)
                unfinished.rename(unfinished.with_suffix(".csv"))
            except OSError:
                continue
            self.readings += ROWS_PER_LOG
            return
