"""Every word that the terminal says, in Chinese and English side by side.

No word here uses a character of ambiguous width (the ellipsis, the dash, curly quotes): terminals in China show those
two columns wide and others one, and the columns would not line up.
"""

import os
from typing import Literal

Language = Literal["zh", "en"]

WORDS: dict[str, tuple[str, str]] = {
    # ---- the head and the link
    "open_cards": ("{count} 张卡片", "{count} cards"),
    "open_cards.1": ("1 张卡片", "1 card"),
    "outcomes_asked": ("o: 问 {count} 个结果", "o: {count} outcomes asked"),
    "outcomes_asked.1": ("o: 问 1 个结果", "o: 1 outcome asked"),
    "late_cards": ("{count} 张超时", "{count} late"),
    "connecting": ("正在连接", "connecting"),
    "connected": ("已连接", "connected"),
    "no_link": ("{since} 起断开", "NO LINK since {since}"),
    "waiting": ("{count} 项待发送", "{count} waiting to be sent"),
    "not_ready": ("网关未就绪: {problem}", "The gateway is not ready: {problem}"),
    # ---- why there is no link; {url} is the gateway's
    "no_answer": ("{url} 没有网关应答, 会一直重试。", "No gateway answers at {url}; trying again by itself."),
    "too_slow": ("{url} 的网关应答太慢, 会一直重试。", "The gateway at {url} is too slow; trying again by itself."),
    "not_a_gateway": (
        "{url} 的应答不是本程序的网关, 请检查 --url。",
        "What answers at {url} is not an Outstation gateway; check --url.",
    ),
    "answers": ("{url} 应答: {sentence} 会一直重试。", "{url} answers: {sentence} Trying again by itself."),
    "busy": ("网关现在不能接收, 会一直重试。", "The gateway cannot take it now; trying again by itself."),
    # ---- the list
    "head.state": ("状态", "STATE"),
    "head.left": ("剩余", "LEFT"),
    "head.role": ("角色", "ROLE"),
    "head.title": ("事项", "WHAT"),
    "head.subject": ("对象", "ABOUT"),
    "no_cards": ("现在没有要做的事。新卡片会自己出现。", "Nothing to do now. New cards appear by themselves."),
    "no_cards_yet": ("还没有从网关收到卡片。", "No cards have come from the gateway yet."),
    "late": ("超时 {time}", "late {time}"),
    "card_of": ("第 {number}/{count} 张", "Card {number} of {count}"),
    "more": ("还有, 按 PgDn", "more: PgDn"),
    "more_up": ("上面还有, 按 PgUp", "more above: PgUp"),
    # ---- times
    "seconds": ("{count}秒", "{count} s"),
    "minutes": ("{count}分", "{count} min"),
    "hours": ("{count}小时", "{count} h"),
    "days": ("{count}天", "{count} d"),
    # ---- a card's states
    "state.proposed": ("新", "new"),
    "state.accepted": ("已接受", "accepted"),
    "state.declined": ("已拒绝", "declined"),
    "state.fired": ("已触发", "fired"),
    "state.expired": ("已过期", "expired"),
    "state.withdrawn": ("已撤回", "withdrawn"),
    "state.done": ("已完成", "done"),
    "state.undone": ("已撤销", "undone"),
    "state.failed": ("失败", "failed"),
    "state.waiting": ("待发送", "waiting"),
    # ---- the chosen card
    "label.do": ("要做", "DO"),
    "label.step": ("步骤", "STEP"),
    "label.with": ("用具", "WITH"),
    "label.to": ("发给", "TO"),
    "label.text": ("内容", "TEXT"),
    "label.sheet": ("表格", "SHEET"),
    "label.by": ("期限", "BY"),
    "label.why": ("依据", "WHY"),
    "label.about": ("对象", "ABOUT"),
    "label.state": ("状态", "STATE"),
    "due_in": ("{clock}, 还剩 {time}", "{clock}, {time} left"),
    "due_late": ("{clock}, 已超时 {time}", "{clock}, late by {time}"),
    "fires": ("无人拒绝则 {clock} 自动执行, 还有 {time}", "acts by itself at {clock}, in {time}, unless declined"),
    "asked_times": ("又提醒了 {count} 次", "asked again {count} times"),
    "asked_times.1": ("又提醒了 1 次", "asked again once"),
    "for_role": ("{subject} (由{role}处理)", "{subject} (for: {role})"),
    "said": ("{second:.1f} 秒 {who}: 「{text}」", '{second:.1f} s {who}: "{text}"'),
    "wrote": ("记录: 「{text}」", 'note: "{text}"'),
    "known": ("{what}: {value}", "{what}: {value}"),
    "known_of": ("{of} 的 {what}: {value}", "{what} of {of}: {value}"),
    "measured": ("{sensor} {value}, 平时 {usual}", "{sensor} {value}, usually {usual}"),
    "weights": ("权重: {weights}", "weighs: {weights}"),
    "probable": ("{label}, 概率 {percent} %", "{label}, {percent} % probable"),
    "from.call": ("出自通话, {clock} 生成", "from a call; card made at {clock}"),
    "from.reading": ("出自读数, {clock} 生成", "from a reading; card made at {clock}"),
    "from.note": ("出自记录, {clock} 生成", "from a note; card made at {clock}"),
    "moved_by": ("{by} {state}", "{state} by {by}"),
    "will.accept": ("接受: 待发送", "accept: waiting to be sent"),
    "will.decline": ("拒绝: 待发送", "decline: waiting to be sent"),
    "will.done": ("完成: 待发送", "done: waiting to be sent"),
    "will.undo": ("撤销: 待发送", "undo: waiting to be sent"),
    "will.hand_over": ("转交: 待发送", "hand over: waiting to be sent"),
    "undo_until": ("{clock} 前可以撤销 (u)", "can be undone until {clock} (u)"),
    "hand_to": ("h: 转给{role}", "h: hand to {role}"),
    # ---- the chain of steps; {before}, {after}, {low}, {high} come from `odds`
    "chain": (
        "现在 {before}%；{minutes} 分钟内做完这 {count} 件：{after}%（{low}-{high}%）",
        "{before} now; do these {count} within {minutes} min: {after} ({low}-{high})",
    ),
    "chain.1": (
        "现在 {before}%；{minutes} 分钟内做完这 1 件：{after}%（{low}-{high}%）",
        "{before} now; do this one within {minutes} min: {after} ({low}-{high})",
    ),
    "chain_unproven": (
        "现在 {before}%；{minutes} 分钟内做完这 {count} 件：{after}%（{low}-{high}%），未经验证",
        "{before} now; do these {count} within {minutes} min: {after} ({low}-{high}), unproven",
    ),
    "chain_unproven.1": (
        "现在 {before}%；{minutes} 分钟内做完这 1 件：{after}%（{low}-{high}%），未经验证",
        "{before} now; do this one within {minutes} min: {after} ({low}-{high}), unproven",
    ),
    "step_of": ("这一套的第 {place}/{count} 件", "step {place} of {count} of the chain"),
    "step_of_unproven": ("这一套的第 {place}/{count} 件, 未经验证", "step {place} of {count} of the chain, unproven"),
    "who.customer": ("客户", "customer"),
    "who.agent": ("坐席", "agent"),
    "role.rep": ("现场代表", "rep"),
    "role.engineer": ("工程师", "engineer"),
    "role.admin": ("管理员", "admin"),
    "role.hq": ("总部", "HQ"),
    "role.manager": ("经理", "manager"),
    "role.safety": ("安全员", "safety"),
    "role.maintenance": ("维修", "maintenance"),
    "role.finance": ("财务", "finance"),
    "role.warehouse": ("仓库", "warehouse"),
    "role.sales": ("销售", "sales"),
    # ---- what the packs say
    "says.anomaly": ("读数异常", "unusual readings"),
    "says.budget_concern": ("预算、价格顾虑", "budget concern"),
    "says.competitor_mention": ("提到竞品", "a competitor is mentioned"),
    "says.purchase_intent": ("购买意向", "wants to buy"),
    "says.spare_part_request": ("要备件", "asks for a spare part"),
    "says.fault_report": ("报故障", "reports a fault"),
    "says.part_missing": ("质保内缺件", "covered, part missing"),
    "says.complaint": ("投诉、不满", "complaint"),
    "says.upset": ("情绪不好", "upset"),
    "says.urgent": ("等不得", "cannot wait"),
    "says.churn_risk": ("流失风险", "may leave"),
    "says.renewal": ("续约", "renewal"),
    "says.delivery_query": ("问交付、物流", "asks about a delivery"),
    "says.warranty_doubt": ("质保疑虑", "doubts the warranty"),
    "says.safety_hazard": ("安全隐患", "danger to people"),
    "says.callback_request": ("要求回电、回访", "wants to be called back"),
    "says.praise": ("表扬", "praise"),
    # ---- what they went by beside the words
    "what.said_before": ("前面说过", "said before"),
    "what.words_a_second": ("每秒词数", "words a second"),
    "what.characters_a_second": ("每秒字数", "characters a second"),
    "what.pace_change": ("语速变化", "pace, against their own"),
    "what.gap": ("隔了多久才答", "gap before it"),
    "what.overlap": ("抢话", "cuts in"),
    "what.unsure": ("没听清的词", "words heard badly"),
    "what.exclamations": ("感叹号", "exclamation marks"),
    "what.questions": ("问号", "question marks"),
    "what.trails_off": ("省略号", "trails off"),
    "what.called": ("之前来电", "rang before"),
    "what.nothing_else": ("此外没有往来", "nothing else before"),
    "what.note": ("之前有记录", "note before"),
    # ---- the keys
    "key.accept": ("接受", "accept"),
    "key.decline": ("拒绝", "decline"),
    "key.done": ("完成", "done"),
    "key.undo": ("撤销", "undo"),
    "key.hand_over": ("转交", "hand"),
    "key.outcomes": ("结果", "outcomes"),
    "key.note": ("记录", "note"),
    "key.language": ("English", "中文"),
    "key.reload": ("刷新", "reload"),
    "key.help": ("帮助", "help"),
    "key.quit": ("退出", "quit"),
    # ---- what came of a key
    "new_card": ("新卡片: {title}", "New: {title}"),
    "asked_again": ("又来提醒: {title}", "Asked again: {title}"),
    "passed_on": ("转到{role}: {title}", "Passed on to {role}: {title}"),
    "taken_back": ("已撤销: {title} ({subject}), 现在: {state}", "Taken back: {title} ({subject}), now {state}"),
    "handed": ("已转给{role}: {title}", "Handed to {role}: {title}"),
    "not_sent": ("已取消, 没有发送: {title} ({subject})", "Taken back before it was sent: {title} ({subject})"),
    "undo_of_last": ("撤销您上一次的操作: {title} ({subject})。", "Undo of what you did last: {title} ({subject})."),
    "nothing_to_undo": ("现在没有可以撤销的。", "Nothing can be undone now."),
    "nobody_to_hand_to": ("这张卡片没有指定转给谁。", "This card names nobody to hand it to."),
    "outcome_sent": ("结果已保存。", "Outcome saved."),
    "told_already": ("已经这样填过了。", "Told so already."),
    "moved": ("{state}: {title}", "{title}: {state}"),
    "already": ("不用再按: 这张卡片{state}。", "This card is {state} already."),
    "already_by": ("没有改: {by} 已经处理, {state}。", "Not changed: the card is {state} already, by {by}."),
    "kept": ("断开: 已记下, 连上后发送。", "No link: kept, and sent when the link is back."),
    "kept_already": ("已经记下了, 连上后发送。", "Kept already; it is sent when the link is back."),
    "full": (
        "已有 {count} 项待发送, 这一项没有记下。",
        "{count} are waiting to be sent already; this one was not kept.",
    ),
    "refused": ("网关没有接受: {sentence}", "The gateway did not take it: {sentence}"),
    "note_sent": ("记录已保存: {subject}", "Note saved: {subject}"),
    "reloaded": ("已刷新。", "Reloaded."),
    "quit_loses": (
        "还有 {count} 项没有发送。再按一次 q 就退出并丢弃。",
        "Not sent yet: {count}. Press q again to quit without sending.",
    ),
    # ---- the note
    "note.title": ("写记录", "Write a note"),
    "note.subject": ("关于谁或哪台设备", "About whom, or which device"),
    "note.text": ("内容", "What happened"),
    "note.keys": ("Enter 下一项 / 保存    Esc 取消", "Enter: next, then save    Esc: leave without saving"),
    "note.empty": ("请填写这一项。", "Please fill this in."),
    # ---- what came of decisions
    "outcome.title": ("后来怎么样了?", "What came of it?"),
    "outcome.none": ("现在没有要问的。", "Nothing is asked now."),
    "outcome.about": ("对象: {subject}, {clock}", "about: {subject}, {clock}"),
    "outcome.heard": ("当时说: 「{text}」", 'said then: "{text}"'),
    "outcome.yes": ("是", "yes"),
    "outcome.no": ("否", "no"),
    "outcome.percent": ("{percent} %", "{percent} %"),
    "outcome.typed": ("回答: {typed} %, 按 Enter 确认", "answer: {typed} %, press Enter"),
    "outcome.told": ("回答: {answer}", "answer: {answer}"),
    "outcome.waits": ("回答: {answer}, 待发送", "answer: {answer}, waiting to be sent"),
    "outcome.range": ("请填 0 到 100。", "It lies between 0 and 100."),
    "outcome.keys": ("y 是  n 否  0-100 Enter 百分之几  Esc 返回", "y yes  n no  0-100 Enter: per cent  Esc back"),
    # ---- help
    "help.title": ("按键", "Keys"),
    "help.move": ("上下选择卡片 (或 j k)", "choose a card (or j k)"),
    "help.ends": ("第一张, 最后一张", "the first, the last card"),
    "help.page": ("翻看卡片下半部分", "see the rest of the card"),
    "help.accept": ("接受: 我来做", "accept: I do it"),
    "help.decline": ("拒绝: 不做", "decline: it will not be done"),
    "help.done": ("完成", "done"),
    "help.undo": ("撤销刚才做的 (这张, 或您上一次的)", "undo: this card, or what you did last"),
    "help.hand_over": ("转交给卡片上写的角色", "hand over to the role that the card names"),
    "help.outcomes": ("回答后来怎么样了", "tell what came of it"),
    "help.chain": ("行首标记: 这一套的一件, 另一套的一件", "marks: a step of the chain shown, of another"),
    "help.note": ("写记录", "write a note"),
    "help.language": ("English / 中文", "中文 / English"),
    "help.reload": ("从网关重新读取, 断开时立即重试", "read all anew; without a link: try now"),
    "help.quit": ("退出", "quit"),
    "help.offline": (
        "断开时按的键不会丢: 连上后按顺序发送, 每项只发一次。",
        "Keys pressed without a link are kept, and sent in order, once each, when it is back.",
    ),
    "help.any": ("按任意键返回", "Any key goes back"),
}


