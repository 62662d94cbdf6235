"""Trains the pack `call-signals`: what a turn says, in English or Chinese, after those before it, as up to 13 labels.

    python -m models.train.call_signals [--out FOLDER] [--key FILE]

An encoder that was trained on other text (models/train/pretrained.py) is fine-tuned on models/train/turns, and a linear
model over hashed features (models/train/call_signals_small.py) learns from the same turns. Of the scenarios that may be
learnt from an eighth is kept back: on it is fixed what each of the two counts for, the calibration and the thresholds.
Half of the turns are read as a recogniser wrote them (models/train/heard.py), or at least without their marks and
capitals, and some without what was said before them; both are drawn anew in each pass."""

import random
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec
import numpy as np
import onnx

from models.features.tokens import IDS, KINDS, TokenReader
from models.pack import Calibration, Manifest, Metric, Source, Tensor
from models.tasks.text_labels import TOKENIZER, reads_both
from models.train.call_signals_small import fit, matrix_of
from models.train.encoder import Recipe
from models.train.encoder_graph import graph_of, in_8_bits
from models.train.hashed import INPUTS, outputs
from models.train.judging import AS_HEARD, Figures, Judged, calibration, judge, measure, metric_as_heard, metrics, table
from models.train.labelled import LABELS, LANGUAGES, Turn, fold_of, is_test, read_heard, read_turns, truth_of
from models.train.mixed_graph import hashed, joined, mix
from models.train.packing import key_option, write_pack
from models.train.pretrained import HEADS, SOURCE, read_pretrained
from models.train.quantize import quantize_tables
from models.train.tuning import learn, log_odds

OUT = Path(__file__).parents[1] / "packs" / "call-signals"
MODEL_FILE = "model.onnx"
KEPT_BACK = 8
PLAIN_SHARE = 0.5
ALONE_SHARE = 0.2
WITHIN = 0.2  # log-odds: kernels round 8-bit layers otherwise
ABOUT = (
    "Labels one turn of a telephone call or one note in English or Chinese, typed or as a recogniser writes it, after "
    "the two turns before it, with what it says about money, rivals, orders, parts, faults, service, leaving, "
    "renewing, deliveries, cover, danger, calling back and praise. Weak where a turn means it only by hint or irony, "
    "and for complaints that are not called so. Learnt from turns written for it, none from a real call. Read its "
    "metrics before trusting it alone with anything, above all with safety."
)
ABOUT_ZH = (
    "听懂电话里的一句话或一条记录（中文或英文，打字或语音识别的文字都行），并参考前两句：说的是钱、竞品、下单、备件、故障、服务、流失、续约、"
    "交付、质保、危险、回电还是表扬。话里有话、说反话，以及没明说的不满，它判得不准。训练用的句子都是专门写的，没有一句来自真实电话。"
    "让它单独作主之前，先看它的指标，安全方面尤其如此。"
)
RECIPE = Recipe(rate=1e-4, passes=4)
PROBES = (
    ("the gearbox is whining again send somebody", ""),
    ("Three, and by Friday.", "How many seals do you need?"),
    ("皮带跑偏了，你们什么时候来人", ""),
    ("价钱没问题。", ""),
)


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, help="The folder of the pack.")
@key_option
def main(out: Path, key: Path | None) -> None:
    """Train the pack, print how it does in float and in INT8, and write it."""
    turns = read_turns()
    tested = [turn for turn in turns if is_test(turn)]
    learnt = [turn for turn in turns if not is_test(turn) and fold_of(turn, KEPT_BACK)]
    kept_back = [turn for turn in turns if not is_test(turn) and not fold_of(turn, KEPT_BACK)]
    params, tokenizer = read_pretrained([text for turn in learnt for text in (turn.text, plain(turn.text))])
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(str(Path(folder, TOKENIZER)))
        reader = TokenReader(Path(folder, TOKENIZER))
        heard = read_heard("en")
        params = learn(
            params, reader, lambda draw: [_as_read(turn, heard, draw) for turn in learnt], truth_of(learnt), RECIPE
        )
        linear = fit(matrix_of(learnt), truth_of(learnt))
        of_encoder = log_odds(params, reader, [(turn.text, turn.before) for turn in kept_back])
        of_words = np.asarray(matrix_of(kept_back) @ linear.weights)
        mixed = mix(of_encoder, of_words, truth_of(kept_back))
        judged = judge(mixed.of(of_encoder, of_words), truth_of(kept_back))
        encoder = graph_of(params, HEADS, mixed.encoder * judged.slope, mixed.offset * judged.slope + judged.offset)
        words = hashed(linear.weights * mixed.linear * judged.slope)
        pack = _Pack(reader, Path(folder, TOKENIZER).read_bytes(), judged)

        def figures_of(model: onnx.ModelProto, turns: Sequence[Turn]) -> Figures:
            return measure(pack.write(Path(folder, "pack"), model), turns)

        exact, small = joined(encoder, words), joined(in_8_bits(encoder), quantize_tables(words))
        exact_figures, small_figures = figures_of(exact, tested), figures_of(small, tested)
        figures = metrics(exact_figures, small_figures, tested)
        spoken = [msgspec.structs.replace(turn, text=heard[turn.text]) for turn in tested if heard.get(turn.text)]
        if spoken:
            figures.append(metric_as_heard(figures_of(small, spoken).macro_f1_by_language["en"], len(spoken)))
        pack.write(out, small, figures, calibration(small_figures, tested), key)
    click.echo(f"{len(learnt)} turns to learn from, {len(kept_back)} to calibrate on, {len(tested)} to test on")
    click.echo(table(exact_figures, small_figures))
    for metric in figures:
        if metric.split == AS_HEARD:
            click.echo(f"{metric.metric}, {metric.split}: {metric.value:.3f}")
    click.echo(f"{out / MODEL_FILE}: {(out / MODEL_FILE).stat().st_size:,} bytes")


