"""What the packs for odds share: an additive model learnt of a table, calibrated, put into 8 bits, measured, written.

The log-odds of a label are a bias and one value for each column's bin. They are learnt together, as a logistic
regression over the bins whose values are held small, and close to those of the bins beside them where a column has
numbers (a penalised spline of degree 0: Eilers and Marx, 1996). So each is what the column adds beside all others, the
best values are unique, and the same rows give the same bytes.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score

from models.errors import InputInvalid, ModelError
from models.features.table import TABLE_FILE, UNKNOWN, Bins, Columns, Numbers, Row, learn_columns
from models.pack import Calibration, Manifest, Metric, Source, Tensor, read_pack
from models.runtime import load
from models.table_file import read_table
from models.tasks.odds import CONTRIBUTIONS, INPUT, LOG_ODDS, PROBABILITY, Odds, RowScore
from models.train.judging import calibrate, calibration_error, threshold
from models.train.packing import key_option, write_pack
from models.train.quantize import quantize_tables

PACKS = Path(__file__).parents[1] / "packs"
MODEL_FILE = "model.onnx"
FOLDS = 5
RECENT = 10  # of rows in order of time, the last of so many parts is what the calibration is fixed on
SURE = 3.0  # standard errors above chance, for a table to say something of its label
STEPS, STILL = 50, 1e-8  # of Newton's method at most, and the step at which it is there
PROBES = 8  # rows of the self-test
WITHIN = 1e-4

Floats = NDArray[np.float64]
Truth = NDArray[np.bool_]


class NoSignal(ModelError):
    """Nothing in a table tells the rows with its label from the others."""

    exit_code = 1


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table, and of each whether the label holds."""

    rows: Sequence[Row]
    truth: Truth


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How a pack for odds is made of a data set: `read` gives, of the folder of all data sets, the rows to learn from
    and those to test on. `small` is how much a large value counts against a bin, `smooth` a step to the next bin."""

    name: str
    label: str
    about: str
    about_zh: str
    source: Source
    split: str
    read: Callable[[Path], tuple[Labelled, Labelled]]
    leave_out: tuple[str, ...]
    in_time: bool = False
    most_bins: int = 12
    small: float = 4.0
    smooth: float = 10.0
    target: float | None = None


class Additive(msgspec.Struct, frozen=True, kw_only=True):
    """log-odds = bias + the sum of `values` at a row's bins; `values[UNKNOWN]` is 0."""

    columns: Columns
    values: Floats
    bias: float
    threshold: float = 0.5

    def log_odds(self, bins: Bins) -> Floats:
        """The log-odds [n] of rows' bins [n, columns]."""
        return np.asarray(self.values[bins].sum(axis=1) + self.bias)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How a pack does on rows that it has not learnt from. `said` is its mean probability, `share` what came true."""

    auc: float
    average_precision: float
    calibration_error: float
    said: float
    share: float


def command(recipe: Recipe) -> click.Command:
    """The command that trains a pack, prints how it does in float and in INT8, and writes it."""

    @click.command(name=recipe.name, help=f"Train the pack {recipe.name}, print how it does, and write it.")
    @click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
    @click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=PACKS / recipe.name,
        help="The pack's folder.",
    )
    @key_option
    def main(data: Path, out: Path, key: Path | None) -> None:
        try:
            make(recipe, data, out, key)
        except ModelError as error:
            click.echo(f"{recipe.name}: {error}", err=True)
            raise SystemExit(error.exit_code) from None

    return main


def make(recipe: Recipe, data: Path, out: Path, key: Path | None) -> None:
    """From the folder of data sets to a pack in `out`. Raises NoSignal, and writes nothing, when the rows to learn from
    do not tell their label apart."""
    learnt, tested = recipe.read(data)
    model = train(recipe, learnt)
    exact = exported(model)
    small = quantize_tables(exact)
    with tempfile.TemporaryDirectory() as folder:
        measured = [
            measure(packed(Path(folder, name), recipe, model, graph, learnt), tested)
            for name, graph in (("float", exact), ("int8", small))
        ]
    packed(out, recipe, model, small, learnt, metrics(recipe, measured[0], measured[1], tested), key=key)
    click.echo(f"{len(learnt.rows)} rows to learn from, {len(tested.rows)} to test on ({recipe.split})")
    click.echo(f"{'':<28} float   INT8")
    for (name, in_float), in_int8 in zip(figures(measured[0]), figures(measured[1]), strict=True):
        click.echo(f"{name:<28} {in_float:.4f}  {in_int8[1]:.4f}")
    click.echo(f"{out / MODEL_FILE}: {(out / MODEL_FILE).stat().st_size:,} bytes")


# ---- reading -----------------------------------------------------------------------------------------------------


def read_rows(*files: Path) -> list[Row]:
    """The rows of some tables, one after the other. Raises InputInvalid when a file is not there or does not fit."""
    for file in files:
        if not file.is_file():
            raise InputInvalid(f"{file} is not there; name with --data the folder that has it.")
    return [row for file in files for _, row in read_table(file)]


def labelled(rows: Sequence[Row], column: str, value: str) -> Labelled:
    """Rows whose label holds where `column` is `value`. Raises InputInvalid when there is no such column."""
    if any(column not in row for row in rows):
        raise InputInvalid(f"the table has no column `{column}`, which says what became of each row; add it.")
    return Labelled(rows=rows, truth=np.array([row[column].strip() == value for row in rows], bool))


# ---- learning ----------------------------------------------------------------------------------------------------


def train(recipe: Recipe, learnt: Labelled) -> Additive:
    """A calibrated model, and the probability from which its label counts.

    Each row is scored by a model that has not seen it. Those scores (of rows in order of time the last tenth, since how
    often a label holds changes) say whether the table tells anything, and fix calibration and threshold.
    """
    truth = learnt.truth
    try:
        columns = learn_columns(learnt.rows, recipe.leave_out, recipe.most_bins)
    except ValueError:
        raise _no_signal(recipe, "no column has two values that enough rows share") from None
    bins = columns.bins_of(learnt.rows)
    if min(truth.sum(), (~truth).sum()) < 2 * FOLDS:
        raise _no_signal(recipe, f"the label holds for {truth.sum()} of {truth.size} rows")
    fold = np.arange(truth.size) % FOLDS
    unseen = np.empty(truth.size)
    for number in range(FOLDS):
        seen = fold != number
        unseen[~seen] = fit(recipe, columns, bins[seen], truth[seen]).log_odds(bins[~seen])
    judged = slice(-truth.size // RECENT, None) if recipe.in_time else slice(None)
    _check_signal(recipe, unseen[judged], truth[judged])
    slope, offset = calibrate(unseen[judged], truth[judged])
    whole = fit(recipe, columns, bins, truth)
    return Additive(
        columns=columns,
        values=whole.values * slope,
        bias=whole.bias * slope + offset,
        threshold=round(threshold(expit(unseen[judged] * slope + offset), truth[judged]), 4),
    )


def _check_signal(recipe: Recipe, score: Floats, truth: Truth) -> None:
    """Raises NoSignal unless the AUC is SURE standard errors of chance (Mann and Whitney, 1947) above a half."""
    yes, no = int(truth.sum()), int((~truth).sum())
    if min(yes, no) == 0:
        raise _no_signal(recipe, f"the label holds for {yes} of the last {truth.size} rows")
    auc, chance = roc_auc_score(truth, score), np.sqrt((yes + no + 1) / (12 * yes * no))
    if auc < 0.5 + SURE * chance:
        raise _no_signal(recipe, f"AUC {auc:.3f} on rows left out, and chance alone reaches {0.5 + SURE * chance:.3f}")


def _no_signal(recipe: Recipe, why: str) -> NoSignal:
    return NoSignal(
        f"nothing in the table tells {recipe.label} apart ({why}); no pack was written, add columns or rows."
    )


def fit(recipe: Recipe, columns: Columns, bins: Bins, truth: Truth) -> Additive:
    """The additive model that is most likely under its penalty, by Newton's method; each column is worth 0 on average
    of the rows that it is known of."""
    size = columns.size
    design = np.zeros((len(bins), size))
    np.put_along_axis(design, bins, 1.0, axis=1)
    design[:, UNKNOWN] = 1.0  # its place serves for the bias
    penalty = block_diag(0.0, *(_penalty(recipe, column.bins, isinstance(column, Numbers)) for column in columns.all))
    values = np.zeros(size)
    values[0] = np.log(truth.mean() / (1 - truth.mean()))
    for _ in range(STEPS):
        said = expit(design @ values)
        slope = design.T @ (truth - said) - penalty @ values
        step = np.linalg.solve((design.T * (said * (1 - said))) @ design + penalty, slope)
        values += step
        if np.abs(step).max() < STILL:
            break
    bias, values[UNKNOWN] = values[UNKNOWN], 0.0
    counts = np.bincount(bins.ravel(), minlength=size)
    for first, column in zip(columns.first, columns.all, strict=True):
        own = slice(first, first + column.bins)
        mean = values[own] @ counts[own] / max(counts[own].sum(), 1)
        values[own] -= mean
        bias += mean
    return Additive(columns=columns, values=values, bias=float(bias))


def _penalty(recipe: Recipe, bins: int, in_order: bool) -> Floats:
    steps = np.diff(np.eye(bins), axis=0)
    return np.asarray(recipe.small * np.eye(bins) + (recipe.smooth * steps.T @ steps if in_order else 0.0))


# ---- the pack ----------------------------------------------------------------------------------------------------


def exported(model: Additive) -> onnx.ModelProto:
    """The model in ONNX: what each bin is worth is looked up, put out as evidence, and added up."""
    helper, tensor = onnx.helper, onnx.TensorProto
    constants = {
        "values": model.values.astype(np.float32),
        "bias": np.array([model.bias], np.float32),
        "columns": np.array([1]),
    }
    nodes = [
        helper.make_node("Gather", ["values", INPUT], [CONTRIBUTIONS]),
        helper.make_node("ReduceSum", [CONTRIBUTIONS, "columns"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "bias"], [LOG_ODDS]),
        helper.make_node("Sigmoid", [LOG_ODDS], [PROBABILITY]),
    ]
    count = len(model.columns.all)
    graph = helper.make_graph(
        nodes,
        "odds",
        [helper.make_tensor_value_info(INPUT, tensor.INT64, ["rows", count])],
        [
            helper.make_tensor_value_info(CONTRIBUTIONS, tensor.FLOAT, ["rows", count]),
            helper.make_tensor_value_info(LOG_ODDS, tensor.FLOAT, ["rows"]),
            helper.make_tensor_value_info(PROBABILITY, tensor.FLOAT, ["rows"]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made


def packed(
    folder: Path,
    recipe: Recipe,
    model: Additive,
    graph: onnx.ModelProto,
    learnt: Labelled,
    measured: tuple[Sequence[Metric], Calibration | None] = ((), None),
    *,
    key: Path | None = None,
) -> Path:
    """Write the pack into a folder; gives the folder."""
    count = len(model.columns.all)
    manifest = Manifest(
        name=recipe.name,
        version="0.1.0",
        task="odds",
        runtime="onnx",
        languages=(),
        licence="Apache-2.0",
        about=recipe.about,
        about_zh=recipe.about_zh,
        files={},
        model=MODEL_FILE,
        labels=(recipe.label,),
        thresholds={recipe.label: model.threshold},
        calibration=measured[1],
        inputs={INPUT: Tensor(dtype="int64", shape=(-1, count))},
        outputs={
            CONTRIBUTIONS: Tensor(dtype="float32", shape=(-1, count)),
            LOG_ODDS: Tensor(dtype="float32", shape=(-1,)),
            PROBABILITY: Tensor(dtype="float32", shape=(-1,)),
        },
        sources=(recipe.source,),
        metrics=tuple(measured[0]),
    )
    return write_pack(
        folder,
        graph.SerializeToString(deterministic=True),
        manifest,
        {INPUT: model.columns.bins_of([*learnt.rows[:PROBES], {}])},
        within=WITHIN,
        beside={TABLE_FILE: msgspec.json.encode(model.columns.all) + b"\n"},
        key=key,
    )


# ---- measuring ---------------------------------------------------------------------------------------------------


def measure(folder: Path, tested: Labelled) -> Figures:
    """Run a pack as the device runs it and hold what it says against what became of the rows; those of which it
    abstains are left out."""
    scores = Odds(load(read_pack(folder))).score(tested.rows)
    judged = np.array([isinstance(score, RowScore) for score in scores])
    said = np.array([score.probability for score in scores if isinstance(score, RowScore)])
    truth = tested.truth[judged]
    return Figures(
        auc=float(roc_auc_score(truth, said)),
        average_precision=float(average_precision_score(truth, said)),
        calibration_error=calibration_error(said, truth),
        said=float(said.mean()),
        share=float(truth.mean()),
    )


def figures(of: Figures) -> list[tuple[str, float]]:
    """The figures by name, as they are printed and stand in the manifest."""
    return [
        ("AUC", of.auc),
        ("average precision", of.average_precision),
        ("calibration error", of.calibration_error),
        ("mean probability", of.said),
        ("share with the label", of.share),
    ]


def metrics(recipe: Recipe, exact: Figures, small: Figures, tested: Labelled) -> tuple[list[Metric], Calibration]:
    """The figures as the manifest carries them: those of the INT8 model that ships, and the float one's AUC."""
    where, samples = recipe.source.name, len(tested.rows)
    rows = [*figures(small), ("AUC, float", exact.auc)]
    error = round(small.calibration_error, 4)
    return [
        Metric(metric=name, value=round(value, 4), set=where, split=recipe.split, samples=samples)
        for name, value in rows
    ], Calibration(method="a logistic", error=error, set=where, split=recipe.split, samples=samples)
