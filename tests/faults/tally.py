"""How many faults were done and what they cost, kept after every round so that a run can be interrupted."""

from collections import Counter
from pathlib import Path

import msgspec

from tests.faults.schedule import NAMES

FAULTS_PER_ROUND = 25
_BEGIN, _END = "<!-- tally: written by ./build.sh faults -->\n", "<!-- end of the tally -->\n"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """A round that was judged. `named` are records that HQ knows to be gone; `unseen` those of a box that was destroyed
    which neither HQ nor the replica had heard of; `kept` is where the folders of a bad round lie."""

    number: int
    seed: int
    faults: dict[str, int]
    records: int
    lost: int
    doubled: int
    altered: int
    named: int
    misdated: int
    took_s: float
    drain_s: float
    unseen: int = 0
    remarks: tuple[str, ...] = ()
    kept: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or altered."""
        return not (self.lost or self.doubled or self.altered)


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """A run: how many faults it is to do from which seed, and the rounds so far."""

    faults: int
    seed: int
    rounds: tuple[Round, ...] = ()

    @property
    def done(self) -> int:
        """Faults done so far."""
        return sum(sum(round.faults.values()) for round in self.rounds)

    def open_rounds(self) -> list[tuple[int, int]]:
        """The rounds that are left to do: number, and how many faults each has."""
        done = {round.number for round in self.rounds}
        whole, rest = divmod(self.faults, FAULTS_PER_ROUND)
        sizes = [FAULTS_PER_ROUND] * whole + [rest] * bool(rest)
        return [(number, size) for number, size in enumerate(sizes) if number not in done]

    def with_round(self, round: Round) -> "Tally":
        """The tally with one round more."""
        return msgspec.structs.replace(self, rounds=(*self.rounds, round))

    def line(self) -> str:
        """The last line of a run."""
        lost, doubled, altered = (sum(getattr(r, name) for r in self.rounds) for name in ("lost", "doubled", "altered"))
        return f"faults {self.done} lost {lost} doubled {doubled} altered {altered}"

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        unfinished.rename(path)


def read_tally(path: Path) -> Tally | None:
    """The tally at `path`, if there is one."""
    return msgspec.json.decode(path.read_bytes(), type=Tally) if path.exists() else None


def table(tally: Tally) -> str:
    """The tally as the Markdown table of docs/faults.md.

    What a bad round cost stands at every kind of fault that was in it, because nobody knows which of them it was.
    """
    done: Counter[str] = Counter()
    cost: dict[str, Counter[str]] = {name: Counter() for name in ("lost", "doubled", "altered")}
    for round in tally.rounds:
        done.update(round.faults)
        for name, counter in cost.items():
            counter.update({kind: getattr(round, name) for kind in round.faults})
    lines = ["| fault | done | lost | doubled | altered |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {kind} | {done[kind]:,} | {cost['lost'][kind]} | {cost['doubled'][kind]} | {cost['altered'][kind]} |"
        for kind in NAMES
    ]
    total = {name: sum(getattr(round, name) for round in tally.rounds) for name in cost}
    lines.append(f"| **all** | **{tally.done:,}** | {total['lost']} | {total['doubled']} | {total['altered']} |")
    records, named, unseen = (
        sum(getattr(round, name) for round in tally.rounds) for name in ("records", "named", "unseen")
    )
    took_s = sum(round.took_s for round in tally.rounds)
    drains = sorted(round.drain_s for round in tally.rounds)
    lines += [
        "",
        f"Seed {tally.seed}, {len(tally.rounds)} rounds, {records:,} records compared, {named} of them gone "
        f"and named, {unseen} unseen; {took_s / max(1, tally.done):.2f} s a fault in a round. HQ had everything within "
        f"{drains[len(drains) // 2] if drains else 0:.0f} s of a round's end in half of the rounds, "
        f"{drains[-1] if drains else 0:.0f} s in the slowest.",
    ]
    return "\n".join(lines) + "\n"


def write_into(document: Path, tally: Tally) -> None:
    """Put the table into the document, between its two marks."""
    text = document.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    document.write_text(before + _BEGIN + "\n" + table(tally) + "\n" + _END + after, "utf-8")
