"""Names in what was heard: a recogniser does not know a site's machines, parts, people and rivals, and writes what
sounds like them; the vocabulary does, and puts the name in its place, if it sounds alike enough for how sure the
recogniser was. What it wrote is kept beside it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from edge.events import Named, Utterance, Word
from edge.vocabulary import Term
from models.features.sound import likeness
from models.features.text import is_chinese

SURE, UNSURE = 0.85, 0.74
"""How alike a stretch must sound of which the recogniser was sure (1), and one that it guessed (0); chosen by
tests/bench/names.py."""
SHORTEST = 4
"""Names of fewer letters (Chinese: half as many characters) sound like too much and are only found as written; so does
what was heard as fewer: "an offer" is none from Anna."""


class Names:
    """The names of a site, ready to be found."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._spellings = {
            language: [(term, _units(spelling), spelling) for term in terms for spelling in getattr(term, language)]
            for language in ("en", "zh")
        }

    def correct(self, utterance: Utterance) -> Utterance:
        """The utterance with the names in it found, and, where its words were recognised, put right."""
        words = utterance.words or (Word(text=utterance.text, start_s=0.0, end_s=0.0, confidence=1.0),)
        units = [(number, unit) for number, word in enumerate(words) for unit in _split(word, _units(word.text))]
        said = [unit for _, unit in units]
        spellings = self._spellings.get(utterance.language) or [*self._spellings["en"], *self._spellings["zh"]]
        found = _best(_written(said, spellings), _sounding(said, spellings) if utterance.words else [])
        if not found:
            return utterance
        names = tuple(Named(kind=p.term.kind, name=p.term.name, said=p.spelling, heard=p.heard) for p in found)
        changed = [place for place in found if not place.exact]
        if not changed:
            return msgspec.structs.replace(utterance, names=names)
        corrected = tuple(_corrected(words, units, changed))
        text = " ".join(word.text for word in corrected)
        return msgspec.structs.replace(utterance, text=text, heard=utterance.text, words=corrected, names=names)


def _corrected(words: Sequence[Word], units: Sequence[tuple[int, Word]], places: Sequence["_Place"]) -> Iterator[Word]:
    """The words with the names in their places; of a word that a name covers in part, the rest stays."""
    said = [unit for _, unit in units]
    covered = {number for place in places for number, _ in units[place.first : place.end]}
    names = {place.first: place for place in places}
    position = 0
    while position < len(units):
        number, unit = units[position]
        if position in names:
            place = names[position]
            yield from _respelt(said[place.first : place.end], place)
            position = place.end
        elif number in covered:
            yield unit
            position += 1
        else:
            yield words[number]
            position += sum(1 for other, _ in units[position:] if other == number)


class _Place(msgspec.Struct, frozen=True):
    """A stretch of words that may be a name: how alike it sounds, and how."""

    alike: float
    first: int
    end: int
    term: Term
    spelling: str
    heard: str

    @property
    def exact(self) -> bool:
        return self.heard.casefold() == self.spelling.casefold()


def _written(words: Sequence[Word], spellings: Sequence[tuple[Term, tuple[str, ...], str]]) -> list[_Place]:
    """The names that stand there as the vocabulary spells them."""
    texts = [word.text.casefold() for word in words]
    return [
        _Place(1.0, first, first + len(units), term, spelling, spelling)
        for term, units, spelling in spellings
        for first in range(len(texts) - len(units) + 1)
        if texts[first : first + len(units)] == [unit.casefold() for unit in units]
    ]


def _sounding(words: Sequence[Word], spellings: Sequence[tuple[Term, tuple[str, ...], str]]) -> list[_Place]:
    """The stretches that sound like a name, alike enough for how sure the recogniser was of them."""
    found = []
    stretches = _Stretches(words)
    for term, units, spelling in spellings:
        if _length(spelling) < SHORTEST:
            continue
        for length in range(max(1, len(units) - 1), len(units) + 2):
            for first, stretch, heard in stretches.of(length):
                if _length(heard) < SHORTEST:
                    continue
                alike = likeness(heard, spelling, UNSURE)
                if alike >= UNSURE and alike >= _needed(stretch, units):
                    found.append(_Place(alike, first, first + length, term, spelling, heard))
    return found


class _Stretches:
    """All stretches of words by their length, each made once for all the spellings that it is held against."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words
        self._made: dict[int, list[tuple[int, Sequence[Word], str]]] = {}

    def of(self, length: int) -> list[tuple[int, Sequence[Word], str]]:
        """Where each begins, its words, and how one writes it."""
        if length not in self._made:
            parts = [self._words[first : first + length] for first in range(len(self._words) - length + 1)]
            self._made[length] = [(first, part, _joined(part)) for first, part in enumerate(parts)]
        return self._made[length]


def _length(text: str) -> int:
    """The letters of a text; a Chinese character counts for two."""
    return sum(2 if is_chinese(character) else 1 for character in text if character != " ")


def _needed(stretch: Sequence[Word], units: Sequence[str]) -> float:
    """What a word of the name shows by being there needs no proof; of the others the recogniser's doubt decides."""
    said = {unit.casefold() for unit in units}
    doubtful = [word.confidence for word in stretch if word.text.casefold() not in said]
    sure = max(doubtful, default=1.0)
    return UNSURE + (SURE - UNSURE) * sure


def _best(*found: list[_Place]) -> list[_Place]:
    """Of stretches that overlap the one that sounds most alike, of those the longest; in the order of the words."""
    chosen: list[_Place] = []
    for place in sorted((place for some in found for place in some), key=lambda p: (-p.alike, p.first - p.end)):
        if all(place.end <= other.first or place.first >= other.end for other in chosen):
            chosen.append(place)
    return sorted(chosen, key=lambda place: place.first)


def _respelt(stretch: Sequence[Word], place: _Place) -> list[Word]:
    """The name's own words, sharing out the time in which it was said; in Chinese it is one."""
    confidence = round(sum(word.confidence for word in stretch) / len(stretch), 4)
    whole = Word(text=place.spelling, start_s=stretch[0].start_s, end_s=stretch[-1].end_s, confidence=confidence)
    return _split(whole, tuple(place.spelling.split()))


def _split(word: Word, units: tuple[str, ...]) -> list[Word]:
    """A word as its units, sharing out its time."""
    length_s = word.end_s - word.start_s
    edges = [round(word.start_s + length_s * number / len(units), 3) for number in range(len(units) + 1)]
    return [
        Word(text=unit, start_s=since, end_s=until, confidence=word.confidence)
        for unit, (since, until) in zip(units, pairwise(edges), strict=True)
    ]


def _joined(words: Sequence[Word]) -> str:
    """Words as one writes them: Chinese without spaces."""
    texts = [word.text for word in words]
    return ("" if any(map(is_chinese, "".join(texts))) else " ").join(texts)


def _units(text: str) -> tuple[str, ...]:
    """The words of a text; of Chinese, which has no spaces, the characters."""
    units: list[str] = []
    for word in text.split():
        if any(map(is_chinese, word)):
            units += word
        else:
            units.append(word)
    return tuple(units)
