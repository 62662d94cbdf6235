// Everything the page says, in Chinese and English; and how it writes times and numbers.

export const WORDS = {
  skip: ["跳到内容", "Skip to the content"],
  cards: ["要办", "To do"],
  calls: ["通话", "Calls"],
  devices: ["设备", "Devices"],
  notes: ["记录", "Notes"],
  refused: ["拒收", "Refused"],
  orders: ["变更", "Changes"],
  works: ["见效", "What works"],

  live: ["实时", "Live"],
  full: ["没有空间，暂不接收", "No room: takes nothing"],
  connecting: ["连接中…", "Connecting…"],
  offline: ["与网关断开，正在重连…", "No connection to the gateway, trying again…"],
  ready: ["网关正常", "The gateway is well"],
  notReady: ["网关尚未就绪", "The gateway is not ready"],
  troubled: ["网关正常运行，但有问题", "The gateway runs, with problems"],
  noRoom: [
    "网关没有空间：录音、读数和记录暂不接收，要办的事照常处理；有了空间会自动恢复",
    "The gateway has no room: recordings, readings and notes are not taken until there is, cards go on",
  ],
  waitsForHq: ["待传总部", "Waits for HQ"],
  laneNow: ["紧急", "now"],
  laneDay: ["当日", "day"],
  laneBulk: ["大批", "bulk"],
  readingsBehind: ["待处理读数", "Readings behind"],
  callsWaiting: ["待转写通话", "Calls to transcribe"],
  writerWaiting: ["待写入", "Waiting to be written"],
  refusals: ["拒收", "Refused inputs"],
  packs: ["在用的模型包", "Packs in use"],
  packs_metric: ["指标", "figure"],
  packs_value: ["值", "value"],
  packs_on: ["数据集", "measured on"],
  packs_samples: ["样本", "samples"],
  packs_calibrated: ["概率校准误差", "Calibration error"],
  packs_licence: ["许可", "Licence"],
  packs_from: ["来源：", "From"],
  version: ["版本", "Version"],
  since: ["启动于", "Running since"],

  toDecide: ["待决定", "To decide"],
  underWay: ["进行中", "Under way"],
  settled: ["最近了结", "Settled lately"],
  noCards: ["现在没有要办的事", "Nothing to do now"],
  noCardsHint: [
    "把录音（.wav .flac .ogg）或设备日志（.csv .jsonl）放进 inbox/，接上设备，或写一条记录：有事要办时会出现在这里。",
    "Put recordings (.wav .flac .ogg) or device logs (.csv .jsonl) into inbox/, connect a device, or write a note: what is to be done appears here.",
  ],
  accept: ["接受", "Accept"],
  decline: ["拒绝", "Decline"],
  done: ["完成", "Done"],
  giveUp: ["放弃", "Give up"],
  confirm: ["确定", "Confirm"],
  cancel: ["取消", "Cancel"],
  yourName: ["您的姓名", "Your name"],
  whyDecline: ["为什么？（可不填）", "Why? (may stay empty)"],
  whatCame: ["结果如何？（可不填）", "What came of it? (may stay empty)"],
  left: ["还剩", "left"],
  over: ["已超", "over"],
  due: ["期限", "Due"],
  firesIn: ["后自动执行", "then it fires"],
  by: ["经手", "by"],
  byDevice: ["发给设备", "to the device"],
  byWebhook: ["发给系统", "to a system"],
  byMessage: ["发给客户", "to the customer"],
  keys: [
    "J / K 上下，A 接受，D 拒绝或放弃，F 完成，H 转交，U 撤销，P 听录音",
    "J / K move, A accept, D decline or give up, F done, H hand over, U undo, P hear it",
  ],
  undo: ["撤销", "Undo"],
  handTo: ["转交{0}", "Hand to {0}"],
  withTool: ["用：{0}", "with: {0}"],
  askedAgain: ["已再问 {0} 次", "asked again: {0}"],
  messageTo: ["发给客户的消息", "Message to the customer"],
  heldBack: ["{0} 前不发出，可以撤销", "Held back until {0}, can be undone"],
  bestChain: ["现在最该做的", "What it is best to do now"],
  chainSays: [
    "现在 {0}；{2}内做完{1} → {3}（{4}）",
    "{0} now; do {1} within {2} and it is {3} ({4})",
  ],
  chainStep: ["最该做的第 {0} 步，共 {1} 步", "Step {0} of {1} of what it is best to do"],
  these1: ["这 1 件", "this one"],
  these2: ["这 2 件", "these two"],
  these3: ["这 3 件", "these three"],
  these4: ["这 4 件", "these four"],
  these5: ["这 5 件", "these five"],
  minutes: ["{0} 分钟", "{0} minutes"],
  oneMinute: ["1 分钟", "1 minute"],
  unproven: ["未经验证", "unproven"],
  unprovenHint: ["本站的对照还没有证明它有效", "This site's hold-outs have not shown yet what it adds"],
  proposed: ["待决定", "Proposed"],
  accepted: ["已接受", "Accepted"],
  declined: ["已拒绝", "Declined"],
  undone: ["已撤销", "Undone"],
  fired: ["已自动执行", "Fired by itself"],
  expired: ["已过期", "Expired"],
  withdrawn: ["已撤回", "Withdrawn"],
  overtaken: ["没有办成：这张卡现在是“{0}”（{1}），请看一下再办", "{2}"],
  nobody: ["无人经手", "nobody"],
  doneState: ["已完成", "Done"],
  failed: ["失败", "Failed"],
  probability: ["概率", "Probability"],
  hear: ["从前两秒开始听", "Hear it from two seconds before"],
  usual: ["平常", "usual"],
  weighed: ["依据", "what weighed"],
  knownOf: ["{1} 的{0}", "{0} of {1}"],
  likeBefore: ["以前类似的情况", "Like this before"],
  noneLike: ["没有类似的先例", "Nothing like it before"],

  noCalls: ["还没有通话", "No calls yet"],
  noCallsHint: [
    "把 .wav、.flac 或 .ogg 录音放进站点目录的 inbox/，转写会边处理边出现。",
    "Put .wav, .flac or .ogg recordings into the site's inbox/; the transcript appears while it is made.",
  ],
  older: ["更早的", "Older"],
  incoming: ["来电", "in"],
  outgoing: ["去电", "out"],
  transcribing: ["转写中", "Transcribing"],
  liveNow: ["通话中", "Live"],
  waitingTranscript: ["等待转写", "Waits to be transcribed"],
  utterances: ["句", "utterances"],
  cardsMade: ["{0} 项", "{0} cards"],
  cardsOpen: ["{0} 件要办", "{0} to do"],
  talkFigures: ["谈话情况", "How it was spoken"],
  talkShare: ["谈话占比", "Share of the talk"],
  wordsPerMinute: ["{0}每分钟词数", "{0}, words a minute"],
  pauses: ["一秒以上的停顿", "Pauses over a second"],
  longestPause: ["最长停顿", "Longest pause"],
  overlap: ["同时说话", "Both at once"],
  transcript: ["转写", "Transcript"],
  noTranscript: ["还没有转写出的内容", "Nothing is transcribed yet"],
  noTranscriptHint: [
    "如果一直如此，请在状态里查看是否缺少该语言的语音模型包。",
    "If it stays so, see in the status whether the speech pack of this language is missing.",
  ],
  noTalk: ["整段通话转写完后显示", "Shown when the whole call is transcribed"],
  noCallCards: ["这次通话没有引出要办的事", "Nothing to do came of this call"],
  follow: ["跟随录音", "Follow the sound"],
  playFrom: ["从此处播放", "Play from here"],
  timeline: ["通话时间轴，点击跳转", "The call over time; click to go there"],
  play: ["播放", "Play"],
  pause: ["暂停", "Pause"],
  position: ["播放位置", "Position"],
  close: ["关闭", "Close"],
  noSound: ["这次通话的录音已不在网关上。", "The sound of this call is no longer on the gateway."],

  noDevices: ["还没有设备读数", "No device has reported yet"],
  noDevicesHint: [
    "在 site.toml 的 [bus] 中写明主题，让设备发到该 MQTT 代理；或把 .csv / .jsonl 日志放进 inbox/。",
    "Name the topics under [bus] in site.toml and let the devices publish to that MQTT broker; or put .csv / .jsonl logs into inbox/.",
  ],
  score: ["异常概率", "Anomaly"],
  noScore: ["尚未评分", "no score yet"],
  readings: ["条读数", "readings"],
  newest: ["最新", "newest"],
  range: ["时间范围", "Range"],
  hours: ["小时", "h"],
  noDeviceCards: ["这台设备目前没有要办的事", "Nothing to do about this device"],
  noSeries: ["这段时间没有保留的读数", "No readings are kept of this time"],
  chart: ["{0}：{1} 个点，{2} 至 {3}，最新 {4}", "{0}: {1} points from {2} to {3}, newest {4}"],
  marked: ["，{0} 处异常", ", {0} marked"],

  writeNote: ["写一条记录", "Write a note"],
  noteSubject: ["关于谁或哪台设备", "About which customer or device"],
  noteText: ["内容", "What happened"],
  noteHint: [
    "记录和通话一样会被理解：需要办的事会出现在“要办”里。",
    "A note is understood like a call: what is to be done appears under To do.",
  ],
  save: ["保存", "Save"],
  saved: ["已保存", "Saved"],
  already: ["这条记录已经保存过", "This note had been saved already"],
  noNotes: ["还没有记录", "No notes yet"],
  noNotesHint: ["电话之外听到、看到的，写在这里。", "Write here what you heard or saw outside a call."],

  noRefused: ["没有被拒收的输入", "Nothing was refused"],
  noRefusedHint: [
    "不能接受的文件会移到 inbox/refused，并在这里说明原因。",
    "What cannot be accepted is kept in inbox/refused, and its reason is told here.",
  ],
  refusedHint: [
    "文件在 inbox/refused：按原因改好后放回 inbox/。",
    "The files are in inbox/refused: mend them as the reason says and put them back into inbox/.",
  ],

  noOrders: ["还没有变更", "Nothing was changed yet"],
  noOrdersHint: [
    "总部下发的方案集、词汇表和模型包，以及在这里装入的模型包，会出现在这里：先检查，再由您决定是否生效。",
    "Playbooks, vocabularies and packs from HQ, and packs that people bring, appear here: checked first, then for you to agree.",
  ],
  order_playbook: ["方案集", "Playbook"],
  order_vocabulary: ["词汇表", "Vocabulary"],
  order_pack: ["模型包", "Pack"],
  order_request: ["调取", "Request"],
  order_staged: ["已收到", "Arrived"],
  order_waiting: ["待生效", "Waits"],
  heardAs: ["听到的是：{0}", "heard: {0}"],
  order_shadow: ["影子运行", "In the shadow"],
  order_active: ["已生效", "In force"],
  order_refused: ["被拒", "Refused"],
  order_rolled_back: ["已回退", "Taken back"],
  order_fulfilled: ["已办理", "Fulfilled"],
  orderSent: ["下发于", "sent"],
  orderDue: ["将于 {0} 自动生效，也可以现在同意。", "It takes effect by itself at {0}; you can also agree now."],
  orderAsks: ["请您决定是否生效。", "It takes effect when you say so."],
  bringPackTitle: ["从本机文件装入模型包", "Bring a pack from a file"],
  bringPack: ["装入", "Bring"],
  packFile: ["模型包文件", "Pack file"],
  runInShadow: ["先影子运行", "Run in the shadow"],
  rollBackTitle: ["退回之前的", "Go back to what was there before"],
  rollBack: ["退回", "Roll back"],
  shadowSays: ["与在用的有何不同", "Where it says otherwise"],
  shadowJudged: ["在用 {0}，影子 {1}，共判断 {2} 条。", "{0} in use, {1} in its shadow, {2} judged."],
  shadow_label: ["标签", "Label"],
  shadow_both: ["都说", "Both"],
  shadow_onlyActive: ["只有在用的说", "In use only"],
  shadow_onlyShadow: ["只有影子说", "Shadow only"],
  orderChanges: ["与现在的不同", "What it changes"],
  orderSame: ["内容与现在的相同。", "It says the same as what is there now."],
  orderRemark: ["说明（可不填）", "Why (may stay empty)"],
  agree: ["同意", "Agree"],
  hq: ["总部", "HQ"],

  wanted: ["后来怎样了？", "What came of it?"],
  wantedHint: [
    "不管当时有没有人处理，都同样要问：一键回答（Y 是，N 否），或填百分数。",
    "Asked alike whether or not anything was done: one key answers (Y yes, N no), or give a percentage.",
  ],
  noWanted: ["现在没有要问的", "Nothing to ask now"],
  noWantedHint: [
    "方案的期限过后，这里会问目标达到了没有；答案才能说明哪个方案有效。",
    "When the time of a play is over, it is asked here whether its goal was reached; only answers tell which plays work.",
  ],
  askedUntil: ["{0} 前有效", "counts until {0}"],
  toldLately: ["最近告知的", "Told lately"],
  outcomeIs: ["达到 {0}", "reached: {0}"],
  correct: ["改正", "Correct"],
  percentReached: ["达到百分之几", "Reached, in per cent"],
  tell: ["告知", "Tell"],
  outcomeTold: ["已记下", "Written down"],
  excluded: ["已记下，但离决定太久，不计入", "Written down, but it does not count: {0}"],
  worksPlays: ["方案", "Plays"],
  worksPlaysHint: [
    "抽签留出一部分对象不处理，两组结果之差就是方案的作用；区间在任何时候看都成立。",
    "A drawn share of subjects is left alone; the difference between the two is what the play does. The interval holds whenever you look.",
  ],
  leftAloneShare: ["留出 {0} 不处理", "{0} left alone"],
  neverLeftAlone: ["涉及安全，人人都处理", "For safety: nobody is left alone"],
  notMeasured: ["不衡量", "Not measured"],
  treatedArm: ["处理", "Treated"],
  controlArm: ["留出", "Left alone"],
  pausedArm: ["暂停期间", "While paused"],
  decisionsMade: ["决定", "Decisions"],
  outcomesTold: ["已知结果", "Outcomes told"],
  effectSays: ["{0} 个百分点（{1} 至 {2}）", "{0} points ({1} to {2})"],
  without: ["不处理时 {0}", "{0} when left alone"],
  noEffect: ["还没有结果", "No outcomes yet"],
  helps: ["有效", "helps"],
  harms: ["有害", "harms"],
  suspect: ["结果可疑", "suspect"],
  suspectHint: [
    "有一组的结果似乎没有如实告知，所以不下结论。",
    "Outcomes of one arm seem to be kept back, so nothing is claimed.",
  ],
  paused: ["已暂停", "Paused"],
  pausedAsHarmful: ["网关于 {0} 自行暂停：留下不管的对照显示它有害", "Paused by gateway, {0}: {1}"],
  pausedBy: ["{0} 于 {1} 暂停", "Paused by {0}, {1}"],
  pausePlay: ["暂停", "Pause"],
  resumePlay: ["恢复运行", "Let it run again"],
  whyPause: ["为什么？（可不填）", "Why? (may stay empty)"],
  drivers: ["推动结果的因素", "What moves the goals"],
  outcomesCount: ["{0} 个结果", "{0} outcomes"],
  moved: ["推动了结果的", "What moved it"],
  movedHint: ["抽签对照证明的", "Shown by drawn hold-outs"],
  tried: ["在试、尚未证明", "Tried, not shown yet"],
  goesAlong: ["只是同时出现、不是原因的证据", "Only goes along with it; not shown to be a cause"],
  goesAlongHint: [
    "有这一项和没有这一项的结果之差；谁被怎样对待不是抽签决定的。",
    "The difference between outcomes with and without it; nobody drew who had it.",
  ],
  counts: ["有 {0}，无 {1}", "{0} with, {1} without"],
  none: ["还没有", "None yet"],
  stepDone: ["做了“{0}”", "“{0}” was done"],

  gone: ["没有这个内容", "There is no such thing"],
  failedRequest: ["网关没有应答，请稍后再试。", "The gateway did not answer; try again."],
  day: ["天", "d"],
  hour: ["时", "h"],
  minute: ["分", "min"],
  second: ["秒", "s"],
  ago: ["{0}前", "{0} ago"],
  colon: ["：", ": "],
};

