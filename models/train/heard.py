"""Lets a recogniser hear turns that a voice speaks: `turns/heard.<language>.tsv`, the text beside what was heard.

    python -m models.train.heard [--all]

Three voices of flite (a Debian package) speak the English turns by turns, over a telephone line (8 kHz, G.711), and
Vosk writes them down: with its real mistakes, which nobody could make up. Without --all only the turns of
the test scenarios. What is there already is kept. flite knows no Chinese, and the Chinese speech pack has to be there.
"""

import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np
import soundfile

from models.catalogue import read_catalogue, speech_pack_of
from models.errors import PackMissing
from models.features.audio import read_chunks
from models.runtime.vosk import VoskModel
from models.store import default_packs, find_pack
from models.train.labelled import TURNS, draw, is_test, read_heard, read_turns

VOICES = ("slt", "rms", "awb")
RATE_HZ = 8000
SILENCE_S = 0.4
LANGUAGE = "en"


@click.command()
@click.option("--all", "every", is_flag=True, help="Also the turns that may be learnt from.")
def main(every: bool) -> None:
    """Speak and hear the turns that nobody has heard yet, and write them beside the others."""
    turns = [turn for turn in read_turns() if turn.language == LANGUAGE and (every or is_test(turn))]
    heard = read_heard(LANGUAGE)
    model = VoskModel(find_pack(speech_pack_of(LANGUAGE, read_catalogue()), default_packs()))
    with (TURNS / f"heard.{LANGUAGE}.tsv").open("a", encoding="utf-8") as file:
        for place, turn in enumerate(turns):
            if turn.text not in heard:
                voice = VOICES[(draw(turn) + place) % len(VOICES)]
                file.write(f"{turn.text}\t{hear(model, turn.text, voice)}\n")
                file.flush()
                click.echo(f"{place + 1} of {len(turns)}", err=True)


def hear(model: VoskModel, text: str, voice: str) -> str:
    """What the recogniser writes of a text that a voice of flite speaks into a telephone. Raises PackMissing when there
    is no flite."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "spoken.wav")
        try:
            subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(file)], check=True, capture_output=True)
        except FileNotFoundError:
            raise PackMissing("flite is not there; run `firmware-config/packages.sh test`.") from None
        sound = np.concatenate([chunk[:, 0] for chunk in read_chunks(file, rate_hz=RATE_HZ)])
        rest = np.zeros(int(SILENCE_S * RATE_HZ), np.int16)
        soundfile.write(file, np.concatenate([rest, sound, rest]), RATE_HZ, subtype="ULAW")
        line = np.concatenate([chunk[:, 0] for chunk in read_chunks(file, rate_hz=RATE_HZ)])
    stream = model.stream(RATE_HZ)
    results = [*stream.hear(line.tobytes()), stream.close()]
    return " ".join(word.text for result in results for word in result.words)


if __name__ == "__main__":
    main()
