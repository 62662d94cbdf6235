"""Outcomes in what people write: `#budget yes`, `#budget 成`, `#budget 40%` anywhere in a note about a subject."""

import re
from typing import NamedTuple

_WORDS = {
    "yes": 1.0,
    "won": 1.0,
    "是": 1.0,
    "是的": 1.0,
    "成功": 1.0,
    "成": 1.0,
    "成了": 1.0,
    "有用": 1.0,
    "no": 0.0,
    "lost": 0.0,
    "否": 0.0,
    "没成": 0.0,
    "没成功": 0.0,
    "不成": 0.0,
    "没用": 0.0,
}
# Chinese is written without spaces, so its words may follow the name at once. A word that goes on is another word: 成本
# is no 成.
_CHINESE, _LATIN = (
    "|".join(sorted((word for word in _WORDS if word.isascii() == latin), key=len, reverse=True))
    for latin in (False, True)
)
_CLAIM = re.compile(
    r"#(?P<play>[\w-]+?)(?:[ \t:：,，]+(?:(?P<percent>\d{1,3}) ?%|(?P<share>[01](?:\.\d{1,6})?)(?![\w.%])|"
    rf"(?P<word>{_LATIN}|{_CHINESE})(?!\w))|(?P<joined>{_CHINESE})(?!\w))",
    re.IGNORECASE,
)


class Said(NamedTuple):
    """What a note says came of a play (0 to 1)."""

    play: str
    value: float


def outcomes_in(text: str) -> list[Said]:
    """The outcomes in a note, in their order; more than 100 % is none."""
    found = []
    for match in _CLAIM.finditer(text):
        if match["percent"] is not None:
            value = int(match["percent"]) / 100
        elif match["share"] is not None:
            value = float(match["share"])
        else:
            value = _WORDS[(match["word"] or match["joined"]).casefold()]
        if value <= 1:
            found.append(Said(match["play"], value))
    return found
