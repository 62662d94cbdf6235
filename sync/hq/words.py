"""What HQ's page says, in English and Chinese."""

from html import escape
from typing import Literal

Language = Literal["en", "zh"]

OTHER: dict[Language, tuple[Language, str]] = {"en": ("zh", "中文"), "zh": ("en", "English")}
HTML_LANGUAGE: dict[Language, str] = {"en": "en", "zh": "zh-CN"}

_TEXTS: dict[str, dict[Language, str]] = {
    "title": {"en": "Outstation HQ", "zh": "Outstation 总部"},
    "sites": {"en": "Sites", "zh": "站点"},
    "site": {"en": "Site", "zh": "站点"},
    "link": {"en": "Link", "zh": "链路"},
    "up": {"en": "up", "zh": "在线"},
    "down": {"en": "down", "zh": "离线"},
    "unknown": {"en": "never heard of", "zh": "从未上线"},
    "revoked": {"en": "revoked", "zh": "已吊销"},
    "since": {"en": "for {}", "zh": "已 {}"},
    "since_when": {"en": "Since", "zh": "时间"},
    "contact": {"en": "Last contact", "zh": "最近联系"},
    "ago": {"en": "{} ago", "zh": "{}前"},
    "ahead": {"en": "in {}", "zh": "{}后"},
    "never": {"en": "never", "zh": "从未"},
    "waits": {"en": "Waits at the site", "zh": "站点待传"},
    "nothing_waits": {"en": "nothing", "zh": "无"},
    "not_known": {"en": "not known", "zh": "未知"},
    "lacking": {"en": "Gaps", "zh": "缺号"},
    "gone": {"en": "Gone", "zh": "已失"},
    "evicted": {"en": "evicted", "zh": "超额弃置"},
    "pruned": {"en": "pruned", "zh": "到期清理"},
    "quarantined": {"en": "set aside", "zh": "已隔离"},
    "lost": {"en": "lost", "zh": "丢失"},
    "set_aside": {"en": "Quarantine", "zh": "隔离区"},
    "refused": {"en": "refused", "zh": "拒收"},
    "conflict": {"en": "conflict", "zh": "身份冲突"},
    "row": {"en": "row", "zh": "记录"},
    "records": {"en": "Records", "zh": "记录数"},
    "none": {"en": "none", "zh": "无"},
    "no_sites": {
        "en": "No site is enrolled yet. Invite one with: outstation hq invite SITE",
        "zh": "尚未登记任何站点。邀请命令：outstation hq invite SITE",
    },
    "no_match": {"en": "No site is like that.", "zh": "没有这样的站点。"},
    "all": {"en": "all", "zh": "全部"},
    "behind": {"en": "rows wait", "zh": "有待传"},
    "gaps": {"en": "gaps", "zh": "有缺号"},
    "losses": {"en": "gone", "zh": "有已失"},
    "troubles": {"en": "quarantine", "zh": "有隔离"},
    "conflicts": {"en": "conflicts", "zh": "身份冲突"},
    "find": {"en": "Find a site", "zh": "查找站点"},
    "previous": {"en": "previous", "zh": "上一页"},
    "next": {"en": "next", "zh": "下一页"},
    "newest": {"en": "Newest records", "zh": "最新记录"},
    "no_records": {"en": "No record has arrived yet.", "zh": "尚未收到任何记录。"},
    "happened": {"en": "Happened", "zh": "发生"},
    "received": {"en": "Received", "zh": "接收"},
    "lane": {"en": "Lane", "zh": "通道"},
    "epoch": {"en": "Epoch", "zh": "纪元"},
    "number": {"en": "No.", "zh": "序号"},
    "kind": {"en": "Kind", "zh": "类别"},
    "kinds": {"en": "Kinds", "zh": "类别"},
    "record": {"en": "Record", "zh": "记录"},
    "no_refusals": {"en": "Nothing was set aside.", "zh": "没有被隔离的内容。"},
    "came": {"en": "Last came", "zh": "最近一次"},
    "times": {"en": "Times", "zh": "次数"},
    "cause": {"en": "What", "zh": "类型"},
    "reason": {"en": "Reason", "zh": "原因"},
    "plays": {"en": "Plays", "zh": "应对方案"},
    "play": {"en": "Play", "zh": "方案"},
    "no_plays": {"en": "No decision has arrived yet.", "zh": "尚未收到任何决策。"},
    "decisions": {"en": "Decisions", "zh": "决策"},
    "actions": {"en": "Actions", "zh": "行动"},
    "done": {"en": "Done", "zh": "已完成"},
    "fired": {"en": "Fired", "zh": "自动执行"},
    "declined": {"en": "Declined", "zh": "已拒绝"},
    "expired": {"en": "Expired", "zh": "已过期"},
    "withdrawn": {"en": "Withdrawn", "zh": "已撤回"},
    "undone": {"en": "Undone", "zh": "已撤销"},
    "failed": {"en": "Failed", "zh": "失败"},
    "open": {"en": "Open", "zh": "进行中"},
    "share": {"en": "Carried out", "zh": "执行率"},
    "uplift_note": {
        "en": "Carried out: done or fired, of the actions that have ended. What a play achieves at all sites together"
        " is told by `outstation uplift --hq`; each site shows its own under What works on its page.",
        "zh": "执行率：已结束的行动中完成或自动执行的比例。方案在全部站点合计起了多大作用，用 `outstation uplift"
        " --hq` 查看；各站点的结果在其页面的“见效”中。",
    },
    "orders": {"en": "Orders", "zh": "下发"},
    "order_offered": {"en": "offered", "zh": "待取"},
    "order_staged": {"en": "staged", "zh": "已到站"},
    "order_waiting": {"en": "waits", "zh": "待生效"},
    "order_active": {"en": "active", "zh": "已生效"},
    "order_fulfilled": {"en": "fulfilled", "zh": "已办"},
    "order_refused": {"en": "refused", "zh": "被拒"},
    "order_rolled_back": {"en": "rolled back", "zh": "已回退"},
    "name": {"en": "Name", "zh": "名称"},
    "state": {"en": "State", "zh": "状态"},
    "remark": {"en": "Remark", "zh": "说明"},
    "lanes": {"en": "Lanes", "zh": "通道"},
    "held": {"en": "Held", "zh": "已有"},
    "newest_held": {"en": "Up to", "zh": "至"},
    "reported": {"en": "Site has", "zh": "站点已编至"},
    "waiting": {"en": "Waits", "zh": "待传"},
    "bytes": {"en": "Bytes", "zh": "字节"},
    "numbers": {"en": "Numbers", "zh": "数量"},
    "no_gone": {"en": "No record is gone.", "zh": "没有失去的记录。"},
    "clocks": {"en": "Clock by boot", "zh": "各次启动的时钟"},
    "boot": {"en": "Boot", "zh": "启动"},
    "clock": {"en": "Its clock", "zh": "时钟"},
    "clock_heard": {"en": "heard by HQ", "zh": "总部已校准"},
    "clock_row": {"en": "as the site says", "zh": "以站点为准"},
    "clock_order": {"en": "unknown; placed by order", "zh": "未知，按次序排列"},
    "newest_record": {"en": "Newest record", "zh": "最新记录"},
    "keys": {"en": "Keys", "zh": "密钥"},
    "key": {"en": "Key", "zh": "密钥"},
    "enrolled": {"en": "Enrolled", "zh": "登记"},
    "in_force": {"en": "in force", "zh": "有效"},
    "replica": {"en": "Replica", "zh": "副本"},
    "no_replica": {"en": "The site has none.", "zh": "该站点没有副本。"},
    "back": {"en": "All sites", "zh": "全部站点"},
    "not_here": {"en": "There is no such site.", "zh": "没有这个站点。"},
    "event": {"en": "event", "zh": "事件"},
    "signal": {"en": "signal", "zh": "信号"},
    "prediction": {"en": "prediction", "zh": "预测"},
    "decision": {"en": "decision", "zh": "决策"},
    "action": {"en": "action", "zh": "行动"},
    "transition": {"en": "transition", "zh": "状态变化"},
    "outcome": {"en": "outcome", "zh": "结果"},
    "playchange": {"en": "play paused or resumed", "zh": "方案暂停或恢复"},
    "checkpoint": {"en": "signed checkpoint", "zh": "审计签名"},
    "order": {"en": "order", "zh": "下发"},
    "audio": {"en": "audio", "zh": "录音"},
    "playbook": {"en": "playbook", "zh": "方案集"},
    "vocabulary": {"en": "vocabulary", "zh": "词汇表"},
    "pack": {"en": "pack", "zh": "模型包"},
    "request": {"en": "request", "zh": "请求"},
    "now": {"en": "now", "zh": "即时"},
    "day": {"en": "day", "zh": "当日"},
    "bulk": {"en": "bulk", "zh": "批量"},
}
_UNITS: tuple[tuple[int, dict[Language, str]], ...] = (
    (86_400, {"en": "{} d", "zh": "{} 天"}),
    (3_600, {"en": "{} h", "zh": "{} 小时"}),
    (60, {"en": "{} min", "zh": "{} 分钟"}),
    (1, {"en": "{} s", "zh": "{} 秒"}),
)


def say(name: str, language: Language) -> str:
    """The text of that name, safe in HTML. What is newer than this page is shown as it is called."""
    return escape(_TEXTS[name][language] if name in _TEXTS else name)


def ago(at: int | None, now: int, language: Language) -> str:
    """How long before `now` that was (µs)."""
    if at is None:
        return say("never", language)
    word = "ago" if at <= now else "ahead"
    return escape(_TEXTS[word][language].format(span(abs(now - at), language)))


def since(at: int, now: int, language: Language) -> str:
    """For how long it has been so (µs)."""
    return escape(_TEXTS["since"][language].format(span(now - at, language)))


def span(duration_us: int, language: Language) -> str:
    """A duration in its largest unit."""
    seconds = max(0, duration_us // 1_000_000)
    for unit_s, names in _UNITS:
        if seconds >= unit_s:
            return names[language].format(f"{seconds // unit_s:,}")
    return _UNITS[-1][1][language].format(0)