// Names that come from packs, playbooks and recordings; one that is not here is shown as it is.
export const NAMES = {
  agent: ["坐席", "Agent"],
  customer: ["客户", "Customer"],
  note: ["记录", "Note"],

  rep: ["业务代表", "rep"],
  engineer: ["工程师", "engineer"],
  finance: ["财务", "finance"],
  warehouse: ["仓库", "warehouse"],
  maintenance: ["维修", "maintenance"],
  manager: ["经理", "manager"],
  safety: ["安全员", "safety"],
  gateway: ["网关", "gateway"],
  audio: ["通话录音", "sound of a call"],

  budget_concern: ["预算、价格顾虑", "budget concern"],
  competitor_mention: ["提到竞品", "competitor"],
  purchase_intent: ["购买意向", "wants to buy"],
  spare_part_request: ["要备件", "spare part"],
  fault_report: ["报故障", "fault"],
  part_missing: ["质保内缺件", "covered, part missing"],
  yes: ["是", "yes"],
  no: ["否", "no"],
  complaint: ["投诉、不满", "complaint"],
  upset: ["情绪不好", "upset"],
  urgent: ["等不得", "cannot wait"],
  said_before: ["前面说过", "said before"],
  words_a_second: ["每秒词数", "words a second"],
  characters_a_second: ["每秒字数", "characters a second"],
  pace_change: ["语速变化", "pace, against their own"],
  gap: ["隔了多久才答", "gap before it"],
  overlap: ["抢话", "cuts in"],
  unsure: ["没听清的词", "words heard badly"],
  exclamations: ["感叹号", "exclamation marks"],
  questions: ["问号", "question marks"],
  trails_off: ["省略号", "trails off"],
  called: ["之前来电", "rang before"],
  nothing_else: ["此外没有往来", "nothing else before"],
  churn_risk: ["流失风险", "may leave"],
  renewal: ["续约", "renewal"],
  delivery_query: ["问交付", "delivery"],
  warranty_doubt: ["质保疑虑", "warranty doubt"],
  safety_hazard: ["安全隐患", "danger"],
  callback_request: ["要求回电", "wants a call back"],
  praise: ["表扬", "praise"],
  device_anomaly: ["运行异常", "unlike itself"],

  "macro-F1": ["宏平均 F1", "macro-F1"],
  float: ["浮点", "float"],
  en: ["英文", "English"],
  zh: ["中文", "Chinese"],
  "precision at recall 0.8": ["召回率 0.8 时的精确率", "precision at recall 0.8"],
  "average precision": ["平均精确率", "average precision"],
  "calibration error": ["校准误差", "calibration error"],
  "mean probability": ["平均概率", "mean probability"],
  "share with the label": ["实际占比", "share with the label"],
  "words and marks alone": ["只看字词和标点", "words and marks alone"],
  "without how it is spoken": ["不看怎么说的", "without how it is spoken"],
  "without what came before": ["不看以往往来", "without what came before"],
  "AUC of readings": ["读数的 AUC", "AUC of readings"],
  "average precision of readings": ["读数的平均精确率", "average precision of readings"],
  "F1 of readings": ["读数的 F1", "F1 of readings"],
  "share of faults found": ["找到的故障占比", "share of faults found"],
  "false alarms in 10,000 readings": ["每一万次读数的误报", "false alarms in 10,000 readings"],
  "F1 of readings at the threshold": ["阈值处读数的 F1", "F1 of readings at the threshold"],
  "false alarm rate at the threshold": ["阈值处误报率", "false alarm rate at the threshold"],
  "missing alarm rate at the threshold": ["阈值处漏报率", "missing alarm rate at the threshold"],
  "share of windows hit": ["命中的异常区段占比", "share of windows hit"],
  "false alarms a day": ["每天误报", "false alarms a day"],

  value: ["偏离平常", "away from usual"],
  shift: ["近期均值偏移", "recent mean moved"],
  drift: ["缓慢漂移", "slow drift"],
  slope: ["变化趋势", "trend"],
  shift_size: ["偏移幅度", "size of the move"],
  drift_size: ["漂移幅度", "size of the drift"],
  beyond: ["超出平常范围", "outside its range"],
  peak: ["近期峰值", "recent peak"],
  jump: ["突跳", "sudden step"],
  shift_excess: ["少见的偏移", "unusual move"],
  drift_excess: ["少见的漂移", "unusual drift"],
  spread_excess: ["少见的波动", "unusual spread"],
  spread: ["波动变大", "wider spread"],
  roughness: ["读数变粗糙", "rougher"],
  texture: ["曲线形态", "texture"],
  usual_jump: ["平常跳动幅度", "usual steps"],
  rarity: ["少见的数值", "rare value"],
  rarity_lately: ["近期少见", "rare lately"],
  surprise: ["比以往少见", "rarer than before"],
  stuck: ["数值不变", "does not change"],
  late: ["读数迟到", "readings late"],
  experience: ["已积累的读数", "experience"],
};

