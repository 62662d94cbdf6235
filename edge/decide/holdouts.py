"""Who is left alone: of every play a share of the subjects, so that what it does can be told from what happens
anyway."""

import hashlib

from edge.decide.playbook import Play, Playbook
from edge.events import Trial


def is_held_out(key: str, trial: str, subject: str, share: float) -> bool:
    """Whether a trial leaves a subject alone; `share` (0 to 1) of all subjects are.

    A keyed hash decides (BLAKE2b, RFC 7693), so the answer is the same after a restart, on a restored box and on every
    site that has the key, nobody can foresee it without the key, and trials are independent of each other. Who is held
    out at a small share is held out at every larger one.
    """
    digest = hashlib.blake2b(
        f"{trial}\0{subject}".encode("utf-8", "surrogatepass"),
        key=key.encode()[:64],
        digest_size=8,
        person=b"holdout",
    ).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def draw(playbook: Playbook, play: Play, subject: str) -> tuple[Trial, ...]:
    """The trials of a play for a subject: first that of the whole play, then those of its steps, if they have any."""
    if playbook.holdouts is None:
        return ()
    shares = {"": playbook.share(play)} | {step.name: step.holdout for step in play.step if step.name}
    return tuple(
        Trial(
            step=step,
            share=share,
            held_out=is_held_out(playbook.holdouts.key, f"{play.name}\0{step}", subject, share),
        )
        for step, share in shares.items()
        if share > 0
    )
