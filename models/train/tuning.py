"""The encoder that ours begins as, fine-tuned on texts and what holds for each."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from models.features.tokens import IDS, KINDS, PAD, TokenReader
from models.train.encoder import Batch, Recipe, filled, fine_tune, log_odds_of, new_head
from models.train.pretrained import HEADS

AT_ONCE = 64

Texts = Sequence[tuple[str, str]]
"""Texts, each with what was said before it."""


def learn(
    params: dict[str, Any],
    reader: TokenReader,
    texts: Callable[[random.Random], Texts],
    truth: NDArray[np.bool_],
    recipe: Recipe,
) -> dict[str, Any]:
    """The encoder's parameters after fine-tuning, with a head for the labels.

    `texts` gives them as one pass sees them, always in the same order; `truth` [texts, labels] is what holds for them.
    """
    began_s = time.monotonic()
    wanted = truth.astype(np.float32)

    def epoch(number: int) -> tuple[list[Batch], list[NDArray[np.float32]]]:
        draw = random.Random(1000 * recipe.seed + number)
        inputs, _ = reader.read(*zip(*texts(draw), strict=True))
        lengths = (inputs[IDS] != PAD).sum(1).tolist()
        order = sorted(range(len(lengths)), key=lambda place: lengths[place] * draw.uniform(0.9, 1.1))
        groups = [order[first : first + recipe.batch] for first in range(0, len(order), recipe.batch)]
        groups = [group for group in groups if len(group) == recipe.batch]
        draw.shuffle(groups)
        longest = [max(lengths[place] for place in group) for group in groups]
        batches = [
            filled(inputs[IDS][group, :length], inputs[KINDS][group, :length])
            for group, length in zip(groups, longest, strict=True)
        ]
        return batches, [wanted[group] for group in groups]

    def report(number: int, loss: float) -> None:
        click.echo(
            f"pass {number + 1} of {recipe.passes}: loss {loss:.3f}, {time.monotonic() - began_s:.0f} s", err=True
        )

    head = new_head(params["word"].shape[1], truth.shape[1], recipe.seed)
    return fine_tune(params | {"head": head}, HEADS, epoch, recipe, report)


def log_odds(params: dict[str, Any], reader: TokenReader, texts: Texts) -> NDArray[np.float64]:
    """What the encoder says of texts: log-odds [texts, labels]."""
    batches = [_batch(reader, texts[first : first + AT_ONCE]) for first in range(0, len(texts), AT_ONCE)]
    return np.concatenate(list(log_odds_of(params, HEADS, batches))).astype(np.float64)


def _batch(reader: TokenReader, texts: Texts) -> Batch:
    inputs, _ = reader.read([text for text, _ in texts], [before for _, before in texts])
    return filled(inputs[IDS], inputs[KINDS])