const LANGUAGES = ["zh", "en"];

export let language = chosen();

function chosen() {
  const asked = [
    new URLSearchParams(location.search).get("lang"),
    localStorage.getItem("language"),
    navigator.language,
  ];
  return LANGUAGES.find((one) => asked.find(Boolean)?.toLowerCase().startsWith(one)) ?? "en";
}

/** Changes the language for this browser. */
export function speak(other) {
  language = other;
  localStorage.setItem("language", other);
  history.replaceState(null, "", location.pathname + location.hash);
}

/** A sentence or word of the page; {0}, {1} … stand for the arguments. */
export function say(key, ...values) {
  const sentence = WORDS[key]?.[LANGUAGES.indexOf(language)] ?? key;
  return values.reduce((text, value, index) => text.replace(`{${index}}`, value), sentence);
}

/** A label of a pack, or any name from the site, readable. */
export function name(raw) {
  return NAMES[raw]?.[LANGUAGES.indexOf(language)] ?? raw.replaceAll("_", " ");
}

/** The name of a metric: its parts stand between commas. */
export function metric(raw) {
  const parts = raw.split(", ").map(name);
  return parts.join(language === "zh" ? "，" : ", ");
}

/** A text that comes in several languages: ours, or the one there is. */
export function inLanguage(texts) {
  return texts[language] ?? texts.zh ?? texts.en ?? Object.values(texts)[0] ?? "";
}

