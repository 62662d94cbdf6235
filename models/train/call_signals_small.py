"""Trains the pack `call-signals-small`: what a turn says, in English or Chinese, for boxes without room for an encoder.

    python -m models.train.call_signals_small [--out FOLDER] [--key FILE]

One linear model a label over the hashed features of models.features.text, learnt from models/train/turns. On what may
be learnt from, every turn is scored by a model that has not seen its scenario; these scores fix the calibration and the
thresholds, and the model that ships is then learnt from all of it. The same turns give the same bytes.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.svm import LinearSVC

from models.features.text import batch, extract
from models.pack import Calibration, Manifest, Metric, Source
from models.train.hashed import INPUTS, graph_of, matrix, outputs, summed
from models.train.judging import Judged, calibration, judge, measure, metrics, table
from models.train.labelled import LABELS, LANGUAGES, Truth, Turn, fold_of, is_test, read_turns, truth_of
from models.train.packing import key_option, write_pack
from models.train.quantize import quantize_tables

OUT = Path(__file__).parents[1] / "packs" / "call-signals-small"
FOLDS = 5
COST = 1.0  # of a misjudged turn against the size of the weights
SEED = 0
MODEL_FILE = "model.onnx"
PROBES = ("The gearbox is whining again, send somebody.", "no the price is fine", "皮带跑偏了，你们什么时候来人", "12")
WITHIN = 1e-4
ABOUT = (
    "Labels one turn of a telephone call or one note, in English or Chinese, typed or as a recogniser writes it, with "
    "what it says about money, rivals, orders, parts, faults, service, leaving, renewing, deliveries, cover, danger, "
    "calling back and praise. For boxes of 1 GB, where call-signals has no room. It knows "
    "words and short runs of words, not sentences: it is bad at irony, at denials and reported speech, at what is only "
    "hinted at in words it has not met, and at turns that need the ones before them. Learnt from turns written for it, "
    "none from a real call. Read its metrics before trusting it alone with anything, above all with safety."
)
ABOUT_ZH = (
    "和 call-signals 判的是同样的内容，给只有 1 GB 内存、装不下它的机器用。"
    "它只认词和短语，不懂整句：反话、否认、转述、没见过的说法，以及要联系上文才懂的话，它都判不好。"
    "训练用的句子都是专门写的，没有一句来自真实电话。让它单独作主之前，先看它的指标，安全方面尤其如此。"
)

Scores = NDArray[np.float64]


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """A linear model: log-odds = features · weights (FEATURES, labels) + bias (labels)."""

    weights: Scores
    bias: Scores


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, help="The folder of the pack.")
@key_option
def main(out: Path, key: Path | None) -> None:
    """Train the pack, print how it does in float and in INT8, and write it."""
    turns = read_turns()
    learnt, tested = [turn for turn in turns if not is_test(turn)], [turn for turn in turns if is_test(turn)]
    linear, judged = train(learnt)
    exact = exported(linear)
    small = quantize_tables(exact)
    with tempfile.TemporaryDirectory() as folder:
        exact_figures = measure(packed(Path(folder, "float"), exact, judged), tested)
        small_figures = measure(packed(Path(folder, "int8"), small, judged), tested)
    figures = metrics(exact_figures, small_figures, tested)
    packed(out, small, judged, figures, calibration(small_figures, tested), key)
    click.echo(f"{len(learnt)} turns to learn from, {len(tested)} of other scenarios to test on")
    click.echo(table(exact_figures, small_figures))
    click.echo(f"{out / MODEL_FILE}: {(out / MODEL_FILE).stat().st_size:,} bytes")


def train(turns: Sequence[Turn]) -> tuple[Linear, Judged]:
    """A calibrated model learnt from all of the turns, and the probability from which each label counts."""
    features, truth = matrix_of(turns), truth_of(turns)
    fold = np.array([fold_of(turn, FOLDS) for turn in turns])
    unseen = np.zeros(truth.shape)
    for number in range(FOLDS):
        seen = fold != number
        part = fit(features[seen], truth[seen])
        unseen[~seen] = features[~seen] @ part.weights + part.bias
    whole = fit(features, truth)
    judged = judge(unseen, truth)
    return Linear(weights=whole.weights * judged.slope, bias=whole.bias * judged.slope + judged.offset), judged


def matrix_of(turns: Sequence[Turn]) -> csr_array:
    """The features of turns [turns, FEATURES]."""
    return matrix([extract(turn.text) for turn in turns])


def fit(features: csr_array, truth: Truth) -> Linear:
    """One linear model a label, not calibrated."""
    fitted = [LinearSVC(C=COST, dual=True, random_state=SEED).fit(features, truth[:, j]) for j in range(len(LABELS))]
    return Linear(
        weights=np.stack([model.coef_[0] for model in fitted], axis=1),
        bias=np.array([model.intercept_[0] for model in fitted]),
    )


def exported(linear: Linear) -> onnx.ModelProto:
    """The model in ONNX: for every feature its row of weights times its value, added up."""
    constants, nodes = summed(linear.weights, linear.bias)
    nodes += [
        onnx.helper.make_node("Add", ["sum", "bias"], ["log_odds"]),
        onnx.helper.make_node("Sigmoid", ["log_odds"], ["probabilities"]),
    ]
    tensor = onnx.TensorProto
    sizes: dict[str, tuple[int, list[str | int | None]]] = {
        "index": (tensor.INT64, ["turns", "features"]),
        "value": (tensor.FLOAT, ["turns", "features"]),
        "contributions": (tensor.FLOAT, ["turns", "features", len(LABELS)]),
        "log_odds": (tensor.FLOAT, ["turns", len(LABELS)]),
        "probabilities": (tensor.FLOAT, ["turns", len(LABELS)]),
    }
    return graph_of("call_signals", nodes, sizes, ("index", "value"), constants)


def packed(
    folder: Path,
    model: onnx.ModelProto,
    judged: Judged,
    measured: Sequence[Metric] = (),
    calibrated: Calibration | None = None,
    key: Path | None = None,
) -> Path:
    """Write the pack into a folder; gives the folder."""
    manifest = Manifest(
        name="call-signals-small",
        version="0.4.0",
        task="text-labels",
        runtime="onnx",
        languages=LANGUAGES,
        licence="Apache-2.0",
        about=ABOUT,
        about_zh=ABOUT_ZH,
        files={},
        model=MODEL_FILE,
        labels=LABELS,
        thresholds=judged.thresholds,
        calibration=calibrated,
        inputs=INPUTS,
        outputs=outputs(len(LABELS)),
        sources=(Source(name="models/train/turns", licence="Apache-2.0", use="train"),),
        metrics=tuple(measured),
    )
    index, value = batch([extract(text) for text in PROBES])
    given: dict[str, NDArray[Any]] = {"index": index, "value": value}
    return write_pack(folder, model.SerializeToString(deterministic=True), manifest, given, within=WITHIN, key=key)


if __name__ == "__main__":
    main()
