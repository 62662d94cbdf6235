"""How a call was spoken: who talked how much and how fast, where nobody spoke, where both did."""

import itertools
from collections.abc import Iterable, Sequence

from edge.events import Talk, Utterance

PAUSE_S = 1.0


def talk(utterances: Sequence[Utterance]) -> Talk:
    """The figures of a whole call from its utterances, in any order.

    A channel talks from the first to the last word of each of its utterances; its share is of all channels' talk, its
    rate is words per minute of its own talk.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    words: dict[str, int] = {}
    for utterance in utterances:
        spans.setdefault(utterance.channel, []).append((utterance.start_s, utterance.end_s))
        words[utterance.channel] = words.get(utterance.channel, 0) + len(utterance.words)
    spoken_s = {channel: _length(_joined(parts)) for channel, parts in spans.items()}
    total_s = sum(spoken_s.values())
    anybody = _joined(span for parts in spans.values() for span in parts)
    pauses = [later[0] - earlier[1] for earlier, later in itertools.pairwise(anybody)]
    long_pauses = [pause for pause in pauses if pause >= PAUSE_S]
    return Talk(
        talk_share={channel: round(s / total_s, 4) if total_s else 0.0 for channel, s in spoken_s.items()},
        words_per_minute={channel: round(60 * words[channel] / s, 1) if s else 0.0 for channel, s in spoken_s.items()},
        pauses=len(long_pauses),
        longest_pause_s=round(max(long_pauses, default=0.0), 3),
        overlap_s=round(total_s - _length(anybody), 3),
    )


def _joined(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, those that touch made one."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _length(spans: Iterable[tuple[float, float]]) -> float:
    return sum(end - start for start, end in spans)
