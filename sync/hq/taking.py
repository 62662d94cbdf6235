"""What HQ makes of what sites say: applies it to the store, and finds the answers. It knows no broker."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from sync import keys, log
from sync.envelope import open_header, unpack
from sync.errors import DictionaryUnknown, EnvelopeInvalid, MessageInvalid
from sync.hq import orders
from sync.hq.errors import IdentityConflict
from sync.hq.store import Cause, Store
from sync.protocol import (
    MAX_RUNS,
    Ack,
    Answer,
    Chunk,
    Claim,
    Contested,
    Dictionary,
    Have,
    Offer,
    State,
    StateTopic,
    Taken,
    UpTopic,
    Want,
    ack_topic,
    chunk_topic,
    offer_topic,
    parse_topic,
)
from sync.sealed import unseal

_MAX_NAMED = 16


class Answers:
    """What sites are told once what they said is committed; `refused` says by site why something was not taken."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[Taken]] = defaultdict(list)
        self.contested: defaultdict[str, list[Contested]] = defaultdict(list)
        self.learnt: defaultdict[str, list[str]] = defaultdict(list)
        self.unknown: defaultdict[str, list[str]] = defaultdict(list)
        self.refused: dict[str, str] = {}
        self.introduced: dict[tuple[str, str], State] = {}
        """By site and introduction."""
        self.present: set[str] = set()
        self.said: list[tuple[str, msgspec.Struct]] = []
        """Have, Offer and Chunk, each for a topic."""

    def messages(self, at: int) -> list[tuple[str, msgspec.Struct]]:
        """All of them, by topic."""
        sites = sorted({*self.taken, *self.contested, *self.learnt, *self.unknown})
        acks: list[tuple[str, msgspec.Struct]] = [
            (
                ack_topic(site),
                Ack(
                    site=site,
                    at=at,
                    taken=tuple(self.taken[site]),
                    dictionaries=tuple(dict.fromkeys(self.learnt[site]))[-_MAX_NAMED:],
                    unknown_dictionaries=tuple(dict.fromkeys(self.unknown[site]))[:_MAX_NAMED],
                    contested=tuple(self.contested[site]),
                ),
            )
            for site in sites
        ]
        return [*acks, *self.said]


def take(store: Store, messages: Sequence[tuple[str, bytes]], at: int) -> Answers:
    """Take messages (topic, payload) that came at `at` (µs), all in one transaction; what cannot be taken is set aside.

    Raises StoreFailed: then nothing was taken.
    """
    answers = Answers()
    with store.transaction(_claimed_site(topic) for topic, _ in messages):
        for topic, payload in messages:
            try:
                _take_one(store, topic, payload, at, answers)
            except (EnvelopeInvalid, MessageInvalid) as fault:
                log.warning("refused", topic=topic[:200], reason=str(fault))
                cause: Cause = "conflict" if isinstance(fault, IdentityConflict) else "refused"
                store.quarantine(_claimed_site(topic), cause, str(fault), payload, at)
                if isinstance(fault, IdentityConflict):
                    contested = Contested(envelope=fault.envelope, runs=fault.numbers.runs[:MAX_RUNS])
                    answers.contested[_claimed_site(topic)].append(contested)
                else:
                    answers.refused[_claimed_site(topic)] = str(fault)
        for (site, _), state in answers.introduced.items():
            answers.said.append((ack_topic(site), _have(store, site, state, at)))
        for site in answers.present:  # with each pulse too: what was just sent should not wait for an introduction
            offers: list[Offer] = orders.offers(store, site)
            answers.said.extend((offer_topic(site), offer) for offer in offers)
    return answers


def _take_one(store: Store, topic: str, payload: bytes, at: int, answers: Answers) -> None:
    place = parse_topic(topic)
    site = place.site
    text = store.key_of(site)
    if text is None:
        raise MessageInvalid(f"site {site} is not enrolled or was revoked; invite it with `outstation hq invite`.")
    key = keys.parse_public(text)
    match place:
        case StateTopic():
            state = _of(site, unseal(payload, topic, key, State))
            if store.note_state(state, at):
                answers.introduced[site, state.introduction] = state
            if state.state == "up":
                answers.present.add(site)
        case UpTopic(what="dictionary"):
            dictionary = _of(site, unseal(payload, topic, key, Dictionary))
            store.learn_dictionary(dictionary, at)
            answers.learnt[site].append(dictionary.id)
        case UpTopic(what="want"):
            want = _of(site, unseal(payload, topic, key, Want))
            chunk: Chunk | None = orders.answers(store, site, want)
            if chunk is not None:
                answers.said.append((chunk_topic(site), chunk))
        case UpTopic(what="claim"):
            claim = _of(site, unseal(payload, topic, key, Claim))
            if store.holds(site, claim.rows):
                answers.taken[site].append(claim.rows)
        case UpTopic(what=lane):
            header = open_header(payload)
            if (header.site, header.lane) != (site, lane):
                raise EnvelopeInvalid(
                    f"an envelope of site {header.site}, lane {header.lane} came on the topic {topic}."
                )
            try:
                header, rows = unpack(payload, key, lambda id: store.dictionary(site, id))
            except DictionaryUnknown:
                answers.unknown[site].append(header.dictionary)
                return
            answers.taken[site].append(store.apply(header, rows, at))


def _have(store: Store, site: str, state: State, at: int) -> Answer:
    return Have(
        site=site,
        introduction=state.introduction,
        at=at,
        lanes=store.have(site, {lane.epoch for lane in state.lanes}),
        dictionaries=store.dictionaries(site)[:_MAX_NAMED],
    )


def _of(site: str, message: Any) -> Any:
    if message.site != site:
        raise MessageInvalid(f"site {site} speaks for site {message.site}.")
    return message


def _claimed_site(topic: str) -> str:
    return "".join(topic.split("/")[2:3])[:64]
