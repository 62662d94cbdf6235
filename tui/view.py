"""What the screen shows of a board, as lines: pure functions of the board, the clock and the room there is.

Colour only repeats what words and bold or reversed text say already, and it is red alone, which can be read on black
and on white; so the screen says the same on a terminal without colours. Only ASCII and Chinese are drawn.
"""

import time
from collections.abc import Sequence

from rich.text import Text

from tui.board import Board, moment
from tui.client import Card, Evidence
from tui.columns import fit, plain, width, without_gaps, wrap
from tui.words import Language, duration, lateness, say, say_or, state_name, translated

SOON_S = 15 * 60
NARROW = 60
WIDE = 100
MOST_WEIGHTS = 5
KEYS = (
    ("a", "accept"),
    ("d", "decline"),
    ("x", "done"),
    ("n", "note"),
    ("l", "language"),
    ("r", "reload"),
    ("?", "help"),
    ("q", "quit"),
)
HELP = (
    ("Up Down", "move"),
    ("Home End", "ends"),
    ("PgUp PgDn", "page"),
    ("a", "accept"),
    ("d", "decline"),
    ("x", "done"),
    ("n", "note"),
    ("l", "language"),
    ("r", "reload"),
    ("q", "quit"),
)


def head(board: Board, now_us: int, columns: int) -> list[Text]:
    """One line: the site and how many cards; who I am, what waits, how the link is."""
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
    lines = [_line((_row(language, "  ", [say(language, key) for key in heads], columns), "bold"))]
    lines += [_card_row(board, card, now_us, columns) for card in cards[start : start + room]]
    return lines[:rows]


def card_page(board: Board, now_us: int, columns: int, rows: int, scroll: int) -> tuple[list[Text], int]:
    """A rule and the chosen card in full from its line `scroll` on, `rows` lines in all; and how far down it really
    is, for there is no scrolling beyond the end."""
    card = board.chosen
    if card is None:
        return [], 0
    lines = _card_text(board, card, now_us, columns)
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


def clock(at_us: int, now_us: int) -> str:
    """A moment as the clock on the terminal's wall shows it, with the date unless that is today's."""
    then, now = time.localtime(at_us / 1_000_000), time.localtime(now_us / 1_000_000)
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%m-%d %H:%M", then)


# ---- the list ------------------------------------------------------------------------------------------------


def _card_row(board: Board, card: Card, now_us: int, columns: int) -> Text:
    language = board.language
    is_chosen = card.id == board.chosen_id
    left_s = (moment(card) - now_us) / 1_000_000
    title = translated(language, card.title)
    state = "waiting" if board.waiting.verb_for(card.id) else card.state
    cells = [
        state_name(language, state),
        _left(language, left_s) if card.is_open else "",
        say_or(language, f"role.{card.role}", card.role),
        title if columns < WIDE else f"{title}: {translated(language, card.what)}",
        card.subject,
    ]
    if is_chosen:
        # Not in colour: black on red is hard to read in bad light.
        return _line((_row(language, "> ", cells, columns), "bold reverse"))
    style = "bold red" if card.is_open and left_s < SOON_S else "bold" if card.state == "proposed" else ""
    return _line((_row(language, "  ", cells, columns), style))


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


def _card_text(board: Board, card: Card, now_us: int, columns: int) -> list[Text]:
    """Title, what to do, by when, why, about whom, state."""
    language = board.language
    parts = [
        ("label.do", [translated(language, card.what)]),
        ("label.by", _deadlines(language, card, now_us)),
        ("label.why", _reasons(language, card, now_us)),
        ("label.about", [_about(language, card)]),
        ("label.state", _standing(board, card)),
    ]
    indent = 7 if language == "en" else 6
    lines = [_line((" " + line, "bold")) for line in wrap(translated(language, card.title), columns - 2)]
    for label, texts in parts:
        start = " " + say(language, label)
        for line in (line for text in texts for line in _hanging(text, columns - indent - 1)):
            lines.append(_line((fit(start, indent), "bold"), line))
            start = ""
    return lines


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
    role = say_or(language, f"role.{card.role}", card.role)
    return say(language, "for_role", subject=card.subject, role=role) if role else card.subject


def _standing(board: Board, card: Card) -> list[str]:
    language = board.language
    state = state_name(language, card.state)
    is_moved = card.state != "proposed" and card.by
    lines = [say(language, "moved_by", state=state, by=card.by) if is_moved else state]
    if verb := board.waiting.verb_for(card.id):
        lines.append(say(language, f"will.{verb}"))
    return lines


# ---- lines ---------------------------------------------------------------------------------------------------


def _keys(language: Language, columns: int) -> Text:
    """The keys with what they do; where there is no room for that, the keys alone."""
    names = [f" {say(language, f'key.{what}')} " for _, what in KEYS]
    if sum(map(width, names)) + 3 * len(KEYS) > columns:
        names = [" "] * len(KEYS)
    parts: list[str | tuple[str, str]] = []
    for (key, _), name in zip(KEYS, names, strict=True):
        parts += [(f" {key} ", "reverse"), name]
    return _line(*parts)


def _paragraph(text: str, columns: int) -> list[Text]:
    return [_line(" " + line) for line in wrap(text, columns - 2)]


def _line(*parts: str | tuple[str, str]) -> Text:
    """A line of parts, each a text or a text with its style."""
    return Text.assemble(*parts, end="", no_wrap=True)
