"""Trains the pack `call-mood`: whether a customer is upset, and whether something presses, at each turn of a call.

    python -m models.train.call_mood [--out FOLDER] [--key FILE]

A linear model over one time line (models/features/time_line.py, models/tasks/mood.py), learnt from models/train/calls
and models/train/turns. On what may be learnt from, every turn is scored by a model that has not seen its call or
scenario; these scores fix the calibration and the thresholds, and the model that ships is then learnt from all of it.
The same calls and turns give the same bytes."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC

from models.features.text import FEATURES
from models.features.time_line import COLUMNS, SPOKEN, STEPS
from models.pack import Calibration, Manifest, Metric, Source, Tensor, read_pack
from models.tasks.mood import LOG_ODDS, OF_MOMENTS, OF_WORDS, PROBABILITIES, Mood, inputs_of, see
from models.train.hashed import INPUTS, graph_of, matrix, outputs, summed
from models.train.judging import best_threshold, calibrate, calibration_error
from models.train.labelled import LANGUAGES, MOODS, fold_of, is_test
from models.train.packing import key_option, write_pack
from models.train.quantize import quantize_tables
from models.train.written_calls import Moment, as_heard, read_moments, truth_of

OUT = Path(__file__).parents[1] / "packs" / "call-mood"
MODEL_FILE = "model.onnx"
FOLDS = 5
COST = 0.3  # of a misjudged turn against the size of the weights
SEED = 0
MOMENT_SIZE = 0.3  # of a number one standard deviation from the mean, beside the features of words
MOST_OFF = 3.0  # standard deviations: what is further off counts no more
LEAST_SPREAD = np.where(np.isin(COLUMNS, STEPS), 0.5, 0.1)
"""What happens seldom would weigh without bound: one step of history is at most two standard deviations."""
PROBES = 6
WITHIN = 1e-3
CALLS, TURNS = "models/train/calls", "models/train/turns"
MASKS = {
    "words and marks alone": (*SPOKEN, *STEPS),
    "without how it is spoken": SPOKEN,
    "without what came before": STEPS,
}
ABOUT = (
    "Says of each turn of a customer, in English or Chinese, "
    "whether they are upset and whether something presses (within "
    "hours), from one time line: the words, those said before, "
    "pace, gaps, cutting in, words the recogniser was unsure of, "
    "marks, what happened with the customer before, and what "
    "the site's machines reported; what is absent adds nothing. "
    "Learnt from calls and turns written for it: how people speak was written down by their authors too, and was not "
    "tried on recordings of people whose mood is known. Bad at "
    "irony and at calm anger, and it knows nothing of loudness "
    "and tone of voice."
)
ABOUT_ZH = (
    "判断客户说每一句话时是不是不高兴、事情是不是等不得（几小时之内要有人处理）。依据同一条时间线：说的话、前面说过的话、语速、"
    "间隔、抢话、识别没把握的词、标点、来电之前与这位客户的往来，以及现场设备的报警；缺哪一样就不算哪一样。"
    "训练用的通话和句子都是专门写的，语速和停顿也是作者写上去的，没有在已知情绪的真实录音上试过。"
    "反话、冷静的怒气判不好，音量和语气它听不到。"
)

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """log-odds = features · words [FEATURES, moods] + (numbers - mean) / spread · moments [COLUMNS, moods] + bias; a
    number that is absent is its mean."""

    words: Scores
    moments: Scores
    bias: Scores
    mean: Scores
    spread: Scores


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How a pack does on turns that it has not learnt from, by mood: F1 at its threshold, and the area under the curve
    with all that is known of them ('') and with one of MASKS."""

    f1: dict[str, float]
    auc: dict[str, dict[str, float]]
    calibration_error: float
    samples: int


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, help="The folder of the pack.")
@key_option
def main(out: Path, key: Path | None) -> None:
    """Train the pack, print how it does in float and in INT8, and write it."""
    moments = read_moments()
    learnt = as_heard([one for one in moments if not is_test(one)], SEED)
    tested = held_out(moments)
    linear, thresholds = train(learnt)
    exact = exported(linear)
    small = quantize_tables(exact)
    with tempfile.TemporaryDirectory() as folder:
        in_float = measure(packed(Path(folder, "float"), exact, thresholds, learnt), tested)
        in_int8 = measure(packed(Path(folder, "int8"), small, thresholds, learnt), tested)
    packed(out, small, thresholds, learnt, metrics(in_float, in_int8), in_int8, key)
    click.echo(f"{len(learnt)} turns to learn from, {len(tested)} of other calls and scenarios to test on")
    for one in metrics(in_float, in_int8):
        click.echo(f"{one.set:<20} {one.metric:<48} {one.value:.3f}  ({one.samples})")
    click.echo(f"{out / MODEL_FILE}: {(out / MODEL_FILE).stat().st_size:,} bytes")


# ---- learning ----------------------------------------------------------------------------------------------------


