"""Trains the pack `device-anomaly`: how likely it is that a reading shows a device that does not run as usual.

    python -m models.train.device_anomaly [--data FOLDER] [--out FOLDER] [--key FILE]

A small network over the features of models.features.windows, learnt from made series (models.train.series) and, where
`--data` holds the folder `nab`, from half of NAB's files, with made faults put into their quiet stretches. SKAB, where
it is there, is measured on and never learnt from. The same data give the same bytes, on one kind of processor.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it carries no types

from models.features.windows import FEATURES
from models.pack import Manifest, Metric, Pack, Source, Tensor, read_pack
from models.runtime import load
from models.tasks.device_anomaly import INPUT, PROBABILITY, WEIGHTS, DeviceAnomaly
from models.train.evaluate_device_anomaly import evaluate
from models.train.layer_graph import constant, hidden_layer, parts, tensor
from models.train.packing import key_option, write_pack
from models.train.quantize import quantize_layers
from models.train.recorded import SKAB_LEARNT, Bench, Watched, read_nab, read_skab
from models.train.series import Floats, Series, made, with_fault
from models.train.windowed import Rows, features_of

OUT = Path(__file__).parents[1] / "packs" / "device-anomaly"
LABEL = "device_anomaly"
MODEL_FILE = "model.onnx"
ROWS = "readings"
ABOUT = (
    "Watches any numeric sensor of a device and says how likely it is that its reading shows a device "
    "that does not run as usual: spikes, steps, drifts, growing noise, oscillation, values outside the usual range, "
    "stuck sensors, late readings. It needs about 200 readings before it says much. It compares a sensor with itself "
    "over its last two thousand readings: what lasts becomes usual within some hundred, and a fault that was there "
    "from the start is not seen. Beside it each device is learnt on the site: after 400 rows how its sensors stand "
    "together, and in `outstation score` after 600 readings the rhythm of a sensor read every minute or more seldom. "
    "A machine in order that drifts to where it has not been is then called too. Probabilities of single sensors are "
    "calibrated for one faulty reading in twenty; learnt from made series and made faults."
)
ABOUT_ZH = (
    "盯着设备的任意一个数值传感器，判断这次读数是不是不正常：尖峰、台阶、漂移、噪声变大、振荡、超出平常范围、卡死不动、迟到。"
    "大约要有 200 次读数才开始有把握。它拿传感器和自己最近两千次读数比："
    "持续下去的变化几百次后就算平常，一开始就有的故障看不出来。"
    "此外在现场学每台设备：400 行之后学各传感器之间的关系，在 "
    "`outstation score` 里，600 次读数之后学读得慢的传感器的节律。"
    "设备正常、但走到了从没到过的工况，也会被报出来。单个传感器的概率按二十次读数里有一次故障校准；训练用的序列和故障都是做出来的。"
)

MADE_TO_LEARN, MADE_TO_CHECK, MADE_TO_TEST = (11, 2400), (12, 400), (13, 400)  # seed, series
FAULTS_IN_EACH = 6  # copies of a NAB series with a made fault
SHORTEST_QUIET = 600
FAULTY_SHARE = 0.05  # of readings, that the probabilities are calibrated for
MOST_FAULTY, NORMAL_PART = 60, 0.15  # readings learnt of one fault; share of normal ones
NETWORKS, UNITS = 3, 32  # networks learnt apart and averaged, so that chance counts less; units in each
FURTHEST = 6.0  # deviations, to which the network's inputs are clipped
EPOCHS, BATCH, RATE, DECAY = 30, 2048, 4e-3, 1e-4
SEED = 0
WITHIN = 0.05  # of the self-test: kernels round 8-bit layers otherwise
CALM = 20  # readings without alarm that end an episode of alarms
FALSE_EPISODES = 5.0  # in 10,000 normal readings, at the threshold
PROBATION = 0.15  # of a NAB series, which its protocol does not judge
DAY_US = 86_400_000_000

Truth = NDArray[np.bool_]
Scorer = Callable[[Rows], NDArray[np.float32]]
Figures = dict[str, tuple[Any, int]]  # by name a figure and the number of samples it stands on


@dataclass(frozen=True)
class Network:
    """log-odds = relu((clip((features - centre) / scale) @ hidden + bias)) @ out + offset."""

    centre: Rows
    scale: Rows
    hidden: Rows
    bias: Rows
    out: Rows
    offset: float

    def inputs(self, features: Rows) -> Rows:
        """What enters the layer: deviations from a reading as usual, which is 0."""
        return np.clip((features - self.centre) * (1 / self.scale), -FURTHEST, FURTHEST)

    def log_odds(self, features: Rows) -> Rows:
        """The log-odds [n] of features [n, len(FEATURES)], in float."""
        log_odds: Rows = np.maximum(self.inputs(features) @ self.hidden + self.bias, 0) @ self.out + np.float32(
            self.offset
        )
        return log_odds


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="A folder with nab/ and skab/.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, help="The folder of the pack.")
@key_option
def main(data: Path | None, out: Path, key: Path | None) -> None:
    """Train the pack, print how it does in float and in INT8, and write it."""
    watched = read_nab(data / "nab") if data else []
    learnt, tested = watched[0::2], watched[1::2]
    benches = read_skab(data / "skab") if data else []
    with threadpool_limits(1):  # sums in one order
        checks = with_windows(made(*MADE_TO_CHECK))
        network = train(with_windows(made(*MADE_TO_LEARN) + _with_faults(learnt)), checks)
    middle = hidden_layer(network.hidden, network.bias, ROWS)
    samples = ({"inputs": network.inputs(features[::10])} for _, features in checks)
    exact, small = whole(network, middle), whole(network, quantize_layers(middle, samples))
    with tempfile.TemporaryDirectory() as folder:
        check = checks + with_windows([one.whole() for one in learnt])
        threshold = pick_threshold(scorer(packed(Path(folder, "unset"), small, 0.5, learnt)), check)
        tests = with_windows(made(*MADE_TO_TEST))
        metrics = [
            measure(scorer(packed(Path(folder, name), model, threshold, learnt)), threshold, tests, tested, benches)
            for name, model in (("float", exact), ("int8", small))
        ]
    in_float = [
        msgspec.structs.replace(one, metric=f"{one.metric}, float") for one in metrics[0] if "AUC" in one.metric
    ]
    alone = metrics[1] + in_float
    packed(out, small, threshold, learnt, alone, key)
    if data:
        packed(out, small, threshold, learnt, alone + with_machines(read_pack(out), data), key)
    click.echo(f"threshold {threshold}")
    click.echo(f"{'':<90} float  INT8")
    for in_float, in_int8 in zip(*metrics, strict=True):
        name = f"{in_int8.metric} ({in_int8.set}, {in_int8.split})"
        click.echo(f"{name:<90} {in_float.value:.3f}  {in_int8.value:.3f}")
    click.echo(f"{out / MODEL_FILE}: {(out / MODEL_FILE).stat().st_size:,} bytes")


# ---- series ------------------------------------------------------------------------------------------------------


def with_windows(series: Sequence[Series]) -> list[tuple[Series, Rows]]:
    """Each series with the features of its readings [n, len(FEATURES)]."""
    return list(zip(series, features_of([(one.at_us, one.values) for one in series]), strict=True))


def _with_faults(watched: Sequence[Watched]) -> list[Series]:
    """NAB series as they are, and their quiet stretches, some upside down, with made faults in them."""
    series = []
    for number, one in enumerate(watched):
        series.append(one.whole())
        stretches = one.quiet(SHORTEST_QUIET)
        for copy in range(FAULTS_IN_EACH):
            random = np.random.default_rng([SEED, number, copy])
            quiet = stretches[random.integers(len(stretches))]
            series.append(with_fault(random, replace(quiet, values=quiet.values * random.choice([-1, 1]))))
    return series


# ---- learning ----------------------------------------------------------------------------------------------------


def train(learnt: Sequence[tuple[Series, Rows]], checks: Sequence[tuple[Series, Rows]]) -> Network:
    """A network learnt from some series and calibrated on others."""
    features, faulty = _drawn(learnt, np.random.default_rng(SEED))
    network = mean([fit(features, faulty, _weights(faulty), SEED + number) for number in range(NETWORKS)])
    features, faulty = _drawn(checks, np.random.default_rng(SEED + 1))
    log_odds = network.log_odds(features)[:, np.newaxis]
    # Slope and offset that make them log-odds of what was not learnt from (Platt 1999).
    platt = LogisticRegression(C=1e4).fit(log_odds, faulty, _weights(faulty))
    slope = np.float32(platt.coef_[0, 0])
    return replace(network, out=network.out * slope, offset=float(network.offset * slope + platt.intercept_[0]))


def _drawn(series: Sequence[tuple[Series, Rows]], random: np.random.Generator) -> tuple[Rows, Truth]:
    """Some readings of each series: faults count alike, however long they are."""
    drawn, faulty = [], []
    for one, features in series:
        bad, good = np.flatnonzero(one.judged & one.faulty), np.flatnonzero(one.judged & ~one.faulty)
        bad = random.choice(bad, min(len(bad), MOST_FAULTY), replace=False)
        good = random.choice(good, int(NORMAL_PART * len(good)), replace=False)
        drawn.append(features[np.concatenate([bad, good])])
        faulty.append(np.arange(len(bad) + len(good)) < len(bad))
    return np.concatenate(drawn), np.concatenate(faulty)


def _weights(faulty: Truth) -> Floats:
    """Weights under which FAULTY_SHARE of the readings are faulty."""
    share = float(np.mean(faulty))
    return np.where(faulty, FAULTY_SHARE / share, (1 - FAULTY_SHARE) / (1 - share))


def mean(networks: Sequence[Network]) -> Network:
    """The network whose log-odds are the mean of those of networks learnt from the same readings."""
    return replace(
        networks[0],
        hidden=np.concatenate([one.hidden for one in networks], axis=1),
        bias=np.concatenate([one.bias for one in networks]),
        out=(np.concatenate([one.out for one in networks]) / len(networks)).astype(np.float32),
        offset=float(np.mean([one.offset for one in networks])),
    )


def fit(features: Rows, faulty: Truth, weights: Floats, seed: int) -> Network:
    """Fit the network by Adam (Kingma and Ba, 2015) on the weighted log-loss, its rate falling along a cosine."""
    random = np.random.default_rng(seed)
    count = len(FEATURES)
    start = Network(
        centre=np.median(features[~faulty], axis=0).astype(np.float32),
        scale=(features.std(axis=0) + 1e-3).astype(np.float32),
        hidden=(random.normal(size=(count, UNITS)) * np.sqrt(2 / count)).astype(np.float32),
        bias=np.zeros(UNITS, np.float32),
        out=(random.normal(size=UNITS) * np.sqrt(1 / UNITS)).astype(np.float32),
        offset=0.0,
    )
    inputs, truth, weight = start.inputs(features), faulty.astype(np.float32), weights.astype(np.float32)
    layers = [start.hidden, start.bias, start.out, np.zeros(1, np.float32)]
    first, second = [np.zeros_like(layer) for layer in layers], [np.zeros_like(layer) for layer in layers]
    steps = EPOCHS * (len(inputs) // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = random.permutation(len(inputs))
        for begin in range(0, len(inputs) - BATCH + 1, BATCH):
            chosen = order[begin : begin + BATCH]
            gradients = _gradients(layers, inputs[chosen], truth[chosen], weight[chosen])
            step += 1
            rate = RATE * min(1, step / 50) * 0.5 * (1 + np.cos(np.pi * step / (steps + 1)))
            for layer, gradient, mean, square in zip(layers, gradients, first, second, strict=True):
                mean += 0.1 * (gradient - mean)
                square += 0.001 * (gradient * gradient - square)
                layer -= (
                    np.float32(rate)
                    * (mean / np.float32(1 - 0.9**step))
                    / (np.sqrt(square / np.float32(1 - 0.999**step)) + np.float32(1e-8))
                )
    return replace(start, offset=float(layers[3][0]))  # the other layers were changed in place


def _gradients(layers: list[Rows], inputs: Rows, truth: Rows, weight: Rows) -> list[Rows]:
    hidden, bias, out, offset = layers
    active = np.maximum(inputs @ hidden + bias, 0)
    error = (1 / (1 + np.exp(-(active @ out + offset))) - truth) * weight / np.float32(len(inputs))
    back = np.outer(error, out) * (active > 0)
    decay = np.float32(DECAY)
    return [
        inputs.T @ back + decay * hidden,
        back.sum(axis=0),
        active.T @ error + decay * out,
        error.sum(keepdims=True),
    ]


# ---- the pack ----------------------------------------------------------------------------------------------------


def whole(network: Network, middle: onnx.ModelProto) -> onnx.ModelProto:
    """The network in ONNX around its layer as it is or quantised: from features to the probability and the evidence."""
    node = onnx.helper.make_node
    before = [
        node("Sub", [INPUT, "centre"], ["centred"]),
        node("Mul", ["centred", "scale"], ["scaled"]),
        node("Clip", ["scaled", "least", "most"], ["inputs"]),
    ]
    after = [
        node("Mul", ["active", "out"], ["parts"]),
        node("ReduceSum", ["parts", "units"], ["sum"], keepdims=0),
        node("Add", ["sum", "offset"], ["log_odds"]),
        node("Sigmoid", ["log_odds"], [PROBABILITY]),
    ]
    evidence = parts(middle, head="out", still="nothing", one="one", made=WEIGHTS)
    numbers = {"least": -FURTHEST, "most": FURTHEST, "offset": network.offset, "nothing": 1e-6, "one": 1.0}
    constants = [constant(name, np.array(number, np.float32)) for name, number in numbers.items()]
    constants += [constant("centre", network.centre), constant("scale", 1 / network.scale)]
    constants += [constant("out", network.out), constant("units", np.array([1]))]
    graph = onnx.helper.make_graph(
        [*before, *middle.graph.node, *after, *evidence],
        "device_anomaly",
        [tensor(INPUT, ROWS, len(FEATURES))],
        [tensor(PROBABILITY, ROWS), tensor(WEIGHTS, ROWS, len(FEATURES))],
        [*middle.graph.initializer, *constants],
    )
    model = onnx.helper.make_model(graph, opset_imports=middle.opset_import, ir_version=middle.ir_version)
    onnx.checker.check_model(model)
    return model


def packed(
    folder: Path,
    model: onnx.ModelProto,
    threshold: float,
    learnt: Sequence[Watched],
    measured: Sequence[Metric] = (),
    key: Path | None = None,
) -> Path:
    """Write the pack into a folder; gives the folder."""
    sources = [Source(name="models/train/series.py", licence="Apache-2.0", use="train")]
    if learnt:
        names = ", ".join(one.name for one in learnt)
        sources.append(Source(name=f"Numenta Anomaly Benchmark: {names}", licence="MIT", use="train"))
    manifest = Manifest(
        name="device-anomaly",
        version="0.1.0",
        task="device-anomaly",
        runtime="onnx",
        languages=(),
        licence="Apache-2.0",
        about=ABOUT,
        about_zh=ABOUT_ZH,
        files={},
        model=MODEL_FILE,
        labels=(LABEL,),
        thresholds={LABEL: threshold},
        inputs={INPUT: Tensor(dtype="float32", shape=(-1, len(FEATURES)))},
        outputs={
            PROBABILITY: Tensor(dtype="float32", shape=(-1,)),
            WEIGHTS: Tensor(dtype="float32", shape=(-1, len(FEATURES))),
        },
        sources=tuple(sources),
        metrics=tuple(measured),
    )
    probes = np.random.default_rng(SEED).normal(0, 1, (8, len(FEATURES))).astype(np.float32).round(3)
    content = model.SerializeToString(deterministic=True)
    return write_pack(folder, content, manifest, {INPUT: probes}, within=WITHIN, key=key)


def scorer(folder: Path) -> Scorer:
    """Scores features as the device does."""
    return DeviceAnomaly(load(read_pack(folder))).score


# ---- measuring ---------------------------------------------------------------------------------------------------


def pick_threshold(score: Scorer, series: Sequence[tuple[Series, Rows]]) -> float:
    """The lowest probability, in steps of 0.05, with at most FALSE_EPISODES in 10,000 normal readings."""
    for threshold in np.arange(0.3, 0.95, 0.05).round(2):
        if _false_episodes(score, float(threshold), series) <= FALSE_EPISODES:
            return float(threshold)
    return 0.95


def _false_episodes(score: Scorer, threshold: float, series: Sequence[tuple[Series, Rows]]) -> float:
    """Episodes of alarms in 10,000 readings of series in which nothing is wrong."""
    quiet = [(one, features) for one, features in series if not one.fault]
    episodes = sum(len(_episodes((score(features) >= threshold) & one.judged)) for one, features in quiet)
    return 1e4 * episodes / sum(np.count_nonzero(one.judged) for one, _ in quiet)


def _episodes(alarm: Truth) -> list[int]:
    """The first reading of each episode of alarms; CALM readings without one end it."""
    places = np.flatnonzero(alarm)
    first: list[int] = places[np.diff(places, prepend=-CALM - 1) > CALM].tolist()
    return first


def measure(
    score: Scorer,
    threshold: float,
    tests: Sequence[tuple[Series, Rows]],
    watched: Sequence[Watched],
    benches: Sequence[Bench],
) -> list[Metric]:
    """How a pack does on made series, on NAB series, and on SKAB, none of which it has learnt from."""
    metrics = _on_made(score, threshold, tests)
    if watched:
        metrics += _on_nab(score, threshold, watched)
    if benches:
        metrics += _on_skab(score, threshold, benches)
    return metrics


def _on_made(score: Scorer, threshold: float, tests: Sequence[tuple[Series, Rows]]) -> list[Metric]:
    judged = np.concatenate([one.judged for one, _ in tests])
    faulty = np.concatenate([one.faulty for one, _ in tests])[judged]
    probability = np.concatenate([score(features) for _, features in tests])[judged]
    found = [
        bool((score(features[one.span[0] : one.span[1] + CALM]) >= threshold).any())
        for one, features in tests
        if one.fault
    ]
    figures: Figures = {
        "AUC of readings": (roc_auc_score(faulty, probability), len(faulty)),
        "average precision of readings": (average_precision_score(faulty, probability), len(faulty)),
        "F1 of readings": (f1_score(faulty, probability >= threshold), len(faulty)),
        "share of faults found": (np.mean(found), len(found)),
        "false alarms in 10,000 readings": (_false_episodes(score, threshold, tests), len(faulty)),
    }
    return _metrics(figures, "models/train/series.py", f"seed {MADE_TO_TEST[0]}")


def _on_nab(score: Scorer, threshold: float, watched: Sequence[Watched]) -> list[Metric]:
    """Windows in which there was an alarm, and episodes of alarms outside them; after the probation of each series."""
    hit, false, days = [], 0, 0.0
    for one, features in zip(watched, features_of([(one.at_us, one.values) for one in watched]), strict=True):
        first = int(PROBATION * len(one.values))
        alarm = score(features) >= threshold
        alarm[:first] = False
        hit += [bool(alarm[begin : end + 1].any()) for begin, end in one.windows]
        false += len(_episodes(alarm & ~one.inside))
        days += float(one.at_us[-1] - one.at_us[first]) / DAY_US
    figures: Figures = {
        "share of windows hit": (np.mean(hit), len(hit)),
        "false alarms a day": (false / days, round(days)),
    }
    return _metrics(figures, "NAB", f"{len(watched)} files not learnt from")


def _on_skab(score: Scorer, threshold: float, benches: Sequence[Bench]) -> list[Metric]:
    """Readings told right by the worst of their sensors, after the first 400 of each file, as SKAB's protocol says."""
    features = features_of([(bench.at_us, column) for bench in benches for column in bench.values.T])
    probabilities, anomalous = [], []
    for bench in benches:
        sensors, features = features[: bench.values.shape[1]], features[bench.values.shape[1] :]
        probabilities.append(np.max([score(one) for one in sensors], axis=0)[SKAB_LEARNT:])
        anomalous.append(bench.anomalous[SKAB_LEARNT:])
    probability, truth = np.concatenate(probabilities), np.concatenate(anomalous)
    figures: Figures = {"AUC of readings": (roc_auc_score(truth, probability), len(truth))}
    best = max(np.quantile(probability, np.arange(0.02, 1, 0.02)), key=lambda p: f1_score(truth, probability >= p))
    for name, least in (("at the threshold", threshold), (f"at {best:.3f}, the best for F1", best)):
        alarm = probability >= least
        figures[f"F1 of readings {name}"] = (f1_score(truth, alarm), len(truth))
        figures[f"false alarm rate {name}"] = (np.mean(alarm[~truth]), len(truth))
        figures[f"missing alarm rate {name}"] = (np.mean(~alarm[truth]), len(truth))
    return _metrics(figures, "SKAB", f"{len(benches)} files after their first {SKAB_LEARNT} readings")


def with_machines(pack: Pack, data: Path) -> list[Metric]:
    """How the pack does together with what is learnt of each device, which is what a user gets."""
    return [
        Metric(
            metric=f"{one.metric}, with the device known",
            value=round(one.value, 4),
            set=one.set,
            split="all",
            samples=one.samples,
        )
        for one in evaluate(pack, data)
    ]


def _metrics(figures: Figures, data: str, split: str) -> list[Metric]:
    return [
        Metric(metric=name, value=round(float(value), 4), set=data, split=split, samples=samples)
        for name, (value, samples) in figures.items()
    ]


if __name__ == "__main__":
    main()
