"""Trains the packs `device-rul` and `device-rul-litert`: how many cycles a machine has left, and what says so.

    python -m models.train.device_rul --data FOLDER [--out FOLDER] [--key FILE]

A small network over the features of models.features.life, learnt from the engines of `FOLDER`/cmapss that ran until
they failed. All constants were chosen by what five networks say of the fifth of these engines that each did not learn
from; the bounds are widened by the same. The engines that were cut before they failed are only measured on. The same
data give the same bytes, on one kind of processor.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
from numpy.typing import NDArray

from models.features.life import BEGINNING, CAUSES, FEATURES
from models.pack import Manifest, Metric, Runtime, Source, Tensor, read_pack
from models.runtime import load
from models.tasks.device_rul import CAP, COVERS, FURTHEST, INPUT, LIFE, WEIGHTS, DeviceRul, Life
from models.train.layer_graph import hidden_layer
from models.train.life_graph import ROWS, Network, Rows, lite, whole
from models.train.packing import key_option, write_pack
from models.train.quantize import quantize_layers
from models.train.turbofans import SET, Engine, read_cut, read_failed

OUT = Path(__file__).parents[1] / "packs"
NAME, LITE_NAME = "device-rul", "device-rul-litert"
FILES: dict[Runtime, str] = {"onnx": "model.onnx", "litert": "model.tflite"}
ABOUT = (
    "Says of a turbofan engine (NASA's C-MAPSS, one operating condition, one kind of wear) how many cycles it has left "
    "until it fails, between bounds that hold for eight in ten, and how many of them each sensor took or gave. More "
    "than 125 are not told apart. It needs the machine's first 20 cycles to compare it with, and says nothing of a "
    "machine whose sensors are unlike those it learnt from: another kind of machine needs a pack of its own."
)

UNITS, NETWORKS = 64, 5  # in each network; networks learnt apart and averaged, so that chance counts less
EPOCHS, BATCH, RATE, DECAY = 30, 512, 1e-2, 1e-3
BOUNDS = ((1 - COVERS) / 2, (1 + COVERS) / 2)  # the quantiles
UNIT_CYCLES = 50.0  # that the network reckons in, so that its numbers are near 1
FOLDS = 5
FURTHEST_CUT = 150  # cycles left, up to which an engine's moments are judged: beyond, all are in as good order
SEED = 0
WITHIN = 2.0  # cycles, of the self-test: kernels round 8-bit layers otherwise

Cycles = NDArray[np.float64]
Predict = Callable[[Rows], list[Life]]


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder with cmapss/.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, help="The folder of both packs.")
@key_option
def main(data: Path, out: Path, key: Path | None) -> None:
    """Train the packs, print how they do in float, INT8 and LiteRT INT8, and write them."""
    failed = [(engine.features()[BEGINNING - 1 :], engine.life()[BEGINNING - 1 :]) for engine in read_failed(data)]
    held_out, truth = out_of_fold(failed)
    wider = widening(held_out, truth)
    features, life = joined(failed)
    network = widened(fit(features, life), wider)
    samples = features[::10]
    middle = hidden_layer(network.hidden, network.bias, ROWS)
    small = whole(network, quantize_layers(middle, [{"inputs": network.inputs(samples)}]))
    made: dict[str, tuple[Runtime, bytes]] = {
        "float": ("onnx", content(whole(network, middle))),
        "INT8": ("onnx", content(small)),
        "LiteRT INT8": ("litert", lite(network, samples)),
    }
    crossed = figures(bounded(widened_rows(held_out, wider)), truth, SET, f"{len(failed)} engines, {FOLDS} folds")
    cut = read_cut(data)
    measured = {}
    for name, (runtime, model) in made.items():
        with tempfile.TemporaryDirectory() as folder:
            measured[name] = measure(predictor(packed(Path(folder), NAME, runtime, model, features)), cut)
    in_float = [msgspec.structs.replace(one, metric=f"{one.metric}, float") for one in measured["float"][:1]]
    for pack, name in ((NAME, "INT8"), (LITE_NAME, "LiteRT INT8")):
        runtime, model = made[name]
        packed(out / pack, pack, runtime, model, features, [*measured[name], *in_float, *crossed], key)
        file = out / pack / FILES[runtime]
        click.echo(f"{file}: {file.stat().st_size:,} bytes")
    click.echo(f"{'':<80} {'  '.join(f'{name:>11}' for name in measured)}")
    for row in zip(*measured.values(), strict=True):
        click.echo(f"{f'{row[0].metric} ({row[0].split})':<80} {'  '.join(f'{one.value:>11.3f}' for one in row)}")
    for one in crossed:
        click.echo(f"{f'{one.metric} ({one.split}), float':<80} {one.value:>11.3f}")


# ---- learning ----------------------------------------------------------------------------------------------------


def joined(engines: Sequence[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    """Features and lives of all moments of some engines."""
    features, lives = zip(*engines, strict=True)
    return np.concatenate(features), np.concatenate(lives)


def out_of_fold(engines: Sequence[tuple[Rows, Rows]]) -> tuple[Rows, Cycles]:
    """What networks say [n, 3] of moments of engines that they have not learnt from, and the lives there, capped."""
    said, truth = [], []
    fold_of = np.random.default_rng(SEED).permutation(len(engines)) % FOLDS
    for fold in range(FOLDS):
        network = fit(*joined([one for one, of in zip(engines, fold_of, strict=True) if of != fold]))
        features, life = joined([one for one, of in zip(engines, fold_of, strict=True) if of == fold])
        judged = life <= FURTHEST_CUT
        said.append(network.life(features[judged]))
        truth.append(np.minimum(life[judged], CAP))
    return np.concatenate(said), np.concatenate(truth).astype(np.float64)


def widening(said: Rows, truth: Cycles) -> tuple[float, float]:
    """By which share of the distance between the bounds the lower must fall and the upper rise, so that each is passed
    as seldom as it should be by moments not learnt from (conformalised quantiles; Romano, Patterson and Candès, 2019,
    relative to the distance)."""
    _, low, high = said.T.astype(np.float64)
    apart = np.maximum(high - low, 1.0)
    level = BOUNDS[1]
    return float(np.quantile((low - truth) / apart, level)), float(np.quantile((truth - high) / apart, level))


def widened_rows(said: Rows, wider: tuple[float, float]) -> Rows:
    """Lives and bounds [n, 3] with the bounds moved."""
    return (said @ _mover(wider)).astype(np.float32)


def widened(network: Network, wider: tuple[float, float]) -> Network:
    """The network with its bounds moved, which is a matter of its last weights alone."""
    matrix = _mover(wider)
    return replace(network, head=network.head @ matrix, offset=network.offset @ matrix)


def _mover(wider: tuple[float, float]) -> Rows:
    down, up = wider
    return np.array([[1, 0, 0], [0, 1 + down, -up], [0, -down, 1 + up]], np.float32)


def fit(features: Rows, life: Rows) -> Network:
    """A network learnt from moments of engines: the mean of NETWORKS of one hidden layer, fitted by AdamW on the
    squared error of the capped life and the pinball loss of its bounds."""
    scale = (1 / (features.std(axis=0) + 1e-6)).astype(np.float32)
    start = Network(
        centre=in_good_order(features[life >= CAP], scale),
        scale=scale,
        hidden=np.zeros(0, np.float32),
        bias=np.zeros(0, np.float32),
        head=np.zeros(0, np.float32),
        offset=np.zeros(0, np.float32),
    )
    inputs = jnp.asarray(start.inputs(features))
    truth = jnp.asarray(np.minimum(life, CAP) / UNIT_CYCLES)
    layers = jax.jit(_learnt)(jax.random.split(jax.random.PRNGKey(SEED), NETWORKS), inputs, truth)
    hidden, bias, head, offset = (np.asarray(one, np.float32) for one in layers)
    return replace(
        start,
        hidden=np.concatenate(list(hidden), axis=1),
        bias=np.concatenate(list(bias)),
        head=np.concatenate(list(head)) * np.float32(UNIT_CYCLES / NETWORKS),
        offset=offset.mean(axis=0) * np.float32(UNIT_CYCLES),
    )


def in_good_order(features: Rows, scale: Rows) -> Rows:
    """Of some moments of machines in good order the one nearest to their mean. The mean itself has no noise, which no
    machine lacks, so a network says nothing sensible of it, and evidence would be given against that."""
    usual: Rows = features[np.argmin(np.sum(((features - features.mean(axis=0)) * scale) ** 2, axis=1))]
    return usual


def _learnt(keys: jax.Array, inputs: jax.Array, truth: jax.Array) -> Any:
    """The layers of a network for each key."""
    batches = len(inputs) // BATCH
    optimiser = optax.adamw(optax.cosine_onecycle_schedule(EPOCHS * batches, RATE), weight_decay=DECAY)

    def learn(key: jax.Array) -> Any:
        layers = _start(key, inputs.shape[1])

        def step(state: Any, chosen: jax.Array) -> Any:
            layers, memory = state
            updates, memory = optimiser.update(jax.grad(_loss)(layers, inputs[chosen], truth[chosen]), memory, layers)
            return (optax.apply_updates(layers, updates), memory), None

        def epoch(state: Any, key: jax.Array) -> Any:
            order = jax.random.permutation(key, len(inputs))[: batches * BATCH]
            return jax.lax.scan(step, state, order.reshape(batches, BATCH))

        state, _ = jax.lax.scan(epoch, (layers, optimiser.init(layers)), jax.random.split(key, EPOCHS))
        return state[0]

    return jax.lax.map(learn, keys)


def _start(key: jax.Array, count: int) -> tuple[jax.Array, ...]:
    first, second = jax.random.split(key)
    return (
        jax.random.normal(first, (count, UNITS)) * np.sqrt(2 / count),
        jnp.zeros(UNITS),
        jax.random.normal(second, (UNITS, 3)) * np.sqrt(0.5 / UNITS),
        jnp.zeros(3),
    )


def _loss(layers: tuple[jax.Array, ...], inputs: jax.Array, truth: jax.Array) -> jax.Array:
    hidden, bias, head, offset = layers
    error = truth[:, None] - (jax.nn.relu(inputs @ hidden + bias) @ head + offset)
    levels = jnp.array(BOUNDS)
    pinball = jnp.maximum(levels * error[:, 1:], (levels - 1) * error[:, 1:])
    return jnp.mean(error[:, 0] ** 2) + jnp.mean(pinball)


# ---- the packs ---------------------------------------------------------------------------------------------------


def content(model: Any) -> bytes:
    """An ONNX model as the bytes of its file."""
    return bytes(model.SerializeToString(deterministic=True))


def packed(
    folder: Path,
    name: str,
    runtime: Runtime,
    model: bytes,
    features: Rows,
    measured: Sequence[Metric] = (),
    key: Path | None = None,
) -> Path:
    """Write a pack into a folder; `features` are those its self-test is made after. Gives the folder."""
    manifest = Manifest(
        name=name,
        version="0.1.0",
        task="device-rul",
        runtime=runtime,
        languages=(),
        licence="Apache-2.0",
        about=ABOUT,
        files={},
        model=FILES[runtime],
        inputs={INPUT: Tensor(dtype="float32", shape=(-1, len(FEATURES)))},
        outputs={
            LIFE: Tensor(dtype="float32", shape=(-1, 3)),
            WEIGHTS: Tensor(dtype="float32", shape=(-1, len(CAUSES))),
            FURTHEST: Tensor(dtype="float32", shape=(-1, 1)),
        },
        sources=(Source(name=f"{SET}, the engines that failed", licence="US Government work", use="train"),),
        metrics=tuple(measured),
    )
    random = np.random.default_rng(SEED)
    probes = random.normal(features.mean(axis=0), features.std(axis=0), (8, len(FEATURES))).astype(np.float32)
    return write_pack(folder, model, manifest, {INPUT: probes}, within=WITHIN, key=key)


def predictor(folder: Path) -> Predict:
    """Predicts from features as the device does."""
    return DeviceRul(load(read_pack(folder))).predict


# ---- measuring ---------------------------------------------------------------------------------------------------


def measure(predict: Predict, cut: Sequence[Engine]) -> list[Metric]:
    """How a pack does on the last moment of engines cut before they failed, as the set is always judged."""
    lives = predict(np.stack([engine.features()[-1] for engine in cut]))
    truth = np.minimum([engine.left for engine in cut], CAP)
    return figures(lives, truth, SET, "engines cut before they failed, at their last cycle")


def bounded(said: Rows) -> list[Life]:
    """Lives of what a network says [n, 3], within 0 and the cap."""
    rows = np.clip(said, 0, CAP).tolist()
    return [Life(cycles=life, low=min(low, life), high=max(high, life)) for life, low, high in rows]


def figures(lives: Sequence[Life], truth: Cycles, data: str, split: str) -> list[Metric]:
    """The root of the mean squared error, how often the bounds hold, how far they are apart, and NASA's score (Saxena
    et al., 2008: an error counts more when the machine fails before it was to), against capped lives."""
    error = np.array([life.cycles for life in lives]) - truth
    low, high = (np.array([getattr(life, name) for life in lives]) for name in ("low", "high"))
    values = {
        f"RMSE, cap {CAP:.0f}": np.sqrt(np.mean(error**2)),
        "mean error": np.mean(error),
        f"share between the bounds of {COVERS:.0%}": np.mean((low <= truth) & (truth <= high)),
        "cycles between the bounds": np.mean(high - low),
        "NASA's score for each engine": np.mean(np.expm1(np.where(error < 0, -error / 13, error / 10))),
    }
    return [
        Metric(metric=name, value=round(float(value), 4), set=data, split=split, samples=len(truth))
        for name, value in values.items()
    ]


if __name__ == "__main__":
    main()