def train(moments: Sequence[Moment]) -> tuple[Linear, dict[str, float]]:
    """A calibrated model learnt from all of the turns, and the probability from which each mood counts."""
    words, numbers = matrices(moments)
    truth = truth_of(moments)
    fold = np.array([fold_of(one, FOLDS) for one in moments])
    unseen = np.zeros(truth.shape)
    for number in range(FOLDS):
        seen = fold != number
        unseen[~seen] = scored(fit(words[seen], numbers[seen], truth[seen]), words[~seen], numbers[~seen])
    whole = fit(words, numbers, truth)
    slope, offset = np.array([calibrate(unseen[:, j], truth[:, j]) for j in range(len(MOODS))]).T
    probabilities = 1 / (1 + np.exp(-(unseen * slope + offset)))
    return msgspec.structs.replace(
        whole, words=whole.words * slope, moments=whole.moments * slope, bias=whole.bias * slope + offset
    ), {mood: round(best_threshold(probabilities[:, j], truth[:, j]), 4) for j, mood in enumerate(MOODS)}


def matrices(moments: Sequence[Moment]) -> tuple[csr_array, Scores]:
    """The features of the words [turns, FEATURES] and the numbers [turns, COLUMNS] of turns, as the device sees
    them."""
    seen = see([one.text for one in moments], [one.line for one in moments])
    return matrix([one.features for one in seen]), np.stack([one.moments for one in seen]).astype(np.float64)


def fit(words: csr_array, numbers: Scores, truth: Truth) -> Linear:
    """One linear model a mood; the mean and the spread of a number are those of the turns that have it."""
    mean = np.nan_to_num(np.nanmean(numbers, axis=0))
    spread = np.maximum(np.nan_to_num(np.nanstd(numbers, axis=0)), LEAST_SPREAD)
    design = hstack([words, csr_array(_standard(numbers, mean, spread) * MOMENT_SIZE)], format="csr")
    svm = LinearSVC(C=COST, dual=True, random_state=SEED, max_iter=5_000)
    fitted = [clone(svm).fit(design, truth[:, j]) for j in range(len(MOODS))]
    weights = np.stack([model.coef_[0] for model in fitted], axis=1)
    return Linear(
        words=weights[:FEATURES],
        moments=weights[FEATURES:] * MOMENT_SIZE,
        bias=np.array([model.intercept_[0] for model in fitted]),
        mean=mean,
        spread=spread,
    )


def scored(linear: Linear, words: csr_array, numbers: Scores) -> Scores:
    """The log-odds [turns, moods], before calibration."""
    return np.asarray(
        words @ linear.words + _standard(numbers, linear.mean, linear.spread) @ linear.moments + linear.bias
    )


def _standard(numbers: Scores, mean: Scores, spread: Scores) -> Scores:
    return np.asarray(np.clip(np.nan_to_num((numbers - mean) / spread), -MOST_OFF, MOST_OFF))


# ---- the pack ----------------------------------------------------------------------------------------------------


def exported(linear: Linear) -> onnx.ModelProto:
    """The model in ONNX; the mask of what is absent is in it: a number that is NaN adds nothing."""
    constants, nodes = summed(linear.words, linear.bias)
    node = onnx.helper.make_node
    constants |= {
        "mean": linear.mean.astype(np.float32),
        "spread": linear.spread.astype(np.float32),
        "nothing": np.zeros(1, np.float32),
        "least": np.array(-MOST_OFF, np.float32),
        "most": np.array(MOST_OFF, np.float32),
        "weights_of_moments": linear.moments.astype(np.float32),
    }
    nodes += [
        node("IsNaN", ["moments"], ["absent"]),
        node("Sub", ["moments", "mean"], ["off"]),
        node("Div", ["off", "spread"], ["standard"]),
        node("Where", ["absent", "nothing", "standard"], ["there"]),
        node("Clip", ["there", "least", "most"], ["present"]),
        node("Unsqueeze", ["present", "innermost"], ["presents"]),
        node("Mul", ["presents", "weights_of_moments"], [OF_MOMENTS]),
        node("ReduceSum", [OF_MOMENTS, "features"], ["sum_of_moments"], keepdims=0),
        node("Add", ["sum", "sum_of_moments"], ["sum_of_all"]),
        node("Add", ["sum_of_all", "bias"], [LOG_ODDS]),
        node("Sigmoid", [LOG_ODDS], [PROBABILITIES]),
    ]
    tensor = onnx.TensorProto
    sizes: dict[str, tuple[int, list[str | int | None]]] = {
        "index": (tensor.INT64, ["turns", "features"]),
        "value": (tensor.FLOAT, ["turns", "features"]),
        "moments": (tensor.FLOAT, ["turns", len(COLUMNS)]),
        OF_WORDS: (tensor.FLOAT, ["turns", "features", len(MOODS)]),
        OF_MOMENTS: (tensor.FLOAT, ["turns", len(COLUMNS), len(MOODS)]),
        LOG_ODDS: (tensor.FLOAT, ["turns", len(MOODS)]),
        PROBABILITIES: (tensor.FLOAT, ["turns", len(MOODS)]),
    }
    return graph_of("call_mood", nodes, sizes, ("index", "value", "moments"), constants)


