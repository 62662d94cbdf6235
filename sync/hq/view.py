"""HQ's page as HTML, in English and Chinese: what to show is given, nothing is looked up here."""

from collections.abc import Iterable
from html import escape
from typing import Literal

import msgspec

from sync.hq.store import RecordView, Refusal, SiteView

Language = Literal["en", "zh"]

SHOWN_CHARACTERS = 400
"""Of a record; /api/records gives it whole."""

_TEXTS: dict[str, dict[Language, str]] = {
    "title": {"en": "Outstation HQ", "zh": "Outstation 总部"},
    "sites": {"en": "Sites", "zh": "站点"},
    "site": {"en": "Site", "zh": "站点"},
    "state": {"en": "Link", "zh": "链路"},
    "up": {"en": "up", "zh": "在线"},
    "down": {"en": "down", "zh": "离线"},
    "unknown": {"en": "never heard of", "zh": "从未上线"},
    "revoked": {"en": "revoked", "zh": "已吊销"},
    "since": {"en": "for {}", "zh": "已 {}"},
    "heard": {"en": "Last contact", "zh": "最近联系"},
    "ago": {"en": "{} ago", "zh": "{}前"},
    "never": {"en": "never", "zh": "从未"},
    "records": {"en": "Records by lane and kind", "zh": "各通道、各类记录数"},
    "none": {"en": "none yet", "zh": "暂无"},
    "no_sites": {
        "en": "No site is enrolled yet. Enrol one with: outstation hq enrol SITE PUBLIC_KEY",
        "zh": "尚未登记任何站点。登记命令：outstation hq enrol SITE PUBLIC_KEY",
    },
    "newest": {"en": "Newest records", "zh": "最新记录"},
    "no_records": {"en": "No record has arrived yet.", "zh": "尚未收到任何记录。"},
    "received": {"en": "Received", "zh": "接收"},
    "lane": {"en": "Lane", "zh": "通道"},
    "number": {"en": "No.", "zh": "序号"},
    "kind": {"en": "Kind", "zh": "类别"},
    "record": {"en": "Record", "zh": "记录"},
    "refused": {"en": "Quarantine", "zh": "隔离区"},
    "refused_count": {"en": "Messages refused: {}", "zh": "被拒绝的消息：{}"},
    "reason": {"en": "Reason", "zh": "原因"},
    "event": {"en": "event", "zh": "事件"},
    "signal": {"en": "signal", "zh": "信号"},
    "prediction": {"en": "prediction", "zh": "预测"},
    "decision": {"en": "decision", "zh": "决策"},
    "action": {"en": "action", "zh": "行动"},
    "transition": {"en": "transition", "zh": "状态变化"},
    "now": {"en": "now", "zh": "即时"},
    "day": {"en": "day", "zh": "当日"},
    "bulk": {"en": "bulk", "zh": "批量"},
}
_OTHER: dict[Language, tuple[Language, str]] = {"en": ("zh", "中文"), "zh": ("en", "English")}
_HTML_LANGUAGE: dict[Language, str] = {"en": "en", "zh": "zh-CN"}
_UNITS: tuple[tuple[int, dict[Language, str]], ...] = (
    (86_400, {"en": "{} d", "zh": "{} 天"}),
    (3_600, {"en": "{} h", "zh": "{} 小时"}),
    (60, {"en": "{} min", "zh": "{} 分钟"}),
    (1, {"en": "{} s", "zh": "{} 秒"}),
)


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows, as it was at `at` (µs)."""

    at: int
    sites: list[SiteView]
    newest: list[RecordView]
    refused: int
    refusals: list[Refusal]


def render(fleet: Fleet, language: Language) -> str:
    """The whole page. Everything that came from outside is escaped."""
    other, other_name = _OTHER[language]

    def text(name: str) -> str:
        return escape(_TEXTS[name][language])

    return f"""<!doctype html>
