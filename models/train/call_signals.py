"""Trains the pack `call-signals`: what a turn of a call says, in English or Chinese, as up to 13 labels.

    python -m models.train.call_signals [--out FOLDER] [--key FILE]

One linear model a label over the hashed features of models.features.text, learnt from models/train/turns. Scenarios,
never single turns, are held out: turns of one scenario share their words. A fifth of them is the test part and never
learnt from. On the rest, every turn is scored by a model that has not seen its scenario; these scores fix the
calibration and the thresholds, and the model that ships is then learnt from all of the rest. The same turns give the
same bytes.
"""

import hashlib
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
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from models.features.text import FEATURES, batch, extract
from models.pack import Manifest, Metric, Source, Tensor, read_pack
from models.runtime import load
from models.tasks.text_labels import TextLabels
from models.train.packing import key_option, write_pack
from models.train.quantize import quantize_tables

TURNS = Path(__file__).with_name("turns")
OUT = Path(__file__).parents[1] / "packs" / "call-signals"
LABELS = (
    "budget_concern",
    "competitor_mention",
    "purchase_intent",
    "spare_part_request",
    "fault_report",
    "complaint",
    "churn_risk",
    "renewal",
    "delivery_query",
    "warranty_doubt",
    "safety_hazard",
    "callback_request",
    "praise",
)
LANGUAGES = ("en", "zh")
SAFETY = LABELS.index("safety_hazard")
SAFETY_RECALL = 0.8  # missing a danger costs more than a needless card
FOLDS = 5
COST = 1.0  # of a misjudged turn against the size of the weights
SEED = 0
MODEL_FILE = "model.onnx"
PROBES = ("The gearbox is whining again, send somebody.", "no the price is fine", "皮带跑偏了，你们什么时候来人", "12")
WITHIN = 1e-4
ABOUT = (
    "Labels one turn of a telephone call or one note, in English or Chinese, typed or as a recogniser writes it, with "
    "what it says about money, rivals, orders, parts, faults, service, leaving, renewing, deliveries, cover, danger, "
    "calling back and praise. It knows words and short runs of words, not sentences: it is bad at irony, at denials "
    "and reported speech, at what is only hinted at in words it has not met, and at turns that need the ones before "
    "them. Learnt from fewer than three thousand turns written for it, none from a real call. Read its metrics before "
    "trusting it alone with anything, above all with safety."
)

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one speaker, and the scenario that it was written for."""

    scenario: str
    language: str
    labels: tuple[str, ...]
    text: str


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """A linear model: log-odds = features · weights (FEATURES, labels) + bias (labels)."""

    weights: Scores
    bias: Scores


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How a pack does on turns it has not seen."""

    macro_f1: float
    macro_f1_by_language: dict[str, float]
    f1: dict[str, float]
    safety_precision: float


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, help="The folder of the pack.")
@key_option
def main(out: Path, key: Path | None) -> None:
    """Train the pack, print how it does in float and in INT8, and write it."""
    turns = read_turns()
    learnt, tested = [turn for turn in turns if not is_test(turn)], [turn for turn in turns if is_test(turn)]
    linear, thresholds = train(learnt)
    exact = exported(linear)
    small = quantize_tables(exact)
    with tempfile.TemporaryDirectory() as folder:
        exact_figures = measure(packed(Path(folder, "float"), exact, thresholds), tested)
        small_figures = measure(packed(Path(folder, "int8"), small, thresholds), tested)
    packed(out, small, thresholds, metrics(exact_figures, small_figures, tested), key)
    click.echo(f"{len(learnt)} turns to learn from, {len(tested)} of other scenarios to test on")
    rows = [("macro-F1", exact_figures.macro_f1, small_figures.macro_f1)]
    rows += [
        (f"macro-F1 {language}", exact_figures.macro_f1_by_language[language], f1)
        for language, f1 in small_figures.macro_f1_by_language.items()
    ]
    rows += [(f"F1 {label}", exact_figures.f1[label], f1) for label, f1 in small_figures.f1.items()]
    safety = f"safety_hazard precision at recall {SAFETY_RECALL}"
    rows.append((safety, exact_figures.safety_precision, small_figures.safety_precision))
    click.echo(f"{'':<42} float   INT8")
    for name, in_float, in_int8 in rows:
        click.echo(f"{name:<42} {in_float:.3f}  {in_int8:.3f}")
    click.echo(f"{out / MODEL_FILE}: {(out / MODEL_FILE).stat().st_size:,} bytes")


# ---- turns -----------------------------------------------------------------------------------------------------


def read_turns(folder: Path = TURNS) -> list[Turn]:
    """The turns of every language: tab-separated scenario, language, labels (comma-separated, or `none`), text."""
    turns = []
    for language in LANGUAGES:
        for line in (folder / f"{language}.tsv").read_text("utf-8").splitlines()[1:]:
            scenario, written, labels, text = line.split("\t")
            names = () if labels == "none" else tuple(labels.split(","))
            if written != language or not set(names) <= set(LABELS):
                raise ValueError(f"{folder / language}.tsv: {line!r} is of another language or has an unknown label.")
            turns.append(Turn(scenario=scenario, language=language, labels=names, text=text))
    return turns