def packed(
    folder: Path,
    model: onnx.ModelProto,
    thresholds: dict[str, float],
    learnt: Sequence[Moment],
    measured: Sequence[Metric] = (),
    figures: Mapping[str, Figures] = {},
    key: Path | None = None,
) -> Path:
    """Write the pack into a folder; gives the folder."""
    moods = len(MOODS)
    manifest = Manifest(
        name="call-mood",
        version="0.1.0",
        task="mood",
        runtime="onnx",
        languages=LANGUAGES,
        licence="Apache-2.0",
        about=ABOUT,
        about_zh=ABOUT_ZH,
        files={},
        model=MODEL_FILE,
        labels=MOODS,
        thresholds=thresholds,
        calibration=_calibration(figures[CALLS]) if figures else None,
        inputs=INPUTS | {"moments": Tensor(dtype="float32", shape=(-1, len(COLUMNS)))},
        outputs=outputs(moods) | {OF_MOMENTS: Tensor(dtype="float32", shape=(-1, len(COLUMNS), moods))},
        sources=tuple(Source(name=name, licence="Apache-2.0", use="train") for name in (CALLS, TURNS)),
        metrics=tuple(measured),
    )
    probes = [*learnt[:PROBES], learnt[-1]]
    given: dict[str, NDArray[Any]] = inputs_of(see([one.text for one in probes], [one.line for one in probes]))
    return write_pack(folder, model.SerializeToString(deterministic=True), manifest, given, within=WITHIN, key=key)


# ---- measuring ---------------------------------------------------------------------------------------------------


def held_out(moments: Sequence[Moment]) -> list[Moment]:
    """The turns that are never learnt from, as a recogniser hears them."""
    return as_heard([one for one in moments if is_test(one)], SEED + 1)


def measure(folder: Path, tested: Sequence[Moment]) -> dict[str, Figures]:
    """Run a pack as the device runs it and hold what it says against the moods: on turns of calls, and on turns that
    stand alone."""
    mood = Mood(read_pack(folder))
    of_calls = [one for one in tested if one.line is not None]
    alone = [one for one in tested if one.line is None]
    return {CALLS: _measure(mood, of_calls, MASKS), TURNS: _measure(mood, alone, {})}


def _measure(mood: Mood, part: Sequence[Moment], masks: Mapping[str, Sequence[str]]) -> Figures:
    truth = truth_of(part)
    given = inputs_of(see([one.text for one in part], [one.line for one in part]))
    whole = mood.open().run(given)[PROBABILITIES]
    known = {"": whole} | {
        case: mood.open().run(given | {"moments": _masked(given["moments"], columns)})[PROBABILITIES]
        for case, columns in masks.items()
    }
    said = whole >= np.array([mood.thresholds[name] for name in MOODS])
    hits, either = (said & truth).sum(axis=0), said.sum(axis=0) + truth.sum(axis=0)
    return Figures(
        f1={name: float(2 * hits[j] / max(either[j], 1)) for j, name in enumerate(MOODS)},
        auc={
            name: {case: float(roc_auc_score(truth[:, j], scores[:, j])) for case, scores in known.items()}
            for j, name in enumerate(MOODS)
        },
        calibration_error=calibration_error(whole.ravel().astype(np.float64), truth.ravel()),
        samples=len(part),
    )


def _masked(moments: NDArray[np.float32], columns: Sequence[str]) -> NDArray[np.float32]:
    return np.where(np.isin(COLUMNS, columns), np.float32(np.nan), moments)


def metrics(exact: Mapping[str, Figures], small: Mapping[str, Figures]) -> list[Metric]:
    """The figures as the manifest carries them: those of the INT8 model that ships, and the float one's F1 if it was
    measured."""
    rows = []
    for where, figures in small.items():
        split = "test calls" if where == CALLS else "test scenarios"
        named = [(f"F1, {mood}", value) for mood, value in figures.f1.items()]
        if where in exact:
            named += [(f"F1, {mood}, float", value) for mood, value in exact[where].f1.items()]
        named += [
            (f"AUC, {mood}{', ' if case else ''}{case}", value)
            for mood, cases in figures.auc.items()
            for case, value in cases.items()
        ]
        rows += [
            Metric(metric=name, value=round(value, 4), set=where, split=split, samples=figures.samples)
            for name, value in named
        ]
    return rows


def _calibration(figures: Figures) -> Calibration:
    return Calibration(
        method="a logistic for each mood",
        error=round(figures.calibration_error, 4),
        set=CALLS,
        split="test calls",
        samples=figures.samples,
    )


if __name__ == "__main__":
    main()
