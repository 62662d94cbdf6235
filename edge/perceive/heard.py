"""What comes of a call on its way to words."""

import msgspec

from edge.events import Call, Event, Utterance, Word
from models.runtime.speech import Word as SpokenWord


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call: utterances in the order of their ends, or its end, or why it cannot be heard: for ever
    (`fault`), or as long as there is no speech pack for its language (`missing`). Or `so_far`: what somebody is saying
    and has held still long enough to act on it, the more so when he has `paused`; the utterance that follows may say
    otherwise, or nothing was said on that channel after all (`unsaid`).

    `seconds` is by channel how far the call has been heard when these utterances are kept.
    """

    event: Event
    utterances: tuple[Utterance, ...] = ()
    seconds: dict[str, float]
    so_far: Utterance | None = None
    paused: bool = False
    unsaid: str = ""
    ended: bool = False
    fault: str = ""
    missing: str = ""


def call_of(event: Event) -> Call:
    """The call that an event is."""
    assert isinstance(event.data, Call)
    return event.data


def utterance(channel: str, language: str, words: tuple[SpokenWord, ...], start_s: float) -> Utterance:
    """Recognised words, at least one (times from the start of a stream that began at `start_s`), as an utterance of
    the call."""
    return Utterance(
        channel=channel,
        language=language,
        text=" ".join(word.text for word in words),
        start_s=round(words[0].start_s + start_s, 3),
        end_s=round(words[-1].end_s + start_s, 3),
        confidence=round(sum(word.confidence for word in words) / len(words), 4),
        words=tuple(
            Word(
                text=word.text,
                start_s=round(word.start_s + start_s, 3),
                end_s=round(word.end_s + start_s, 3),
                confidence=round(word.confidence, 4),
            )
            for word in words
        ),
    )
