"""HQ's pages as HTML, in English and Chinese: what to show is given, nothing is looked up here."""

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Literal, get_args
from urllib.parse import quote, urlencode

import msgspec

from sync.hq.orders import OrderView
from sync.hq.reader import ENDED, GoneView, LaneView, PlayView, RecordView, Refusal, SiteDetail, SiteView
from sync.hq.words import HTML_LANGUAGE, OTHER, Language, ago, say, since, span

SHOWN_CHARACTERS = 400
"""Of a record; /api/records gives it whole."""
SITES_ON_PAGE = 100

Filter = Literal["all", "down", "behind", "gaps", "losses", "troubles", "conflicts"]
FILTERS: tuple[Filter, ...] = get_args(Filter)

_FAINT = "<span class='nothing'>"
"""Begins what says that there is nothing; a narrow screen leaves such cells out."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What the first page shows, as it was at `at` (µs), of the sites those that the query asks for."""

    at: int
    sites: list[SiteView]
    only: Filter
    name: str
    page: int
    plays: list[PlayView]
    orders: list[OrderView]
    newest: list[RecordView]
    refused: dict[str, int]
    refusals: list[Refusal]


class SitePage(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of one site shows, as it was at `at` (µs)."""

    at: int
    detail: SiteDetail
    orders: list[OrderView]
    newest: list[RecordView]
    refusals: list[Refusal]


def matches(site: SiteView, only: Filter) -> bool:
    """Whether a filter shows a site."""
    match only:
        case "all":
            return True
        case "down":
            return site.state != "up" and not site.revoked
        case "behind":
            return bool(site.lag)
        case "gaps":
            return site.lacking > 0
        case "losses":
            return any(reason != "quarantined" for reason in site.gone)
        case "troubles":
            return bool(site.refused or site.conflicts or site.set_aside)
        case "conflicts":
            return site.conflicts > 0


def render_fleet(fleet: Fleet, language: Language) -> str:
    """The first page. Everything that came from outside is escaped."""
    query = {"only": fleet.only, "name": fleet.name}
    return _page(
        say("title", language),
        "/",
        query,
        language,
        (
            ("sites", _sites(fleet, language)),
            ("plays", _plays(fleet.plays, language)),
            ("orders", _orders(fleet.orders, fleet.at, language, with_site=True) if fleet.orders else ""),
            ("newest", _records(fleet.newest, fleet.at, language, with_site=True)),
            ("set_aside", _causes(fleet.refused, language) + _refusals(fleet.refusals, fleet.at, language)),
        ),
    )


def render_site(page: SitePage, language: Language) -> str:
    """The page of one site."""
    detail, at = page.detail, page.at
    name = detail.view.site
    facts = (
        ("link", _state(detail.view, at, language)),
        ("contact", ago(detail.view.heard_at, at, language)),
        ("records", f"{detail.view.records:,}"),
        ("lacking", _number(detail.view.lacking, language)),
        ("waits", _lag(detail.view, at, language)),
        ("replica", escape(detail.replica) or say("no_replica", language)),
    )
    shown = "".join(f"<div><dt>{say(fact, language)}</dt><dd>{value}</dd></div>" for fact, value in facts)
    return _page(
        escape(name),
        f"/sites/{quote(name)}",
        {},
        language,
        (
            ("", f"<p><a href='{_url('/', language)}'>← {say('back', language)}</a></p><dl>{shown}</dl>"),
            ("lanes", _lanes(detail.lanes, at, language)),
            ("gone", _gone(detail.gone, language)),
            ("set_aside", _refusals(page.refusals, at, language)),
            ("orders", _orders(page.orders, at, language, with_site=False) if page.orders else ""),
            ("newest", _records(page.newest, at, language, with_site=False)),
            ("records", _tallies(detail, language)),
            ("clocks", _boots(detail, at, language)),
            ("keys", _keys(detail, at, language)),
        ),
    )


def render_missing(language: Language) -> str:
    """The page in the place of a site that is not there."""
    return _page(
        say("title", language),
        "/",
        {},
        language,
        (("", f"<p>{say('not_here', language)} <a href='{_url('/', language)}'>{say('back', language)}</a></p>"),),
    )


# ---- the parts ---------------------------------------------------------------------------------------------------


def _page(title: str, path: str, query: dict[str, str], language: Language, sections: Iterable[tuple[str, str]]) -> str:
    other, other_name = OTHER[language]
    home = _url("/", language)
    body = "\n".join(
        f"<section>{f'<h2>{say(name, language)}</h2>' if name else ''}\n{content}\n</section>"
        for name, content in sections
        if content
    )
    return f"""<!doctype html>
<html lang="{HTML_LANGUAGE[language]}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
</head>
<body>
<header><h1><a href="{home}">{say("title", language)}</a>{"" if path == "/" else f" · {title}"}</h1>
<a href="{_url(path, other, **query)}" lang="{HTML_LANGUAGE[other]}">{other_name}</a></header>
<main>
{body}
</main>
</body>
</html>
"""


def _sites(fleet: Fleet, language: Language) -> str:
    if not fleet.sites:
        return _nothing("no_sites", language)
    named = [site for site in fleet.sites if fleet.name.casefold() in site.site.casefold()]
    found = [site for site in named if matches(site, fleet.only)]
    begin = (fleet.page - 1) * SITES_ON_PAGE
    shown = found[begin : begin + SITES_ON_PAGE]
    rows = (
        (
            f"<a href='{_url(f'/sites/{quote(site.site)}', language)}'>{escape(site.site)}</a>",
            _state(site, fleet.at, language),
            ago(site.heard_at, fleet.at, language),
            _lag(site, fleet.at, language),
            _number(site.lacking, language),
            _counts(site.gone, language),
            _counts({"refused": site.refused, "conflict": site.conflicts, "row": site.set_aside}, language),
            f"{site.records:,}",
        )
        for site in shown
    )
    columns = ("site", "link", "contact", "waits", "lacking", "gone", "set_aside", "records")
    table = _table(columns, rows, language, numbers=(7,)) if shown else _nothing("no_match", language)
    return _filters(fleet, named, language) + table + _pages(fleet, len(found), language)


def _filters(fleet: Fleet, named: list[SiteView], language: Language) -> str:
    chips = []
    for only in FILTERS:
        number = sum(matches(site, only) for site in named)
        current = " aria-current='true'" if only == fleet.only else ""
        href = _url("/", language, only=only, name=fleet.name)
        chips.append(f"<a class='chip' href='{href}'{current}>{say(only, language)} <b>{number:,}</b></a>")
    label = say("find", language)
    return (
        f"<form action='/' method='get'><input type='hidden' name='lang' value='{language}'>"
        f"<input type='hidden' name='only' value='{fleet.only}'>"
        f"<input type='search' name='name' value='{escape(fleet.name)}' placeholder='{label}' aria-label='{label}'>"
        "</form>"
        f"<nav>{''.join(chips)}</nav>"
    )


def _pages(fleet: Fleet, found: int, language: Language) -> str:
    pages = -(-found // SITES_ON_PAGE)
    if pages <= 1:
        return ""
    links = [f"{fleet.page:,} / {pages:,}"]
    for word, page in (("previous", fleet.page - 1), ("next", fleet.page + 1)):
        if 1 <= page <= pages:
            href = _url("/", language, only=fleet.only, name=fleet.name, page=str(page))
            links.append(f"<a href='{href}'>{say(word, language)}</a>")
    return f"<p class='pages'>{' · '.join(links)}</p>"


def _state(site: SiteView, now: int, language: Language) -> str:
    name = "revoked" if site.revoked else site.state or "unknown"
    badge = f"<span class='state {name}'>{say(name, language)}</span>"
    if site.revoked or site.state_at is None:
        return badge
    return f"{badge} {since(site.state_at, now, language)}"


def _lag(site: SiteView, now: int, language: Language) -> str:
    if site.state_at is None:
        return _faint("not_known", language)
    if not site.lag:
        return _faint("nothing_waits", language)
    parts = []
    for lag in site.lag:
        how_long = f" · {escape(span(now - lag.waiting_since, language))}" if lag.waiting_since is not None else ""
        parts.append(f"<span class='part'>{say(lag.lane, language)} <b>{lag.waiting:,}</b>{how_long}</span>")
    return "".join(parts)


def _counts(counts: dict[str, int], language: Language) -> str:
    parts = [
        f"<span class='part {escape(name)}'>{say(name, language)} <b>{number:,}</b></span>"
        for name, number in counts.items()
        if number
    ]
    return "".join(parts) or _faint("none", language)


def _causes(counts: dict[str, int], language: Language) -> str:
    return f"<p>{_counts(counts, language)}</p>" if any(counts.values()) else ""


def _plays(plays: list[PlayView], language: Language) -> str:
    if not plays:
        return _nothing("no_plays", language)
    rows = (
        (
            escape(play.play),
            f"{play.decisions:,}",
            f"{play.actions:,}",
            *(f"{play.states.get(state, 0):,}" for state in ENDED),
            f"{play.actions - sum(play.states.get(state, 0) for state in ENDED):,}",
            "–" if play.share_done is None else f"{play.share_done:.0%}",
        )
        for play in plays
    )
    columns = ("play", "decisions", "actions", *ENDED, "open", "share")
    note = f"<p class='note'>{say('uplift_note', language)}</p>"
    return _table(columns, rows, language, numbers=range(1, 10)) + note


def _orders(orders: list[OrderView], now: int, language: Language, *, with_site: bool) -> str:
    rows = (
        (
            *([escape(order.site)] if with_site else []),
            say(order.kind, language),
            escape(order.name) or "–",
            f"<span class='order {order.state}'>{say(f'order_{order.state}', language)}</span>"
            + (f" {order.got / order.size:.0%}" if order.state == "offered" and 0 < order.got < order.size else ""),
            ago(order.state_at, now, language),
            " · ".join(filter(None, (escape(order.by), escape(order.remark)))) or "–",
        )
        for order in orders
    )
    columns = (*(["site"] if with_site else []), "kind", "name", "state", "since_when", "remark")
    return _table(columns, rows, language)


def _records(records: list[RecordView], now: int, language: Language, *, with_site: bool) -> str:
    if not records:
        return _nothing("no_records", language)
    rows = (
        (
            f"<time title='{_date(record.happened_at)}'>{ago(record.happened_at, now, language)}</time>",
            *([escape(record.site)] if with_site else []),
            say(record.lane, language),
            str(record.seq),
            say(record.kind, language),
            f"<code>{escape(_shortened(record.record))}</code>",
        )
        for record in records
    )
    columns = ("happened", *(["site"] if with_site else []), "lane", "number", "kind", "record")
    return _table(columns, rows, language, name="records")


def _shortened(record: msgspec.Raw) -> str:
    text = bytes(record).decode()
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _refusals(refusals: list[Refusal], now: int, language: Language) -> str:
    if not refusals:
        return _nothing("no_refusals", language)
    rows = (
        (
            ago(refusal.at, now, language),
            escape(refusal.site),
            f"<span class='{escape(refusal.cause)}'>{say(refusal.cause, language)}</span>",
            f"{refusal.times:,}",
            escape(refusal.reason),
        )
        for refusal in refusals
    )
    return _table(("came", "site", "cause", "times", "reason"), rows, language, name="refusals")


def _lanes(lanes: list[LaneView], now: int, language: Language) -> str:
    if not lanes:
        return _nothing("no_records", language)
    rows = (
        (
            say(lane.lane, language),
            str(lane.epoch),
            f"{lane.held:,}",
            f"{lane.top_seq:,}",
            "–" if lane.newest_seq is None else f"{lane.newest_seq:,}",
            _number(lane.lacking, language),
            f"{lane.waiting or 0:,}"
            + (f" · {escape(span(now - lane.waiting_since, language))}" if lane.waiting_since is not None else ""),
        )
        for lane in lanes
    )
    columns = ("lane", "epoch", "held", "newest_held", "reported", "lacking", "waiting")
    return _table(columns, rows, language, numbers=range(2, 7))


def _gone(gone: list[GoneView], language: Language) -> str:
    if not gone:
        return _nothing("no_gone", language)
    rows = (
        (say(view.reason, language), f"{view.numbers:,}", _counts(view.kinds, language), f"{view.bytes:,}")
        for view in gone
    )
    return _table(("reason", "numbers", "kinds", "bytes"), rows, language, numbers=(1, 3))


def _tallies(detail: SiteDetail, language: Language) -> str:
    if not detail.tallies:
        return ""
    rows = ((say(tally.lane, language), say(tally.kind, language), f"{tally.records:,}") for tally in detail.tallies)
    return _table(("lane", "kind", "records"), rows, language, numbers=(2,))


def _boots(detail: SiteDetail, now: int, language: Language) -> str:
    if not detail.boots:
        return ""
    rows = (
        (escape(boot.boot), say(f"clock_{boot.clock}", language), ago(boot.newest_at, now, language))
        for boot in detail.boots
    )
    return _table(("boot", "clock", "newest_record"), rows, language)


def _keys(detail: SiteDetail, now: int, language: Language) -> str:
    rows = (
        (
            f"<code>{escape(key.key_id)}</code>",
            ago(key.enrolled_at, now, language),
            say("in_force", language) if key.revoked_at is None else ago(key.revoked_at, now, language),
        )
        for key in detail.keys
    )
    return _table(("key", "enrolled", "revoked"), rows, language)


# ---- HTML --------------------------------------------------------------------------------------------------------


def _table(
    columns: Iterable[str],
    rows: Iterable[tuple[str, ...]],
    language: Language,
    *,
    numbers: Iterable[int] = (),
    name: str = "",
) -> str:
    """A table; on a narrow screen each row is a block whose cells tell their column themselves. Cells are HTML."""
    words = [say(column, language) for column in columns]
    to_the_right = set(numbers)
    kinds = ["n" if n in to_the_right else "" for n in range(len(words))]
    head = "".join(f"<th scope='col' class='{kind}'>{word}</th>" for word, kind in zip(words, kinds, strict=True))
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td class='{kind}{' quiet' * cell.startswith(_FAINT)}' data-label='{word}'><div>{cell}</div></td>"
            for word, kind, cell in zip(words, kinds, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f"<div class='wide {name}'><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _nothing(name: str, language: Language) -> str:
    return f"<p class='nothing'>{say(name, language)}</p>"


def _faint(name: str, language: Language) -> str:
    return f"{_FAINT}{say(name, language)}</span>"


def _number(number: int, language: Language) -> str:
    return f"<b class='bad'>{number:,}</b>" if number else _faint("none", language)


def _url(path: str, language: Language, **query: str) -> str:
    asked = {name: value for name, value in query.items() if value and (name, value) != ("only", "all")}
    return escape(f"{path}?{urlencode({'lang': language, **asked})}")


def _date(at: int) -> str:
    try:
        return datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""