/** Chinese as people write it: recognisers put a space after every word. */
export function tidy(text) {
  return text.replace(/(?<=[\u2e80-\u9fff\uff00-\uffef])\s+(?=[\u2e80-\u9fff\uff00-\uffef])/g, "");
}

const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

/** The time of day, with the date unless it is today; `at` in microseconds. */
export function clock(at, seconds = false) {
  const date = new Date(at / 1000);
  const today = date.toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit", ...(seconds && { second: "2-digit" }) };
  const day = today ? {} : { month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(locale(), { ...day, ...time }).format(date);
}

/** A tick of a time axis: the time of day, or the day when the ticks are days apart. */
export function tickTime(at, step) {
  const shown = step < 86400e6 ? { hour: "2-digit", minute: "2-digit" } : { month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(locale(), shown).format(new Date(at / 1000));
}

/** Seconds as 1:27 or 1:02:05. */
export function length(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

/** A stretch of seconds for people: 8:12, 3 h 20 min, 2 d 4 h. */
export function stretch(seconds) {
  if (seconds < 3600) return length(seconds);
  const hours = Math.floor(seconds / 3600);
  if (hours < 24) return `${hours} ${say("hour")} ${Math.floor(seconds / 60) % 60} ${say("minute")}`;
  return `${Math.floor(hours / 24)} ${say("day")} ${hours % 24} ${say("hour")}`;
}

/** How long ago something was, in one unit. */
export function age(seconds) {
  const [unit, size] = [
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ].find(([, one]) => seconds >= one) ?? ["second", 1];
  return say("ago", `${Math.floor(Math.max(0, seconds) / size)} ${say(unit)}`);
}

/** A number with as many digits as a person reads. */
export function number(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : 2);
}

/** A difference of probabilities, in points: +12, −3. */
export function points(difference) {
  const whole = Math.round(100 * difference);
  return whole > 0 ? `+${whole}` : whole < 0 ? `−${-whole}` : "0";
}

/** Some minutes, in words. */
export function span(minutes) {
  const whole = Math.round(minutes);
  if (whole >= 120) return stretch(minutes * 60);
  return whole === 1 ? say("oneMinute") : say("minutes", whole);
}

/** A probability as part of a sentence: English speaks of 0.83, Chinese of 83 %. */
export function odds(share) {
  return language === "zh" ? percent(share).replace(" ", "\u00a0") : share.toFixed(2);
}

/** The bounds of one, likewise. */
export function oddsBetween(low, high) {
  return language === "zh" ? `${Math.round(low * 100)}–${odds(high)}` : `${odds(low)} to ${odds(high)}`;
}

/** A probability. */
export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

const UNITS = {
  mm_s: "mm/s",
  m_s: "m/s",
  m3_s: "m³/s",
  m3_h: "m³/h",
  c: "°C",
  degc: "°C",
  a: "A",
  v: "V",
  kv: "kV",
  w: "W",
  kw: "kW",
  hz: "Hz",
  bar: "bar",
  kpa: "kPa",
  mpa: "MPa",
  rpm: "r/min",
  pct: "%",
  percent: "%",
  m: "m",
  mm: "mm",
  kn: "kN",
  ppm: "ppm",
  l_min: "l/min",
};

/** A sensor's name and unit, as its own name tells them: vibration_mm_s → ["vibration", "mm/s"]. */
export function sensor(raw) {
  const parts = raw.split("_");
  for (const taken of [2, 1]) {
    const unit = parts.length > taken && UNITS[parts.slice(-taken).join("_").toLowerCase()];
    if (unit) return [parts.slice(0, -taken).join(" "), unit];
  }
  return [parts.join(" "), ""];
}
