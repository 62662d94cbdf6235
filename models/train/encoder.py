"""A BERT encoder (Devlin et al., 2019) in JAX: its weights read from where they are published, and fine-tuned here.

A turn is read after the turns before it, as BERT reads a pair. Each label looks at the turn's tokens with a query of
its own (label-wise attention, Mullenbach et al., 2018), so its log-odds are a sum over the tokens of the turn, plus a
bias: what a token adds is evidence that the model itself puts out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
from numpy.typing import NDArray

from models.features.tokens import MOST_TOKENS, MOST_TOKENS_BEFORE, PAD

Params = dict[str, Any]
Batch = dict[str, NDArray[Any]]

# What batches are filled up to, so that few shapes are compiled.
LENGTHS = (16, 24, 32, 48, 64, 96, 128, MOST_TOKENS + MOST_TOKENS_BEFORE + 3)
FORBIDDEN = -1e9


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How an encoder is fine-tuned: the highest learning rate, passes over the turns, turns in a batch, the share of
    activations that is dropped, and the weight decay (Loshchilov and Hutter, 2019)."""

    rate: float
    head_rate: float = 1e-3
    passes: int = 8
    batch: int = 16
    dropout: float = 0.1
    decay: float = 0.01
    warm: float = 0.1
    seed: int = 0


def new_head(width: int, labels: int, seed: int) -> Params:
    """A head that has learnt nothing yet: for each label a query, what it adds for each token, and a bias."""
    draw = np.random.default_rng(seed)
    return {
        "query": (0.02 * draw.standard_normal((width, labels))).astype(np.float32),
        "value": (0.02 * draw.standard_normal((width, labels))).astype(np.float32),
        "bias": np.zeros(labels, np.float32),
    }


def forward(params: Params, heads: int, batch: Mapping[str, Any], key: Any = None, dropout: float = 0.0) -> Any:
    """What each token adds to each label's log-odds [turns, tokens, labels]; with the bias their sum is the log-odds.

    `batch` has `ids`, `kinds` (1 for the tokens of the turn itself) and `mask` (1 for tokens that are there), each
    [turns, tokens]. With a `key` activations are dropped at random, as in training.
    """
    keys = iter(jax.random.split(key, 3 * len(params["layers"]["q"][0]) + 2)) if key is not None else None

    def drop(x: Any, key: Any) -> Any:
        if key is None or dropout == 0:
            return x
        return jnp.where(jax.random.bernoulli(key, 1 - dropout, x.shape), x / (1 - dropout), 0)

    def linear(x: Any, weights: Any) -> Any:
        return x @ weights[0] + weights[1]

    ids, kinds, mask = batch["ids"], batch["kinds"], batch["mask"]
    turns, tokens = ids.shape
    x = params["word"][ids] + params["position"][:tokens] + params["kind"][kinds]
    x = drop(_normed(x, params["norm"]), next(keys) if keys else None)
    bias = jnp.where(mask == 1, 0.0, FORBIDDEN)[:, None, None, :]
    size = x.shape[-1] // heads

    def split(y: Any) -> Any:
        return y.reshape(turns, tokens, heads, size).transpose(0, 2, 1, 3)

    def layer(x: Any, inputs: Any) -> Any:
        of, layer_key = inputs
        first, second = jax.random.split(layer_key) if key is not None else (None, None)
        q, k, v = (split(linear(x, of[name])) for name in "qkv")
        weights = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(size) + bias, axis=-1)
        mixed = (weights @ v).transpose(0, 2, 1, 3).reshape(turns, tokens, -1)
        x = _normed(x + drop(linear(mixed, of["o"]), first), of["norm_1"])
        inner = jax.nn.gelu(linear(x, of["up"]), approximate=False)
        return _normed(x + drop(linear(inner, of["down"]), second), of["norm_2"]), None

    count = params["layers"]["q"][0].shape[0]
    layer_keys = jax.random.split(next(keys), count) if keys else jnp.zeros((count, 2), jnp.uint32)
    x, _ = jax.lax.scan(layer, x, (params["layers"], layer_keys))
    head = params["head"]
    x = drop(x, next(keys) if keys else None)
    looks = x @ head["query"] + jnp.where((mask == 1) & (kinds == 1), 0.0, FORBIDDEN)[..., None]
    return jax.nn.softmax(looks, axis=1) * (x @ head["value"])


def _normed(x: Any, of: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    spread = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(spread + 1e-12) * of[0] + of[1]


def fine_tune(
    params: Params,
    heads: int,
    epoch: Callable[[int], tuple[list[Batch], list[NDArray[np.float32]]]],
    recipe: Recipe,
    report: Callable[[int, float], None],
) -> Params:
    """The parameters after learning. `epoch(n)` gives the batches of the n-th pass and what holds for their turns
    [turns, labels]; all passes have equally many batches, about."""
    steps = recipe.passes * len(epoch(0)[0])
    schedules = [
        optax.warmup_cosine_decay_schedule(0.0, rate, int(recipe.warm * steps), steps, 0.0)
        for rate in (recipe.rate, recipe.head_rate)
    ]
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.multi_transform(
            {
                "encoder": optax.adamw(schedules[0], weight_decay=recipe.decay, mask=_decays),
                "head": optax.adamw(schedules[1], weight_decay=recipe.decay, mask=_decays),
            },
            {name: "head" if name == "head" else "encoder" for name in params},
        ),
    )
    state = optimiser.init(params)

    def loss_of(params: Params, batch: Batch, truth: Any, key: Any) -> Any:
        log_odds = forward(params, heads, batch, key, recipe.dropout).sum(1) + params["head"]["bias"]
        return optax.sigmoid_binary_cross_entropy(log_odds, truth).sum(-1).mean()

    @jax.jit
    def step(params: Params, state: Any, batch: Batch, truth: Any, key: Any) -> Any:
        loss, slopes = jax.value_and_grad(loss_of)(params, batch, truth, key)
        updates, state = optimiser.update(slopes, state, params)
        return optax.apply_updates(params, updates), state, loss

    key = jax.random.PRNGKey(recipe.seed)
    for number in range(recipe.passes):
        losses = []
        for batch, truth in zip(*epoch(number), strict=True):
            key, now = jax.random.split(key)
            params, state, loss = step(params, state, batch, truth, now)
            losses.append(loss)
        report(number, float(np.mean(losses)))
    learnt: Params = jax.device_get(params)
    return learnt


def _decays(params: Params) -> Any:
    """The layers' matrices decay (each is a stack of all layers'); tables, biases and norms do not."""
    return jax.tree.map(lambda leaf: leaf.ndim == 3, params)


def log_odds_of(params: Params, heads: int, batches: Sequence[Batch]) -> Iterator[NDArray[np.float32]]:
    """The log-odds [turns, labels] of each batch, without dropping anything."""
    run = jax.jit(lambda params, batch: forward(params, heads, batch).sum(1) + params["head"]["bias"])
    for batch in batches:
        yield np.asarray(run(params, batch))


def filled(ids: NDArray[np.int64], kinds: NDArray[np.int64]) -> Batch:
    """The ids and kinds of tokens (models/features/tokens.py) as a batch, filled up to one of LENGTHS."""
    turns, tokens = ids.shape
    length = next(length for length in LENGTHS if length >= tokens)
    batch = {name: np.zeros((turns, length), np.int32) for name in ("ids", "kinds", "mask")}
    batch["ids"][:, :tokens], batch["kinds"][:, :tokens], batch["mask"][:, :tokens] = ids, kinds, ids != PAD
    return batch