def is_test(turn: Turn) -> bool:
    """Whether a turn is of the fifth of the scenarios that is never learnt from."""
    return _draw(turn) % 5 == 0


def _fold(turn: Turn) -> int:
    return _draw(turn) // 5 % FOLDS


def _draw(turn: Turn) -> int:
    """A number drawn for the turn's scenario; it stays when scenarios are added."""
    digest = hashlib.sha256(f"{turn.language}/{turn.scenario}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def truth_of(turns: Sequence[Turn]) -> Truth:
    """(turns, labels): which label holds for which turn."""
    return np.array([[label in turn.labels for label in LABELS] for turn in turns])


# ---- learning --------------------------------------------------------------------------------------------------


def train(turns: Sequence[Turn]) -> tuple[Linear, dict[str, float]]:
    """A calibrated model learnt from all of the turns, and the probability from which each label counts."""
    features, truth = _matrix(turns), truth_of(turns)
    fold = np.array([_fold(turn) for turn in turns])
    unseen = np.zeros(truth.shape)
    for number in range(FOLDS):
        seen = fold != number
        part = _fit(features[seen], truth[seen])
        unseen[~seen] = features[~seen] @ part.weights + part.bias
    whole = _fit(features, truth)
    slope, offset = np.array([_calibrate(unseen[:, j], truth[:, j]) for j in range(len(LABELS))]).T
    calibrated = Linear(weights=whole.weights * slope, bias=whole.bias * slope + offset)
    probabilities = 1 / (1 + np.exp(-(unseen * slope + offset)))
    thresholds = {label: _threshold(probabilities[:, j], truth[:, j]) for j, label in enumerate(LABELS)}
    _, safety = _at_recall(probabilities[:, SAFETY], truth[:, SAFETY])
    thresholds[LABELS[SAFETY]] = min(thresholds[LABELS[SAFETY]], safety)
    return calibrated, {label: round(threshold, 4) for label, threshold in thresholds.items()}


def _matrix(turns: Sequence[Turn]) -> csr_array:
    found = [extract(turn.text) for turn in turns]
    ends = np.cumsum([0, *(turn.index.size for turn in found)])
    values, indices = np.concatenate([turn.value for turn in found]), np.concatenate([turn.index for turn in found])
    return csr_array((values, indices.astype(np.int32), ends.astype(np.int32)), shape=(len(turns), FEATURES))


def _fit(features: csr_array, truth: Truth) -> Linear:
    fitted = [LinearSVC(C=COST, dual=True, random_state=SEED).fit(features, truth[:, j]) for j in range(len(LABELS))]
    return Linear(
        weights=np.stack([model.coef_[0] for model in fitted], axis=1),
        bias=np.array([model.intercept_[0] for model in fitted]),
    )


def _calibrate(score: Scores, truth: Truth) -> tuple[float, float]:
    """Slope and offset that make log-odds of a score (Platt 1999)."""
    fitted = LogisticRegression(C=1e4).fit(score[:, np.newaxis], truth)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _threshold(probability: Scores, truth: Truth) -> float:
    """The probability from which on counting the label gives the best F1: half way to the next one below."""
    order = np.argsort(-probability, kind="stable")
    counted = np.arange(1, order.size + 1)
    best = int(np.argmax(2 * np.cumsum(truth[order]) / (counted + truth.sum())))
    return float(probability[order[best : best + 2]].mean())


def _at_recall(probability: Scores, truth: Truth) -> tuple[float, float]:
    """The precision where the recall reaches SAFETY_RECALL, and the probability there."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(truth[order])
    place = int(np.argmax(hits >= SAFETY_RECALL * truth.sum()))
    return float(hits[place] / (place + 1)), float(probability[order[place]])


# ---- the pack --------------------------------------------------------------------------------------------------


def exported(linear: Linear) -> onnx.ModelProto:
    """The model in ONNX: for every feature its row of weights times its value, added up.

    A turn has a few hundred of FEATURES features, so the rows are looked up and nothing is multiplied by zero; the
    parts that are added up are put out as evidence. The weights are stored as signed square roots of their share of
    the label's largest weight: most are small, and so 8 bits err half as much on them, with one scale for all labels.
    """
    scale = np.abs(linear.weights).max(axis=0)
    shares = linear.weights / scale
    helper, tensor = onnx.helper, onnx.TensorProto
    constants = {
        "roots": (np.sign(shares) * np.sqrt(np.abs(shares))).astype(np.float32),
        "scale": scale.astype(np.float32),
        "bias": linear.bias.astype(np.float32),
        "innermost": np.array([2]),
        "features": np.array([1]),
    }
    nodes = [
        helper.make_node("Gather", ["roots", "index"], ["root"]),
        helper.make_node("Abs", ["root"], ["size"]),
        helper.make_node("Mul", ["root", "size"], ["share"]),
        helper.make_node("Mul", ["share", "scale"], ["weight"]),
        helper.make_node("Unsqueeze", ["value", "innermost"], ["values"]),
        helper.make_node("Mul", ["weight", "values"], ["contributions"]),
        helper.make_node("ReduceSum", ["contributions", "features"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "bias"], ["log_odds"]),
        helper.make_node("Sigmoid", ["log_odds"], ["probabilities"]),
    ]
    sizes: dict[str, tuple[int, list[str | int | None]]] = {
        "index": (tensor.INT64, ["turns", "features"]),
        "value": (tensor.FLOAT, ["turns", "features"]),
        "contributions": (tensor.FLOAT, ["turns", "features", len(LABELS)]),
        "log_odds": (tensor.FLOAT, ["turns", len(LABELS)]),
        "probabilities": (tensor.FLOAT, ["turns", len(LABELS)]),
    }
    infos = {name: helper.make_tensor_value_info(name, *size) for name, size in sizes.items()}
    graph = helper.make_graph(
        nodes,
        "call_signals",
        [infos.pop("index"), infos.pop("value")],
        list(infos.values()),
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def packed(
    folder: Path,
    model: onnx.ModelProto,
    thresholds: dict[str, float],
    measured: Sequence[Metric] = (),
    key: Path | None = None,
) -> Path:
    """Write the pack into a folder; gives the folder."""
    manifest = Manifest(
        name="call-signals",
        version="0.1.0",
        task="text-labels",
        runtime="onnx",
        languages=LANGUAGES,
        licence="Apache-2.0",
        about=ABOUT,
        files={},
        model=MODEL_FILE,
        labels=LABELS,
        thresholds=thresholds,
        inputs={
            "index": Tensor(dtype="int64", shape=(-1, -1)),
            "value": Tensor(dtype="float32", shape=(-1, -1)),
        },
        outputs={
            "contributions": Tensor(dtype="float32", shape=(-1, -1, len(LABELS))),
            "log_odds": Tensor(dtype="float32", shape=(-1, len(LABELS))),
            "probabilities": Tensor(dtype="float32", shape=(-1, len(LABELS))),
        },
        sources=(Source(name="models/train/turns", licence="Apache-2.0", use="train"),),
        metrics=tuple(measured),
    )
    index, value = batch([extract(text) for text in PROBES])
    given: dict[str, NDArray[Any]] = {"index": index, "value": value}
    return write_pack(folder, model.SerializeToString(deterministic=True), manifest, given, within=WITHIN, key=key)


# ---- measuring -------------------------------------------------------------------------------------------------


def measure(folder: Path, turns: Sequence[Turn]) -> Figures:
    """Run a pack as the device runs it and hold what it says against the turns' labels."""
    labeller = TextLabels(load(read_pack(folder)))
    scores = labeller.score([turn.text for turn in turns])
    probabilities = np.array([[score.probability for score in row] for row in scores])
    truth = truth_of(turns)
    said = probabilities >= np.array([labeller.thresholds[label] for label in LABELS])
    f1 = _f1(said, truth)
    languages = np.array([turn.language for turn in turns])
    return Figures(
        macro_f1=float(f1.mean()),
        macro_f1_by_language={
            language: float(_f1(said[languages == language], truth[languages == language]).mean())
            for language in LANGUAGES
        },
        f1=dict(zip(LABELS, f1.tolist(), strict=True)),
        safety_precision=_at_recall(probabilities[:, SAFETY], truth[:, SAFETY])[0],
    )


def _f1(said: Truth, truth: Truth) -> Scores:
    """F1 of each label; 0 where the label neither holds nor is said."""
    either = said.sum(axis=0) + truth.sum(axis=0)
    return np.asarray(2 * (said & truth).sum(axis=0) / np.maximum(either, 1), np.float64)


def metrics(exact: Figures, small: Figures, turns: Sequence[Turn]) -> list[Metric]:
    """The figures as the manifest carries them: those of the INT8 model that ships, and the float one's macro-F1."""
    count = {language: sum(turn.language == language for turn in turns) for language in LANGUAGES}
    rows = [
        ("macro-F1", small.macro_f1, len(turns)),
        ("macro-F1, float", exact.macro_f1, len(turns)),
        *((f"macro-F1, {language}", f1, count[language]) for language, f1 in small.macro_f1_by_language.items()),
        (f"precision at recall {SAFETY_RECALL}, safety_hazard", small.safety_precision, len(turns)),
        *((f"F1, {label}", f1, len(turns)) for label, f1 in small.f1.items()),
    ]
    return [
        Metric(metric=name, value=round(value, 4), set="models/train/turns", split="test scenarios", samples=samples)
        for name, value, samples in rows
    ]


if __name__ == "__main__":
    main()