def _as_read(turn: Turn, heard: Mapping[str, str], draw: random.Random) -> tuple[str, str]:
    """A turn and what was before it, as one pass sees them."""
    before = "" if draw.random() < ALONE_SHARE else turn.before
    if draw.random() < PLAIN_SHARE:
        return heard.get(turn.text) or plain(turn.text), plain(before)
    return turn.text, before


def plain(text: str) -> str:
    """A text as a recogniser writes it: no capitals, no marks."""
    return " ".join(re.sub(r"[^\w\s'’]|_", " ", text).lower().split())


class _Pack:
    """All of the pack but the model."""

    def __init__(self, reader: TokenReader, tokenizer: bytes, judged: Judged) -> None:
        self._reader = reader
        self._tokenizer = tokenizer
        self._judged = judged

    def write(
        self,
        folder: Path,
        model: onnx.ModelProto,
        measured: Sequence[Metric] = (),
        calibrated: Calibration | None = None,
        key: Path | None = None,
    ) -> Path:
        """Write the pack with this model into a folder; gives the folder."""
        manifest = Manifest(
            name="call-signals",
            version="0.5.0",
            task="text-labels",
            runtime="onnx",
            languages=LANGUAGES,
            licence="Apache-2.0",
            about=ABOUT,
            about_zh=ABOUT_ZH,
            files={},
            model=MODEL_FILE,
            labels=LABELS,
            thresholds=self._judged.thresholds,
            calibration=calibrated,
            inputs={name: Tensor(dtype="int64", shape=(-1, -1)) for name in (IDS, KINDS)} | INPUTS,
            outputs=outputs(len(LABELS)),
            sources=(Source(name="models/train/turns", licence="Apache-2.0", use="train"), SOURCE),
            metrics=tuple(measured),
        )
        read = reads_both(self._reader.read)
        given, _ = read([text for text, _ in PROBES], [before for _, before in PROBES])
        content = model.SerializeToString(deterministic=True)
        beside = {TOKENIZER: self._tokenizer}
        return write_pack(folder, content, manifest, given, within=WITHIN, beside=beside, key=key)


if __name__ == "__main__":
    main()
