"""What a pack for odds says of a row of a table: how likely its label is, and what each column added to that.

The model is additive (Lou et al., 2012): its log-odds are a bias and, for each column, what the row's bin there is
worth. It puts these parts out itself, so the evidence is what it ran on and not a second account of it. A column of
which a row says nothing adds 0, which is what the rows learnt from had there on average.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from models.errors import ModelError, PackInvalid
from models.features.table import TABLE_FILE, UNKNOWN, Column, Columns, Row
from models.pack import Pack
from models.runtime import Model

INPUT = "bins"
CONTRIBUTIONS, LOG_ODDS, PROBABILITY = "contributions", "log_odds", "probability"
MOST_TABLE_BYTES = 4 << 20
NAMED = 5  # columns, where it is said what a row lacks


class RowScore(msgspec.Struct, frozen=True, kw_only=True):
    """The calibrated probability (0 to 1) of the pack's label for a row.

    `weights` are the columns with what each added to the log-odds, largest part first; with `bias` they add up to
    `log_odds`. Those in `unknown` added nothing, because the row has no value there that the pack knows.
    """

    probability: float
    log_odds: float
    bias: float
    weights: tuple[tuple[str, float], ...]
    unknown: tuple[str, ...]


class Odds:
    """A pack for odds ready to score rows. May be shared by threads."""

    def __init__(self, model: Model) -> None:
        """Raises PackInvalid when the pack is for another task, has not one label, or its table does not fit its
        model."""
        manifest, where = model.pack.manifest, model.pack.folder
        if manifest.task != "odds":
            raise PackInvalid(
                f"{where} is a pack for {manifest.task}, not one that scores rows of a table; name another pack."
            )
        if len(manifest.labels) != 1 or set(manifest.thresholds) != set(manifest.labels):
            raise PackInvalid(f"{where} must have one label, and its threshold; install the pack anew.")
        self.columns = _columns(model.pack)
        count = len(self.columns.names)
        shapes = {name: tensor.shape for name, tensor in (*manifest.inputs.items(), *manifest.outputs.items())}
        if shapes != {INPUT: (-1, count), CONTRIBUTIONS: (-1, count), LOG_ODDS: (-1,), PROBABILITY: (-1,)}:
            raise PackInvalid(f"{where}: {TABLE_FILE} has not the columns of its model; install the pack anew.")
        self._model = model
        try:
            model.run({INPUT: np.full((1, count), self.columns.size - 1)})
        except ModelError:
            raise PackInvalid(f"{where}: {TABLE_FILE} has more bins than its model; install the pack anew.") from None
        self.name = manifest.name
        self.version = manifest.version
        self.label = manifest.labels[0]
        self.threshold = manifest.thresholds[self.label]

    def score(self, rows: Sequence[Row]) -> list[RowScore | str]:
        """What the pack says of each row (cells by column, as written), or one sentence why it abstains."""
        bins = self.columns.bins_of(rows)
        made = self._model.run({INPUT: bins})
        return [
            self._score(own, float(probability), float(log_odds), weights.tolist())
            if (own != UNKNOWN).any()
            else self._nothing_known()
            for own, probability, log_odds, weights in zip(
                bins, made[PROBABILITY], made[LOG_ODDS], made[CONTRIBUTIONS], strict=True
            )
        ]

    def _score(self, bins: np.ndarray, probability: float, log_odds: float, weights: list[float]) -> RowScore:
        named = sorted(zip(self.columns.names, weights, strict=True), key=lambda weight: -abs(weight[1]))
        return RowScore(
            probability=probability,
            log_odds=log_odds,
            bias=log_odds - sum(weights),
            weights=tuple(named),
            unknown=tuple(name for name, own in zip(self.columns.names, bins, strict=True) if own == UNKNOWN),
        )

    def _nothing_known(self) -> str:
        names = ", ".join(self.columns.names[:NAMED])
        more = ", …" if len(self.columns.names) > NAMED else ""
        return f"the row has no value that the pack knows in any of its columns ({names}{more})"


def _columns(pack: Pack) -> Columns:
    path = pack.folder / TABLE_FILE
    if TABLE_FILE not in pack.manifest.files:
        raise PackInvalid(f"{pack.folder} has no {TABLE_FILE} among its files; install the pack anew.")
    if path.stat().st_size > MOST_TABLE_BYTES:
        raise PackInvalid(f"{path} is longer than {MOST_TABLE_BYTES} bytes; do not use this pack.")
    try:
        return Columns(msgspec.json.decode(path.read_bytes(), type=list[Column]))
    except (msgspec.MsgspecError, ValueError) as error:
        raise PackInvalid(f"{path} is no table of columns: {error}; install the pack anew.") from None
