"""The architecture of `call-signals` on public sets of intents: it is to be good at more than our own turns.

    python -m models.train.intents [banking77] [clinc150] --data DATA [--json]

A tenth of BANKING77's training rows is held out; of CLINC150 half of the validation rows fix from which probability on
a text counts as in scope, and the other half is measured on. Texts out of scope are learnt as texts of no intent.
"""

import csv
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

import models.runtime  # noqa: F401  # isort: skip  # before ONNX Runtime, which it keeps from reporting its use
import onnxruntime

from models.features.tokens import TokenReader
from models.tasks.text_labels import TOKENIZER
from models.train.encoder import Recipe
from models.train.encoder_graph import graph_of, in_8_bits
from models.train.evaluate import Measured
from models.train.pretrained import HEADS, read_pretrained
from models.train.tuning import learn

ARCHITECTURE = "call-signals, its architecture"
OUT_OF_SCOPE = "oos"
RECIPE = Recipe(rate=1e-4, passes=6)
HELD_OUT = 10
IN_SCOPE_LOST = 0.02  # of the texts in scope so many may be turned away

Rows = list[tuple[str, str]]
"""Texts with their intents."""


class Set(msgspec.Struct, frozen=True, kw_only=True):
    """A set of intents: rows to learn from, rows that fix the threshold (none: there is nothing out of scope), and rows
    to measure on."""

    name: str
    learnt: Rows
    fixing: Rows
    tested: Rows
    accuracy_target: float
    recall_target: float = 0.0


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(["banking77", "clinc150"]))
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def main(names: tuple[str, ...], data: Path, as_json: bool) -> None:
    """Fine-tune the encoder on each set and print how often it is right, in float and in INT8."""
    readers = {"banking77": read_banking, "clinc150": read_clinc}
    for name in names or tuple(readers):
        for measured in measure(readers[name](data / name)):
            fields = msgspec.to_builtins(measured)
            plain = f"{measured.metric:<40} {measured.value:.4f} {measured.target or ''} {measured.set}"
            click.echo(json.dumps(fields) if as_json else plain)


def read_banking(folder: Path) -> Set:
    """BANKING77 (Casanueva et al., 2020), its training rows in two parts."""
    with (folder / "banking_data" / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    held_out = len(rows) // HELD_OUT
    return Set(name="BANKING77", learnt=rows[held_out:], fixing=[], tested=rows[:held_out], accuracy_target=0.924)


def read_clinc(folder: Path) -> Set:
    """CLINC150 (Larson et al., 2019) with what is out of scope."""
    parts = json.loads((folder / "data" / "data_full.json").read_text("utf-8"))
    rows = {name: [(text, intent) for text, intent in part] for name, part in parts.items()}
    held_out = rows["val"] + rows["oos_val"]
    random.Random(0).shuffle(held_out)
    half = len(held_out) // 2
    return Set(
        name="CLINC150",
        learnt=rows["train"] + rows["oos_train"],
        fixing=held_out[:half],
        tested=held_out[half:],
        accuracy_target=0.95,
        recall_target=0.60,
    )


def measure(of: Set) -> Iterator[Measured]:
    """How often the intent that it is surest of is the right one, and how many texts out of scope it turns away."""
    intents = sorted({intent for _, intent in of.learnt} - {OUT_OF_SCOPE})
    params, tokenizer = read_pretrained([text for text, _ in of.learnt])
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(str(Path(folder, TOKENIZER)))
        reader = TokenReader(Path(folder, TOKENIZER))
    truth = np.array([[intent == name for name in intents] for _, intent in of.learnt])
    params = learn(params, reader, lambda _: [(text, "") for text, _ in of.learnt], truth, RECIPE)
    exact = graph_of(params, HEADS, np.ones(len(intents)), np.zeros(len(intents)))
    where = f"{of.name}, {len(of.tested)} rows held out"
    for name, model in (("float", exact), ("INT8", in_8_bits(exact))):
        surest, chosen = _said(model, reader, of.tested)
        in_scope = np.array([intent != OUT_OF_SCOPE for _, intent in of.tested])
        right = np.array([intents[c] == intent for c, (_, intent) in zip(chosen, of.tested, strict=True)])
        if of.fixing:
            known = np.array([intent != OUT_OF_SCOPE for _, intent in of.fixing])
            least = float(np.quantile(_said(model, reader, of.fixing)[0][known], IN_SCOPE_LOST))
            right &= surest >= least
            recall = float((surest < least)[~in_scope].mean())
            yield _measured(where, f"recall of what is out of scope, {name}", recall, of.recall_target)
        yield _measured(where, f"accuracy in scope, {name}", float(right[in_scope].mean()), of.accuracy_target)


def _measured(where: str, metric: str, value: float, target: float) -> Measured:
    return Measured(
        pack=ARCHITECTURE, set=where, metric=metric, value=round(value, 4), target=target, ok=value >= target
    )


def _said(
    model: onnx.ModelProto, reader: TokenReader, rows: Sequence[tuple[str, str]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of each row the highest log-odds, and which intent has it."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    log_odds = np.concatenate([session.run(["log_odds"], reader.read([text], [""])[0])[0] for text, _ in rows])
    return log_odds.max(1), log_odds.argmax(1)


if __name__ == "__main__":
    main()