<html lang="{_HTML_LANGUAGE[language]}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text("title")}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
</head>
<body>
<header><h1>{text("title")}</h1><a href="/?lang={other}" lang="{_HTML_LANGUAGE[other]}">{other_name}</a></header>
<main>
<section>
<h2>{text("sites")}</h2>
{_sites(fleet, language)}
</section>
<section>
<h2>{text("newest")}</h2>
{_newest(fleet, language)}
</section>
<section>
<h2>{text("refused")}</h2>
<p>{escape(_TEXTS["refused_count"][language].format(fleet.refused))}</p>
{_refusals(fleet, language)}
</section>
</main>
</body>
</html>
"""


def _sites(fleet: Fleet, language: Language) -> str:
    if not fleet.sites:
        return _nothing("no_sites", language)
    return _table(
        ("site", "state", "heard", "records"),
        (
            (
                f"<th scope='row'>{escape(site.site)}</th>",
                f"<td>{_state(site, fleet.at, language)}</td>",
                f"<td>{_ago(site.heard_at, fleet.at, language)}</td>",
                f"<td>{_tallies(site, language)}</td>",
            )
            for site in fleet.sites
        ),
        language,
    )


def _state(site: SiteView, now: int, language: Language) -> str:
    name = "revoked" if site.revoked else site.state or "unknown"
    badge = f"<span class='state {name}'>{_text(name, language)}</span>"
    if site.revoked or site.state_at is None:
        return badge
    since = _TEXTS["since"][language].format(_span(now - site.state_at, language))
    return f"{badge} {escape(since)}"


def _tallies(site: SiteView, language: Language) -> str:
    if not site.records:
        return _text("none", language)
    tallies = (
        f"{_text(tally.lane, language)} · {_text(tally.kind, language)} <b>{tally.records}</b>"
        for tally in site.records
    )
    return " ".join(f"<span class='tally'>{tally}</span>" for tally in tallies)


def _newest(fleet: Fleet, language: Language) -> str:
    if not fleet.newest:
        return _nothing("no_records", language)
    return _table(
        ("received", "site", "lane", "number", "kind", "record"),
        (
            (
                f"<td>{_ago(record.received_at, fleet.at, language)}</td>",
                f"<td>{escape(record.site)}</td>",
                f"<td>{_text(record.lane, language)}</td>",
                f"<td>{record.seq}</td>",
                f"<td>{_text(record.kind, language)}</td>",
                f"<td><code>{escape(_shortened(record.record))}</code></td>",
            )
            for record in fleet.newest
        ),
        language,
    )


def _shortened(record: msgspec.Raw) -> str:
    text = bytes(record).decode()
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _refusals(fleet: Fleet, language: Language) -> str:
    if not fleet.refusals:
        return ""
    return _table(
        ("received", "site", "reason"),
        (
            (
                f"<td>{_ago(refusal.at, fleet.at, language)}</td>",
                f"<td>{escape(refusal.site)}</td>",
                f"<td>{escape(refusal.reason)}</td>",
            )
            for refusal in fleet.refusals
        ),
        language,
    )


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], language: Language) -> str:
    head = "".join(f"<th scope='col'>{_text(column, language)}</th>" for column in columns)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<div class='wide'><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"


def _nothing(name: str, language: Language) -> str:
    return f"<p class='nothing'>{_text(name, language)}</p>"


def _text(name: str, language: Language) -> str:
    """The text of that name; a kind of record that is newer than this page is shown as it is called."""
    return escape(_TEXTS[name][language] if name in _TEXTS else name)


def _ago(at: int | None, now: int, language: Language) -> str:
    if at is None:
        return _text("never", language)
    return escape(_TEXTS["ago"][language].format(_span(now - at, language)))


def _span(duration_us: int, language: Language) -> str:
    seconds = max(0, duration_us // 1_000_000)
    for unit_s, names in _UNITS:
        if seconds >= unit_s:
            return names[language].format(seconds // unit_s)
    return _UNITS[-1][1][language].format(0)