def say(language: Language, key: str, **values: object) -> str:
    """The words of `key` in `language` with `values` filled in."""
    chinese, english = WORDS[key]
    return (chinese if language == "zh" else english).format(**values)


def both(key: str, **values: object) -> dict[str, str]:
    """The words of `key` by language, as a card brings its texts."""
    return {"zh": say("zh", key, **values), "en": say("en", key, **values)}


def say_or(language: Language, key: str, otherwise: str) -> str:
    """The words of `key`, or `otherwise` when the table does not know it (a site's own role, label or speaker)."""
    return say(language, key) if key in WORDS else otherwise


def role_name(language: Language, role: str) -> str:
    """What a role is called; a site's own as it calls it."""
    return say_or(language, f"role.{role}", role)


def state_name(language: Language, state: str) -> str:
    """What a card's state is called."""
    return say_or(language, f"state.{state}", state)


def translated(language: Language, texts: dict[str, str]) -> str:
    """The text in `language` of a card that brings its own; when it lacks that, the text that it has."""
    return texts.get(language) or next((text for text in texts.values() if text), "")


def duration(language: Language, seconds: float) -> str:
    """A length of time as a glance needs it: seconds under two minutes, then minutes, hours, days."""
    if seconds < 120:
        return say(language, "seconds", count=int(seconds))
    if seconds < 120 * 60:
        return say(language, "minutes", count=int(seconds // 60))
    if seconds < 48 * 3600:
        return say(language, "hours", count=int(seconds // 3600))
    return say(language, "days", count=int(seconds // 86400))


def odds(language: Language, probability: float) -> str:
    """A probability as each language is used to it: of a hundred in Chinese, of one in English."""
    return f"{probability * 100:.0f}" if language == "zh" else f"{probability:.2f}"


def lateness(language: Language, seconds: float) -> str:
    """How long something is late: a minute at least, as nobody counts those seconds."""
    return say(language, "minutes", count=1) if seconds < 120 else duration(language, seconds)


def language_of_environment() -> Language:
    """Chinese when the locale variables say so (POSIX: LC_ALL, then LC_MESSAGES, then LANG), else English."""
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def other(language: Language) -> Language:
    """The language that the language key changes to."""
    return "en" if language == "zh" else "zh"
