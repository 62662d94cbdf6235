"""Scores of text packs made into probabilities and thresholds, and packs held against turns they have not seen."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.pack import Calibration, Metric, read_pack
from models.tasks.text_labels import TextLabels
from models.train.labelled import LABELS, SAFETY, Truth, Turn, truth_of

SAFETY_RECALL = 0.8  # missing a danger costs more than a needless card
SET, SPLIT = "models/train/turns", "test scenarios"
AS_HEARD = "test scenarios, spoken by flite over G.711, written by Vosk"

Scores = NDArray[np.float64]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How a pack does on turns it has not seen."""

    macro_f1: float
    macro_f1_by_language: dict[str, float]
    f1: dict[str, float]
    safety_precision: float
    calibration_error: float


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What makes log-odds of a model's scores, by label, and the probability from which each label counts."""

    slope: Scores
    offset: Scores
    thresholds: dict[str, float]


def judge(scores: Scores, truth: Truth) -> Judged:
    """Calibrate scores [turns, labels] of turns that the model has not learnt from, and choose thresholds on them."""
    slope, offset = np.array([calibrate(scores[:, j], truth[:, j]) for j in range(len(LABELS))]).T
    probabilities = 1 / (1 + np.exp(-(scores * slope + offset)))
    thresholds = {label: threshold(probabilities[:, j], truth[:, j]) for j, label in enumerate(LABELS)}
    _, safety = at_recall(probabilities[:, SAFETY], truth[:, SAFETY])
    thresholds[LABELS[SAFETY]] = min(thresholds[LABELS[SAFETY]], safety)
    rounded = {label: round(probability, 4) for label, probability in thresholds.items()}
    return Judged(slope=slope, offset=offset, thresholds=rounded)


def calibrate(score: Scores, truth: Truth) -> tuple[float, float]:
    """Slope and offset that make log-odds of a score (Platt 1999)."""
    fitted = LogisticRegression(C=1e4).fit(score[:, np.newaxis], truth)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def threshold(probability: Scores, truth: Truth) -> float:
    """The probability from which on counting the label gives the best F1: of calibrated probabilities it is half of
    that F1 (Lipton et al., 2014), which few turns fix better than they fix the place itself."""
    order = np.argsort(-probability, kind="stable")
    counted = np.arange(1, order.size + 1)
    return float(np.max(np.cumsum(truth[order]) / (counted + truth.sum())))


def best_threshold(probability: Scores, truth: Truth) -> float:
    """The probability at which counting the label gives the best F1 on these turns: for a model whose probabilities are
    right on the whole but not in their middle, of which there are very many turns."""
    order = np.argsort(-probability, kind="stable")
    f1 = np.cumsum(truth[order]) / (np.arange(1, order.size + 1) + truth.sum())
    return float(probability[order[int(np.argmax(f1))]])


def at_recall(probability: Scores, truth: Truth) -> tuple[float, float]:
    """The precision where the recall reaches SAFETY_RECALL, and the probability there."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(truth[order])
    place = int(np.argmax(hits >= SAFETY_RECALL * truth.sum()))
    return float(hits[place] / (place + 1)), float(probability[order[place]])


def measure(folder: Path, turns: Sequence[Turn]) -> Figures:
    """Run a pack as the device runs it and hold what it says against the turns' labels."""
    labeller = TextLabels(read_pack(folder))
    scores = labeller.score([turn.text for turn in turns], [turn.before for turn in turns])
    probabilities = np.array([[score.probability for score in row] for row in scores])
    truth = truth_of(turns)
    said = probabilities >= np.array([labeller.thresholds[label] for label in LABELS])
    f1 = _f1(said, truth)
    languages = np.array([turn.language for turn in turns])
    return Figures(
        macro_f1=float(f1.mean()),
        macro_f1_by_language={
            language: float(_f1(said[languages == language], truth[languages == language]).mean())
            for language in labeller.languages
        },
        f1=dict(zip(LABELS, f1.tolist(), strict=True)),
        safety_precision=at_recall(probabilities[:, SAFETY], truth[:, SAFETY])[0],
        calibration_error=calibration_error(probabilities.ravel(), truth.ravel()),
    )


def calibration_error(probability: Scores, truth: Truth, bins: int = 10) -> float:
    """The expected calibration error over bins of equal mass (Nixon et al., 2019)."""
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, bins)
    return float(sum(abs(probability[part].mean() - truth[part].mean()) * part.size for part in parts) / order.size)


def _f1(said: Truth, truth: Truth) -> Scores:
    """F1 of each label; 0 where the label neither holds nor is said."""
    either = said.sum(axis=0) + truth.sum(axis=0)
    return np.asarray(2 * (said & truth).sum(axis=0) / np.maximum(either, 1), np.float64)


def metrics(exact: Figures, small: Figures, turns: Sequence[Turn]) -> list[Metric]:
    """The figures as the manifest carries them: those of the INT8 model that ships, and the float one's macro-F1."""
    count = {language: sum(turn.language == language for turn in turns) for language in small.macro_f1_by_language}
    rows = [
        ("macro-F1", small.macro_f1, len(turns)),
        ("macro-F1, float", exact.macro_f1, len(turns)),
        *((f"macro-F1, {language}", f1, count[language]) for language, f1 in small.macro_f1_by_language.items()),
        (f"precision at recall {SAFETY_RECALL}, safety_hazard", small.safety_precision, len(turns)),
        *((f"F1, {label}", f1, len(turns)) for label, f1 in small.f1.items()),
    ]
    return [
        Metric(metric=name, value=round(value, 4), set=SET, split=SPLIT, samples=samples)
        for name, value, samples in rows
    ]


def metric_as_heard(macro_f1: float, samples: int) -> Metric:
    """How the INT8 model that ships does on what a recogniser wrote."""
    return Metric(metric="macro-F1, en", value=round(macro_f1, 4), set=SET, split=AS_HEARD, samples=samples)


def calibration(small: Figures, turns: Sequence[Turn]) -> Calibration:
    """How well the probabilities of the INT8 model mean what they say."""
    error = round(small.calibration_error, 4)
    return Calibration(method="a logistic for each label", error=error, set=SET, split=SPLIT, samples=len(turns))


def table(exact: Figures, small: Figures) -> str:
    """The figures in float and in INT8 side by side, a line each."""
    rows = [("macro-F1", exact.macro_f1, small.macro_f1)]
    rows += [
        (f"macro-F1 {language}", exact.macro_f1_by_language[language], f1)
        for language, f1 in small.macro_f1_by_language.items()
    ]
    rows += [(f"F1 {label}", exact.f1[label], f1) for label, f1 in small.f1.items()]
    safety = f"safety_hazard precision at recall {SAFETY_RECALL}"
    rows.append((safety, exact.safety_precision, small.safety_precision))
    rows.append(("calibration error", exact.calibration_error, small.calibration_error))
    lines = [f"{'':<42} float   INT8", *(f"{name:<42} {of:.3f}  {in_int8:.3f}" for name, of, in_int8 in rows)]
    return "\n".join(lines)
