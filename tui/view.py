"""What the screen shows of a board, as lines: pure functions of the board, the clock and the room there is.

Colour only repeats what words and bold or reversed text say already, and it is red alone, which can be read on black
and on white; so the screen says the same on a terminal without colours. Only ASCII and Chinese are drawn.
"""

import time
from collections.abc import Sequence

from rich.text import Text

from tui.board import Board, moment
from tui.client import Card, Chain, Evidence, Wanted
from tui.columns import fit, plain, table, width, without_gaps, wrap
from tui.words import Language, duration, lateness, odds, role_name, say, say_or, state_name, translated

SOON_S = 15 * 60
NARROW = 60
WIDE = 100
MOST_WEIGHTS = 5
KEYS = (
    ("a", "accept"),
    ("d", "decline"),
    ("x", "done"),
    ("u", "undo"),
    ("h", "hand_over"),
    ("?", "help"),
    ("n", "note"),
    ("o", "outcomes"),
    ("l", "language"),
    ("r", "reload"),
    ("q", "quit"),
)
HELP = (
    ("Up Down", "move"),
    ("Home End", "ends"),
    ("PgUp PgDn", "page"),
    ("a", "accept"),
    ("d", "decline"),
    ("x", "done"),
    ("u", "undo"),
    ("h", "hand_over"),
    ("n", "note"),
    ("o", "outcomes"),
    ("l", "language"),
    ("r", "reload"),
    ("q", "quit"),
    ("* +", "chain"),
)


def head(board: Board, now_us: int, columns: int) -> list[Text]:
    """One line: the site, how many cards, and if there is room how many outcomes are asked for; who I am, what waits,
    how the link is."""
    language = board.language
    open_cards = [card for card in board.cards.values() if card.is_open]
    late = sum(moment(card) < now_us for card in open_cards)
    count = say(language, "open_cards.1" if len(open_cards) == 1 else "open_cards", count=len(open_cards))
    left = [board.site or "Outstation"]
    if board.loaded:
        left += [count, say(language, "late_cards", count=late)] if late else [count]
    right = [say(language, board.link, since=clock(board.since_us, board.since_us))]
    if board.waiting:
        right.insert(0, say(language, "waiting", count=len(board.waiting)))
    if columns >= NARROW:
        right.insert(0, plain(board.name))
    status = "  ".join(["", *right]) + " "
    if asked := len(board.unanswered()):
        words = say(language, "outcomes_asked.1" if asked == 1 else "outcomes_asked", count=asked)
        left += [words] if width(" " + "  ".join([*left, words]) + status) <= columns else []
    text = fit(" " + "  ".join(left), max(0, columns - width(status))) + status
    return [_line((fit(text, columns), "bold reverse"))]


