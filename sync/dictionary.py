"""Trains a zstd dictionary on the site's own rows, for envelopes so small that zstd finds nothing to repeat in them.

    python -m sync.dictionary JOURNAL     the dictionary on stdout; nothing when there is none worth having

A process of its own, because training takes seconds and memory that the link's does not have to spare.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import msgpack

from sync.envelope import Row, pack
from sync.errors import EnvelopeInvalid, SyncError
from sync.outbox import Outbox
from sync.protocol import LANES, Lane
from sync.ranges import Run

LEAST_ROWS = 1000
MOST_ROWS_OF_A_LANE = 2000
MOST_BYTES_OF_A_LANE = 1 << 20
MOST_SAMPLE_BYTES = 4 << 10
"""What is longer finds its own repeats."""
SIZE_BYTES = 16 << 10
LEAST_GAIN = 0.1
TESTED = 5
"""Every so many-th row is kept from training, and says whether the dictionary is any good."""

Sample = tuple[int, Lane, Row]


def samples(outbox: Outbox) -> list[Sample]:
    """The newest short rows of each lane with their epoch, so many of each that none outweighs the others."""
    found: list[Sample] = []
    for lane in LANES:
        epochs = [epoch for epoch in reversed(outbox.epochs()) if outbox.newest(epoch, lane)]
        if epochs:
            epoch = epochs[0]
            run: Run = (1, outbox.newest(epoch, lane))
            rows = outbox.rows(epoch, lane, run, "newest", MOST_BYTES_OF_A_LANE, MOST_ROWS_OF_A_LANE)
            found += [(epoch, lane, row) for row in rows if len(row.record) <= MOST_SAMPLE_BYTES]
    return found


def train(known: Sequence[Sample]) -> bytes:
    """A dictionary that makes envelopes of one row at least LEAST_GAIN smaller on rows that it was not made from;
    empty if these rows give none."""
    learnt = [sample for place, sample in enumerate(known) if place % TESTED]
    tested = known[::TESTED]
    if len(known) < LEAST_ROWS:
        return b""
    try:
        content = zstandard.train_dictionary(SIZE_BYTES, [msgpack.encode([row]) for _, _, row in learnt]).as_bytes()
        plain_bytes, short_bytes = (one_by_one_bytes(tested, dictionary) for dictionary in (b"", content))
    except (zstandard.ZstdError, EnvelopeInvalid):
        return b""
    return content if short_bytes <= (1 - LEAST_GAIN) * plain_bytes else b""


def one_by_one_bytes(rows: Sequence[Sample], dictionary: bytes) -> int:
    """How many bytes these rows take to HQ, each in an envelope of its own. Raises EnvelopeInvalid."""
    key = Ed25519PrivateKey.generate()
    return sum(
        len(pack(key, site="site", epoch=epoch, lane=lane, rows=[row], dictionary=dictionary))
        for epoch, lane, row in rows
    )


def main(arguments: list[str]) -> int:
    """Train on the journal that is the only argument; gives the exit code."""
    if len(arguments) != 1:
        print("usage: python -m sync.dictionary JOURNAL", file=sys.stderr)
        return 2
    try:
        outbox = Outbox.open(Path(arguments[0]))
        if outbox is not None:
            with contextlib.suppress(BrokenPipeError):  # the link was killed meanwhile
                os.write(sys.stdout.fileno(), train(samples(outbox)))
    except SyncError as fault:
        print(fault, file=sys.stderr)
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
