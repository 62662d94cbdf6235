"""A site whose play `budget` leaves half of its subjects alone: for tests of what comes of decisions."""

import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge.daemon import Opened, open_site
from edge.events import Decision, Note, Outcome
from edge.site import make_site, read_site
from edge.store.journal import Offer
from edge.store.outcomes import Claim
from edge.store.rows import select
from tests.records import an_event

WORRY = "预算不够，这个报价太贵了，超出我们今年的预算。"
GOAL = """
[holdouts]
key = "a-key-of-the-site"
share = 0.5
[[goal]]
name = "closed"
question = { en = "Did they buy?", zh = "成交了吗？" }
within_days = 30
"""


BUDGET = """
[[play]]
name = "budget"
label = "budget_concern"
title = { en = "Customer worries about the budget", zh = "客户担心预算" }
goal = "closed"

[[play.step]]
role = "rep"
channel = "card"
what = { en = "Ask what is approved.", zh = "问清批了多少。" }
within_minutes = 2

[[play.step]]
role = "finance"
channel = "webhook"
what = { en = "Work out an instalment plan.", zh = "测算分期方案。" }
within_minutes = 30
payload = { template = "instalments", subject = "{subject}" }

[[play.step]]
role = "rep"
channel = "card"
what = { en = "Send the customer the plan.", zh = "把方案发给客户。" }
within_minutes = 240

"""


def a_site(folder: Path, step: str = "") -> Path:
    """A site folder, of whose plays only this one has a goal; `step` is put into its first step."""
    make_site(folder, sample=False)
    playbook = folder / "playbook.toml"
    text = playbook.read_text("utf-8")
    text = text[text.index("# ---- danger to people") :]
    text = re.sub(r'(?m)^goal = ".*"\n', "", text)
    text = re.sub(r'\[\[play\]\]\nname = "budget".*?(?=\[\[play\]\]\n)', "", text, flags=re.DOTALL)
    budget = BUDGET.replace("[[play.step]]\n", f"[[play.step]]\n{step}", 1)
    playbook.write_text(text + budget + GOAL, "utf-8")
    return folder


class Tried:
    """The gateway's stages on that site, without its threads."""

    def __init__(self, folder: Path) -> None:
        self.stack = ExitStack()
        self.opened: Opened = open_site(read_site(folder), self.stack)
        self.journal, self.pipeline = self.opened.journal, self.opened.pipeline

    def close(self) -> None:
        """As after a stop."""
        self.opened.listener.stop()
        self.stack.close()

    def note(self, *said: tuple[str, str], at: int | None = None) -> None:
        """Notes: subject and text; what they lead to has happened."""
        events = [
            an_event(Note(text=text, author="Lin"), subject, **({} if at is None else {"at": at}))
            for subject, text in said
        ]
        self.journal.accept([Offer(events=[(None, event) for event in events])]).result()
        self.pipeline.drain()

    def worried(self, subjects: Iterable[str]) -> dict[str, Decision]:
        """Customers who worry about the budget, and what was decided about each."""
        chosen = list(subjects)
        self.note(*((subject, WORRY) for subject in chosen))
        decisions = self.decisions()
        return {one.subject: one for one in decisions if one.subject in chosen and one.play == "budget"}

    def decisions(self) -> list[Decision]:
        """All decisions, oldest first."""
        return select(self.journal.readers.connection(), Decision, "ORDER BY seq")

    def actions(self, decision: Decision) -> int:
        """How many actions a decision has."""
        sql = "SELECT count(*) FROM actions WHERE decision_id = ?"
        found: Any = self.journal.readers.connection().execute(sql, (decision.id,)).get
        return int(found)

    def tell(self, decision: Decision, value: float, after_s: float = 60.0) -> tuple[Outcome, bool]:
        """Say what came of a decision, so many seconds later."""
        claim = Claim(
            value=value, at=decision.at + round(after_s * 1e6), by="Lin", source="http", decision_id=decision.id
        )
        judged = self.journal.tell(claim).result()
        return judged.outcome, judged.outcome in judged.new

    def tell_all(self, decisions: Iterable[Decision], treated: float, left_alone: float) -> None:
        """Say of each what came of it, by its arm, one after the other as people do."""
        for one in decisions:
            self.tell(one, treated if one.arm == "treatment" else left_alone)
        self.pipeline.drain()