def card_list(board: Board, now_us: int, columns: int, rows: int) -> list[Text]:
    """The heads of the columns and the cards around the chosen one, most urgent first, `rows` lines in all."""
    language = board.language
    cards = board.in_order()
    if not cards:
        return [Text(), *_paragraph(say(language, "no_cards" if board.loaded else "no_cards_yet"), columns)][:rows]
    heads = ("head.state", "head.left", "head.role", "head.title", "head.subject")
    room = max(1, rows - 1)
    chosen = next((place for place, card in enumerate(cards) if card.id == board.chosen_id), 0)
    start = min(max(chosen - room // 2, 0), max(0, len(cards) - room))
    marks = _marks(board, now_us)
    lines = [_line((_row(language, "  ", [say(language, key) for key in heads], columns), "bold"))]
    lines += [_card_row(board, card, marks.get(card.id, " "), now_us, columns) for card in cards[start : start + room]]
    return lines[:rows]


def card_page(board: Board, now_us: int, columns: int, rows: int, scroll: int) -> tuple[list[Text], int]:
    """A rule and the chosen card in full from its line `scroll` on, `rows` lines in all; and how far down it really
    is, for there is no scrolling beyond the end."""
    card = board.chosen
    if card is None:
        return [], 0
    chain = board.chain_of(card, now_us)
    lines = _chain_text(board.language, chain, now_us, columns) if chain else []
    lines += _card_text(board, card, chain, now_us, columns)
    room = max(1, rows - 1)
    scroll = min(max(scroll, 0), max(0, len(lines) - room))
    return [_rule(board, card, columns, scroll > 0, len(lines) > scroll + room), *lines[scroll : scroll + room]], scroll


def foot(board: Board, columns: int) -> list[Text]:
    """Two lines of what there is to tell, and the keys."""
    language = board.language
    told, style = board.said, "bold"
    if not told and board.link == "no_link":
        told, style = translated(language, board.trouble), "bold red"
    elif not told and not board.health.ready and board.health.problems:
        told, style = say(language, "not_ready", problem=board.health.problems[0]), "bold red"
    first, *rest = wrap(told, columns - 2)
    second = fit(" ".join(rest), max(0, columns - 2))
    return [_line((" " + first, style)), _line((" " + second, style)), _keys(language, columns)]


def help_page(language: Language, columns: int) -> list[Text]:
    """What the keys do."""
    lines = [_line((" " + say(language, "help.title"), "bold")), Text()]
    for key, what in HELP:
        lines.append(_line(" ", (fit(f" {key}", 12), "reverse"), " " + say(language, f"help.{what}")))
    lines += [Text(), *_paragraph(say(language, "help.offline"), columns), Text()]
    return [*lines, *_paragraph(say(language, "help.any"), columns)]


def outcome_page(
    board: Board, wanted: Sequence[Wanted], place: int, typed: str, now_us: int, columns: int, rows: int
) -> list[Text]:
    """What is asked about decisions: a list with the one at `place` chosen, its question in full, the per cent `typed`
    so far, what there is to tell, and the keys; `rows` lines in all. Nothing here says whether anything was done."""
    language = board.language
    lines = [_line((" " + say(language, "outcome.title"), "bold"))]
    tail = [_line((fit(" " + board.said, columns), "bold")), _line(fit(" " + say(language, "outcome.keys"), columns))]
    if not wanted:
        return [*lines, *_paragraph(say(language, "outcome.none"), columns), *tail[1:]][:rows]
    text = _wanted_text(board, wanted[place], typed, now_us, columns)
    room = max(1, rows - len(lines) - len(text) - len(tail) - 2)
    start = min(max(place - room // 2, 0), max(0, len(wanted) - room))
    shown = list(enumerate(wanted))[start : start + room]
    lines += [_wanted_row(board, one, number == place, now_us, columns) for number, one in shown]
    return [*lines, Text(), *text, Text(), *tail][:rows]


def value_name(language: Language, value: float) -> str:
    """An outcome as people say it: yes, no, or so many per cent."""
    if value in (0, 1):
        return say(language, "outcome.yes" if value else "outcome.no")
    return say(language, "outcome.percent", percent=round(value * 100))


def clock(at_us: int, now_us: int) -> str:
    """A moment as the clock on the terminal's wall shows it, with the date unless that is today's."""
    then, now = time.localtime(at_us / 1_000_000), time.localtime(now_us / 1_000_000)
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%m-%d %H:%M", then)


# ---- the list ------------------------------------------------------------------------------------------------


def _marks(board: Board, now_us: int) -> dict[str, str]:
    """By card the mark of a step of what it is best to do now: of the chain that is shown, or of another."""
    marks = {step.card_id: "+" for chain in board.chains if chain.until > now_us for step in chain.steps}
    shown = board.chain_of(board.chosen, now_us) if board.chosen else None
    return marks | {step.card_id: "*" for step in (shown.steps if shown else ())}


def _card_row(board: Board, card: Card, mark: str, now_us: int, columns: int) -> Text:
    language = board.language
    is_chosen = card.id == board.chosen_id
    left_s = (moment(card) - now_us) / 1_000_000
    title = translated(language, card.title)
    state = "waiting" if board.waiting.verb_for(card.id) else card.state
    cells = [
        state_name(language, state),
        _left(language, left_s) if card.is_open else "",
        role_name(language, card.role),
        title if columns < WIDE else f"{title}: {translated(language, card.what)}",
        card.subject,
    ]
    if is_chosen:
        # Not in colour: black on red is hard to read in bad light.
        return _line((_row(language, ">" + mark, cells, columns), "bold reverse"))
    style = "bold red" if card.is_open and left_s < SOON_S else "bold" if card.state == "proposed" else ""
    return _line((_row(language, " " + mark, cells, columns), style))


def _row(language: Language, mark: str, cells: Sequence[str], columns: int) -> str:
    """The cells in their columns: state, time left, role, title, subject; a narrow screen has no role or subject."""
    state, left, role, title, subject = cells
    state_columns, left_columns, role_columns = (8, 11, 11) if language == "en" else (6, 10, 8)
    row = f"{mark}{fit(state, state_columns)} {fit(left, left_columns)} "
    if columns < NARROW:
        return row + fit(title, max(0, columns - width(row)))
    subject_columns = min(max(columns // 5, 10), 24)
    row += f"{fit(role, role_columns if columns < WIDE else 16)} "
    return f"{row}{fit(title, columns - width(row) - subject_columns - 1)} {fit(subject, subject_columns)}"


def _left(language: Language, left_s: float) -> str:
    if left_s < 0:
        return say(language, "late", time=lateness(language, -left_s))
    return duration(language, left_s)


# ---- the chosen card -----------------------------------------------------------------------------------------


def _rule(board: Board, card: Card, columns: int, more_above: bool, more_below: bool) -> Text:
    cards = board.in_order()
    place = say(board.language, "card_of", number=cards.index(card) + 1, count=len(cards))
    more = say(board.language, "more" if more_below else "more_up") if more_below or more_above else ""
    middle = columns - width(place) - width(more) - 8
    text = f"-- {place} {'-' * middle} {more} --" if more else f"-- {place} {'-' * (middle + 4)}"
    return _line(fit(text, columns))


def _chain_text(language: Language, chain: Chain, now_us: int, columns: int) -> list[Text]:
    """How likely the goal is now, and how likely with the steps of a chain."""
    count = len(chain.steps)
    is_proven = all(step.proven for step in chain.steps)
    many, one = ("chain", "chain.1") if is_proven else ("chain_unproven", "chain_unproven.1")
    numbers = {name: odds(language, getattr(chain, name)) for name in ("before", "after", "low", "high")}
    minutes = -((now_us - chain.until) // 60_000_000)
    text = say(language, one if count == 1 else many, count=count, minutes=minutes, **numbers)
    return _paragraph(text, columns)


def _card_text(board: Board, card: Card, chain: Chain | None, now_us: int, columns: int) -> list[Text]:
    """Title, what to do, with what, by when, why, about whom, state."""
    language = board.language
    indent = 7 if language == "en" else 6
    parts = [
        ("label.do", [translated(language, card.what), *_hand_over(language, card)]),
        ("label.step", _step(language, card, chain)),
        ("label.with", [text for text in (translated(language, card.tool),) if text]),
        ("label.to", [card.to] if card.to else []),
        ("label.text", [card.text] if card.text else []),
        ("label.by", _deadlines(language, card, now_us)),
        ("label.sheet", table(card.sheet.columns, card.sheet.rows, max(2, columns - indent - 1)) if card.sheet else []),
        ("label.why", _reasons(language, card, now_us)),
        ("label.about", [_about(language, card)]),
        ("label.state", _standing(board, card)),
    ]
    lines = [_line((" " + line, "bold")) for line in wrap(translated(language, card.title), columns - 2)]
    for label, texts in parts:
        start = " " + say(language, label)
        for line in (line for text in texts for line in _hanging(text, columns - indent - 1)):
            lines.append(_line((fit(start, indent), "bold"), line))
            start = ""
    return lines


def _hand_over(language: Language, card: Card) -> list[str]:
    """To whom a key hands the card, if to anybody."""
    can_be = card.hand_over and card.state in ("proposed", "accepted")
    return [say(language, "hand_to", role=role_name(language, card.hand_over))] if can_be else []


def _step(language: Language, card: Card, chain: Chain | None) -> list[str]:
    """Which step of a chain the card is, if any."""
    place = chain.place_of(card.id) if chain else None
    if chain is None or place is None:
        return []
    key = "step_of" if chain.steps[place - 1].proven else "step_of_unproven"
    return [say(language, key, place=place, count=len(chain.steps))]


def _hanging(text: str, columns: int) -> list[str]:
    """`text` wrapped; spaces that it begins with indent all its lines."""
    indent = len(text) - len(text.lstrip(" "))
    return [" " * indent + line for line in wrap(text, columns - indent)]


def _deadlines(language: Language, card: Card, now_us: int) -> list[str]:
    left_s = (card.due - now_us) / 1_000_000
    due = clock(card.due, now_us)
    if left_s < 0:
        lines = [say(language, "due_late", clock=due, time=lateness(language, -left_s))]
    else:
        lines = [say(language, "due_in", clock=due, time=duration(language, left_s))]
    if card.state == "proposed" and card.fires_at is not None and card.fires_at > now_us:
        in_s = (card.fires_at - now_us) / 1_000_000
        lines.append(say(language, "fires", clock=clock(card.fires_at, now_us), time=duration(language, in_s)))
    if card.asked:
        lines.append(say(language, "asked_times.1" if card.asked == 1 else "asked_times", count=card.asked))
    if card.undo_until is not None and card.can_be_undone(now_us):
        lines.append(say(language, "undo_until", clock=clock(card.undo_until, now_us)))
    return lines


def _reasons(language: Language, card: Card, now_us: int) -> list[str]:
    label = say_or(language, f"says.{card.label}", card.label.replace("_", " "))
    lines = [say(language, "probable", label=label, percent=round(card.probability * 100))]
    for evidence in card.evidence:
        lines.append(_seen(language, card, evidence))
        heaviest = sorted(evidence.weights, key=lambda weight: -abs(weight[1]))[:MOST_WEIGHTS]
        if heaviest:
            weights = "  ".join(f"{without_gaps(name)} {weight:+.2f}" for name, weight in heaviest)
            lines.append("  " + say(language, "weights", weights=weights))
    if f"from.{card.event_kind}" in ("from.call", "from.reading", "from.note"):
        lines.append(say(language, f"from.{card.event_kind}", clock=clock(card.at, now_us)))
    return lines


def _seen(language: Language, card: Card, evidence: Evidence) -> str:
    if evidence.kind == "known":
        key = "known_of" if evidence.of else "known"
        what = say_or(language, f"what.{evidence.what}", evidence.what)
        return say(language, key, what=what, of=evidence.of, value=evidence.value)
    if evidence.kind == "measured" and isinstance(evidence.value, float):
        value, usual = f"{evidence.value:.4g}", f"{evidence.usual:.4g}"
        return say(language, "measured", sensor=evidence.sensor, value=value, usual=usual)
    text = without_gaps(evidence.text)
    if card.event_kind == "note":
        return say(language, "wrote", text=text)
    who = say_or(language, f"who.{evidence.channel}", evidence.channel)
    return say(language, "said", second=evidence.start_s, who=who, text=text)


def _about(language: Language, card: Card) -> str:
    role = role_name(language, card.role)
    return say(language, "for_role", subject=card.subject, role=role) if role else card.subject


def _standing(board: Board, card: Card) -> list[str]:
    """The state of a card, and what waits to be sent about it."""
    language = board.language
    state = state_name(language, card.state)
    is_moved = card.state != "proposed" and card.by
    lines = [say(language, "moved_by", state=state, by=card.by) if is_moved else state]
    if verb := board.waiting.verb_for(card.id):
        lines.append(say(language, f"will.{verb}"))
    return lines


# ---- what came of decisions ------------------------------------------------------------------------------------


def _wanted_row(board: Board, one: Wanted, is_chosen: bool, now_us: int, columns: int) -> Text:
    """A decision in a line: when it was made, about whom, what this rep has told of it."""
    value = board.value_of(one.decision_id)
    answer = "" if value is None else value_name(board.language, value)
    subject = fit(one.subject, max(0, columns - (33 if columns < NARROW else 45)))
    row = f"{'> ' if is_chosen else '  '}{fit(clock(one.at, now_us), 11)} {subject} "
    return _line((fit(row + answer, columns), "bold reverse" if is_chosen else ""))


def _wanted_text(board: Board, one: Wanted, typed: str, now_us: int, columns: int) -> list[Text]:
    """The question about a decision, about whom it is and since when, what had been said, and what is answered."""
    language = board.language
    question = translated(language, board.questions.get(one.play, {})) or translated(language, one.title)
    lines = [_line((" " + line, "bold")) for line in wrap(question, columns - 2)]
    lines += _paragraph(say(language, "outcome.about", subject=one.subject, clock=clock(one.at, now_us)), columns)
    if one.said:
        lines += _paragraph(say(language, "outcome.heard", text=without_gaps(one.said)), columns)
    value = board.value_of(one.decision_id)
    if typed:
        lines += _paragraph(say(language, "outcome.typed", typed=typed), columns)
    elif board.waiting.value_for(one.decision_id) is not None and value is not None:
        lines += _paragraph(say(language, "outcome.waits", answer=value_name(language, value)), columns)
    elif value is not None:
        lines += _paragraph(say(language, "outcome.told", answer=value_name(language, value)), columns)
    return lines


# ---- lines ---------------------------------------------------------------------------------------------------


def _keys(language: Language, columns: int) -> Text:
    """The keys, the first of them with what they do as far as there is room for that."""
    names = [" " if 4 * len(KEYS) <= columns else ""] * len(KEYS)
    for place, (_, what) in enumerate(KEYS):
        name = f" {say(language, f'key.{what}')} "
        if sum(map(width, [*names, name])) - width(names[place]) + 3 * len(KEYS) > columns:
            break
        names[place] = name
    parts: list[str | tuple[str, str]] = []
    for (key, _), name in zip(KEYS, names, strict=True):
        parts += [(f" {key} ", "reverse"), name]
    return _line(*parts)


def _paragraph(text: str, columns: int) -> list[Text]:
    return [_line(" " + line) for line in wrap(text, columns - 2)]


def _line(*parts: str | tuple[str, str]) -> Text:
    """A line of parts, each a text or a text with its style."""
    return Text.assemble(*parts, end="", no_wrap=True)
