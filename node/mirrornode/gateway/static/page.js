// The page of a node: takes its live feed and draws it. Names, agents and reasons come from
// strangers: every text goes through textContent, and the policy of the page forbids the rest.
"use strict";

// ---- words --------------------------------------------------------------------------------------

const WORDS = {
  en: {
    skip: "Skip to content", language: "Language", live: "Live", connecting: "Connecting…", lost: "No connection; trying again",
    themeAuto: "Theme: system", themeDark: "Theme: dark", themeLight: "Theme: light",
    login: "Log in", logout: "Log out", loginWhy: "With this node's token you can pin, unpin and stop downloads here. It is in the node's home:",
    token: "Token", close: "Close", loginWrong: "This is not the token of this node.", now: "Now", alerts: "Alerts", since: "since {0}",
    transfers: "Transfers", running: "{0} running", map: "Who feeds whom", peers: "Peers", peer: "Peer", rtt: "Round trip", gives: "Gives us", takes: "Takes",
    connected: "{0} connected", notConnected: "not connected", shared: "Shared and pinned", filter: "Filter by name, CID or licence", name: "Name", size: "Size",
    complete: "Here", licence: "Licence", pinned: "Pinned", whoHas: "Who has it", actions: "Actions", pin: "Pin", unpin: "Unpin", cancel: "Stop",
    pinTarget: "Keep a model:", mirrors: "Mirrors and origins", disk: "Disk", history: "Recent downloads", what: "What", outcome: "Outcome", rate: "Rate", from: "From", when: "When",
    footer: "mirrornode: every byte is verified. The same numbers for Prometheus:", figIn: "Coming in", figOut: "Going out", figShared: "Shared", figSaved: "From peers, 24 h",
    figOk: "Downloads ok, 24 h", figDisk: "Disk free", items: "in {0} models and folders", savedOf: "{0} of {1} did not need an origin", downloads: "{0} downloads", none: "none yet",
    diskOf: "of {0}", sentAll: "{0} sent since start", inDay: "{0} in 24 h",
    eta: "{0} left", finding: "looking for sources", unnamed: "a download that is not named here", sources: "{0} sources", noSource: "no source yet", of: "{0} of {1}",
    thisNode: "this node", youHave: "this node", gave: "gave it to us", kept: "keeps a copy", coming: "is fetching a copy", refused: "refused a copy", more: "and {0} more",
    alsoHave: "{0} peers have it", allHere: "complete", partly: "{0} here", unknown: "not known", changed: "changed on disk", missing: "missing on disk", partial: "incomplete", notOpen: "not public", heldForPeer: "kept for a peer", shownOf: "{0} of {1} are shown; `mirrornode ls` lists all.",
    stopped: "Stopped.", pinDone: "Pinned.", pinStarted: "On its way: it is pinned when it has come.", unpinDone: "No longer pinned.", failed: "That did not work: {0}", copied: "Copied.", copy: "Copy",
    ok: "ok", cancelled: "stopped", failedWord: "failed", lookUp: "Look", lookUpOf: "Look who has {0}", lookUpNone: "Nobody else was found.", looking: "Looking…",
    success: "{0} of {1} uses went well", neverUsed: "never used yet", firstByte: "first byte {0}", strip: "Uses of late, the newest on the right: {0} well, {1} failed, {2} with wrong bytes",
    mine: "kept by mirrornode", others: "everything else", free: "free", quota: "quota", keepFree: "stays free", noLimit: "no limit",
    nodeLine: "{0} · version {1}", mapCaption: "Left: who brought us bytes in the last 24 h. Right: whom this node has fed since it started. Moving now is drawn in full colour.",
    mapLabel: "{0} sources feed this node, which feeds {1} peers.", pinOf: "Pin {0}", unpinOf: "Unpin {0}", stopOf: "Stop {0}", replicas: "{0} of {1} copies",
    emptyTransfers: "Nothing is on its way. Fetch something, and watch it here:", emptyPeers: "No peers yet. Start a second node in this network and they find each other:", emptyPeersFar: "In another network, name this node's address:",
    emptyMap: "Nothing has moved yet. Who brings and who takes is drawn here as soon as a download runs.", emptyShared: "Nothing is shared yet. Share a folder in place, or the cache of the Hub's clients:", emptyFilter: "Nothing matches the filter.",
    emptyMirrors: "No mirror is set. Write one into config.toml, or measure one:", emptyHistory: "No downloads yet. The first one will be listed here:",
    anon: "names are not kept on this node", jobRunning: "{0} {1}: on its way", jobFailed: "{0} {1}: {2}",
    active: "active", idle: "idle", banned: "sent wrong bytes", origin: "origin",
    syncs: "Kept in step", lastRun: "Last run", nextRun: "Next run", byHand: "by hand", neverRan: "never ran", runs: "running", paused: "paused", killed: "cut off", overdue: "overdue", lastOk: "last ok {0}",
    aside: "put aside", trial: "on trial", standing: "{0} since {1}: {3} ({2})", rule_slow: "too slow", rule_failing: "fails too often",
  },
  zh: {
    skip: "跳到内容", language: "语言", live: "实时", connecting: "正在连接…", lost: "连接中断，正在重试",
    themeAuto: "主题：跟随系统", themeDark: "主题：深色", themeLight: "主题：浅色",
    login: "登录", logout: "退出", loginWhy: "使用本节点的令牌，可以在这里固定、取消固定和停止下载。令牌在节点目录中：",
    token: "令牌", close: "关闭", loginWrong: "这不是本节点的令牌。", now: "当前", alerts: "告警", since: "自 {0}",
    transfers: "传输", running: "{0} 个进行中", map: "谁供给谁", peers: "对等节点", peer: "节点", rtt: "往返时延", gives: "供给我们", takes: "从我们获取",
    connected: "已连接 {0} 个", notConnected: "未连接", shared: "已共享和固定", filter: "按名称、CID 或许可证筛选", name: "名称", size: "大小",
    complete: "本机", licence: "许可证", pinned: "固定", whoHas: "谁拥有", actions: "操作", pin: "固定", unpin: "取消固定", cancel: "停止",
    pinTarget: "保留模型：", mirrors: "镜像和源站", disk: "磁盘", history: "最近的下载", what: "内容", outcome: "结果", rate: "速率", from: "来自", when: "时间",
    footer: "mirrornode：每个字节都经过校验。供 Prometheus 使用的同样数据：", figIn: "接收", figOut: "发送", figShared: "已共享", figSaved: "来自对等节点，24 小时",
    figOk: "下载成功率，24 小时", figDisk: "磁盘剩余", items: "共 {0} 个模型和文件夹", savedOf: "{1} 中有 {0} 无需源站", downloads: "{0} 次下载", none: "暂无",
    diskOf: "共 {0}", sentAll: "启动以来已发送 {0}", inDay: "24 小时内 {0}",
    eta: "剩余 {0}", finding: "正在寻找来源", unnamed: "此处不显示名称的下载", sources: "{0} 个来源", noSource: "尚无来源", of: "{0} / {1}",
    thisNode: "本节点", youHave: "本节点", gave: "曾提供给我们", kept: "保存副本", coming: "正在获取副本", refused: "拒绝保存副本", more: "另有 {0} 个",
    alsoHave: "{0} 个节点拥有", allHere: "完整", partly: "已有 {0}", unknown: "未知", changed: "磁盘上已改变", missing: "磁盘上已丢失", partial: "不完整", notOpen: "未公开", heldForPeer: "为对等节点保存", shownOf: "显示 {1} 项中的 {0} 项；`mirrornode ls` 列出全部。",
    stopped: "已停止。", pinDone: "已固定。", pinStarted: "正在获取，完成后即固定。", unpinDone: "已取消固定。", failed: "操作失败：{0}", copied: "已复制。", copy: "复制",
    ok: "成功", cancelled: "已停止", failedWord: "失败", lookUp: "查找", lookUpOf: "查找谁拥有 {0}", lookUpNone: "没有找到其他节点。", looking: "正在查找…",
    success: "{1} 次使用中 {0} 次正常", neverUsed: "尚未使用", firstByte: "首字节 {0}", strip: "最近的使用，最新在右：{0} 次正常，{1} 次失败，{2} 次字节错误",
    mine: "mirrornode 保存", others: "其他", free: "剩余", quota: "配额", keepFree: "保留剩余", noLimit: "无限制",
    nodeLine: "{0} · 版本 {1}", mapCaption: "左：最近 24 小时向我们提供字节的来源。右：本节点启动以来供给的节点。正在传输的以全色显示。",
    mapLabel: "{0} 个来源供给本节点，本节点供给 {1} 个对等节点。", pinOf: "固定 {0}", unpinOf: "取消固定 {0}", stopOf: "停止 {0}", replicas: "{0} / {1} 份副本",
    emptyTransfers: "没有正在进行的传输。获取一个模型，即可在此查看：", emptyPeers: "还没有对等节点。在本网络中启动第二个节点，它们会自动发现彼此：", emptyPeersFar: "在其他网络中，请指定本节点的地址：",
    emptyMap: "还没有数据流动。下载开始后，这里会画出谁提供、谁获取。", emptyShared: "还没有共享内容。就地共享一个文件夹，或共享 Hub 客户端的缓存：", emptyFilter: "没有匹配的内容。",
    emptyMirrors: "没有设置镜像。写入 config.toml，或测量一个：", emptyHistory: "还没有下载。第一次下载会列在这里：",
    anon: "本节点不保存名称", jobRunning: "{0} {1}：进行中", jobFailed: "{0} {1}：{2}",
    active: "活动", idle: "空闲", banned: "发送了错误字节", origin: "源站",
    syncs: "同步", lastRun: "上次运行", nextRun: "下次运行", byHand: "手动", neverRan: "从未运行", runs: "运行中", paused: "已暂停", killed: "被中断", overdue: "已逾期", lastOk: "上次成功 {0}",
    aside: "已搁置", trial: "试用中", standing: "自 {1} {0}：{3}（{2}）", rule_slow: "太慢", rule_failing: "失败过多",
  },
};

let language = stored("language") || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!(language in WORDS)) language = "en";

function t(key, ...values) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return values.length ? text.replace(/\{(\d)\}/g, (_, index) => values[Number(index)] ?? "") : text;
}

function stored(name) {
  try { return localStorage.getItem(`mirrornode.${name}`); } catch { return null; }
}

function store(name, value) {
  try { localStorage.setItem(`mirrornode.${name}`, value); } catch { /* a private window: for now only */ }
}

// ---- numbers ------------------------------------------------------------------------------------

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"]; // decimal, as the command line has them

function scaled(bytes) {
  let value = Math.max(0, Number(bytes) || 0);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  const digits = unit === 0 ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return [value.toFixed(digits), UNITS[unit]];
}

const sizeText = (bytes) => (bytes === null || bytes === undefined ? "–" : scaled(bytes).join("\u00a0"));
const rateText = (rate) => (rate === null || rate === undefined ? "–" : `${sizeText(rate)}/s`);
const millis = (seconds) => (seconds === null || seconds === undefined ? "–" : seconds < 0.0001 ? "<\u00a00.1\u00a0ms" : `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)}\u00a0ms`);
const countText = (count) => Number(count).toLocaleString(language);

function percent(part, whole) {
  if (!(whole > 0)) return "–";
  if (part >= whole) return "100%";
  return `${Math.min(99.9, Math.floor((1000 * part) / whole) / 10).toFixed(part / whole < 0.1 ? 1 : 0)}%`;
}

function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0 || seconds > 360000) return "–";
  const whole = Math.round(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

function clock(unixSeconds) {
  const moment = new Date(unixSeconds * 1000);
  const isToday = moment.toDateString() === new Date().toDateString();
  const parts = { hour: "2-digit", minute: "2-digit", ...(isToday ? {} : { month: "short", day: "numeric" }) };
  return moment.toLocaleString(language === "zh" ? "zh-CN" : "en", parts);
}

function short(id) {
  return id.length > 20 ? `${id.slice(0, 6)}…${id.slice(-8)}` : id;
}

function linkName(link) {
  return link.kind === "peer" || link.kind === "bitswap" ? short(link.name) : link.name.replace(/^https?:\/\//, "").replace(/\/$/, "");
}

// ---- drawing ------------------------------------------------------------------------------------

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function attr(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// Keeps the elements of a list that stay, so that focus and selection do too.
function keyed(parent, items, keyOf, create, update) {
  const old = parent.drawn || new Map();
  const drawn = new Map();
  let place = parent.firstChild;
  items.forEach((item, index) => {
    let key = keyOf(item);
    while (drawn.has(key)) key = `${key} ${index}`;
    const element = old.get(key) || create(item);
    update(element, item);
    drawn.set(key, element);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  });
  while (place) { const next = place.nextSibling; place.remove(); place = next; }
  parent.drawn = drawn;
}

function part(element, name) {
  return element.parts[name];
}

// An element with named parts: [tag, class, name] each.
function build(tag, className, ...children) {
  const element = make(tag, className);
  element.parts = {};
  for (const [childTag, childClass, name, under] of children) {
    const child = make(childTag, childClass);
    element.parts[name] = child;
    (under ? element.parts[under] : element).append(child);
  }
  return element;
}

function bar(element, share) {
  const width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
  if (element.style.width !== width) element.style.width = width;
}

function chip(text, kind) {
  return make("span", `chip ${kind || ""}`, text);
}

function replace(element, ...children) {
  // What is drawn as before stays as it is: less work, and a selection survives.
  const next = children.map((child) => (typeof child === "string" ? child : child.outerHTML)).join("\n");
  if (element.shown === next) return;
  element.shown = next;
  element.replaceChildren(...children);
}

function button(label, describes, act, className) {
  const element = make("button", className, label);
  element.type = "button";
  element.setAttribute("aria-label", describes);
  element.addEventListener("click", act);
  return element;
}

function empty(id, isEmpty, parts) {
  const element = byId(id);
  element.hidden = !isEmpty;
  const key = `${language} ${JSON.stringify(parts)}`;
  if (!isEmpty || element.drawnFor === key) return;
  element.drawnFor = key;
  element.replaceChildren();
  for (const [kind, text] of parts) {
    if (kind === "text") { element.append(make("p", "", text)); continue; }
    const line = make("div", "command");
    line.append(make("code", "", text), button(t("copy"), `${t("copy")}: ${text}`, () => copy(text)));
    element.append(line);
  }
}

async function copy(text) {
  try { await navigator.clipboard.writeText(text); toast(t("copied")); } catch (error) { toast(text); }
}

let toastTimer = 0;
function toast(text) {
  byId("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { byId("toast").textContent = ""; }, 6000);
}

// ---- what is shown ------------------------------------------------------------------------------

const PAINT_MS = 1900; // between two drawings of numbers; the feed tells them once a second
const LINE_POINTS = 60; // of a line, one a second
const seen = {}; // the sections as last told
const ago = { in: [], out: [] }; // rates of the last minute
let mayChange = false;

const rowsOf = (name) => seen[name]?.rows ?? [];

const VIEWS = {
  node: [showIdentity, showFigures, showPeers],
  rates: [showFigures],
  transfers: [showTransfers],
  links: [showMap, showPeers],
  alerts: [showAlerts],
  shared: [showShared, showFigures],
  downloads: [showHistory, showMirrors],
  mirrors: [showMirrors],
  syncs: [showSyncs],
  disk: [showDisk, showFigures],
  jobs: [showJobs],
};

function showSome(names) {
  const views = new Set(names.flatMap((name) => VIEWS[name] ?? []));
  for (const view of views) view();
}

function showAll() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-t]")) say(element, t(element.dataset.t));
  for (const element of document.querySelectorAll("[data-t-label]")) attr(element, "aria-label", t(element.dataset.tLabel));
  for (const element of document.querySelectorAll("[data-t-placeholder]")) attr(element, "placeholder", t(element.dataset.tPlaceholder));
  attr(byId("lang-en"), "aria-pressed", String(language === "en"));
  attr(byId("lang-zh"), "aria-pressed", String(language === "zh"));
  for (const element of document.querySelectorAll("tbody, .cards, .rows")) { element.replaceChildren(); element.drawn = undefined; }
  showTheme();
  showLogin();
  showState();
  showSome(Object.keys(seen));
}

function showIdentity() {
  const node = seen.node;
  if (!node) return;
  say(byId("identity"), t("nodeLine", short(node.peer_id ?? ""), node.version ?? "") + (node.hub_endpoint ? ` · HF_ENDPOINT=${node.hub_endpoint}` : ""));
  document.title = `mirrornode ${short(node.peer_id ?? "")}`;
}

function showFigures() {
  const node = seen.node ?? {};
  const day = node.last_day;
  const shared = seen.shared;
  const disk = seen.disk;
  const rates = seen.rates ?? { in: 0, out: 0 };
  const came = day?.received_bytes ?? 0;
  const fromPeers = (day?.bytes_by_kind?.peer ?? 0) + (day?.bytes_by_kind?.bitswap ?? 0);
  const figures = [
    { id: "in", title: t("figIn"), value: scaled(rates.in), per: "/s", note: t("inDay", sizeText(came)), line: ago.in },
    { id: "out", title: t("figOut"), value: scaled(rates.out), per: "/s", note: t("sentAll", sizeText(node.served_bytes ?? 0)), line: ago.out },
    { id: "shared", title: t("figShared"), value: shared ? scaled(rowsOf("shared").reduce((sum, one) => sum + (one.here_bytes ?? 0), 0)) : ["–", ""], note: t("items", countText(shared?.total ?? 0)) },
    { id: "saved", title: t("figSaved"), value: came ? [percent(fromPeers, came).replace("%", ""), "%"] : ["–", ""], note: came ? t("savedOf", sizeText(fromPeers), sizeText(came)) : t("none") },
    { id: "ok", title: t("figOk"), value: day && day.success_ratio !== null ? [percent(day.success_ratio, 1).replace("%", ""), "%"] : ["–", ""], note: day?.downloads ? t("downloads", countText(day.downloads)) : t("none") },
    { id: "disk", title: t("figDisk"), value: disk ? scaled(disk.free_bytes) : ["–", ""], note: disk ? t("diskOf", sizeText(disk.disk_bytes)) : "" },
  ];
  keyed(byId("figures"), figures, (one) => one.id, (one) => {
    const element = build("div", "figure", ["dt", "", "title"], ["dd", "value", "value"], ["span", "", "number", "value"], ["span", "unit", "unit", "value"], ["dd", "note", "note"]);
    element.dataset.id = one.id;
    if (one.line) {
      const svg = draw("svg", { viewBox: "0 0 60 24", preserveAspectRatio: "none", "aria-hidden": "true" });
      element.line = svg.appendChild(draw("polyline", { points: "" }));
      const holder = element.appendChild(make("dd"));
      holder.append(svg);
    }
    return element;
  }, (element, one) => {
    say(part(element, "title"), one.title);
    say(part(element, "number"), one.value[0]);
    say(part(element, "unit"), one.value[1] + (one.per ?? ""));
    say(part(element, "note"), one.note);
    if (one.line) attr(element.line, "points", sparkline(one.line));
  });
}

function sparkline(values) {
  const most = Math.max(1, ...values);
  const first = LINE_POINTS - values.length;
  return values.map((value, index) => `${first + index},${(23 - (22 * value) / most).toFixed(1)}`).join(" ");
}

let rememberedAt = 0; // up to where the lines of the last minute go

// Carries on the lines, one point for each second; returns whether they have moved.
function remember() {
  const seconds = Math.min(LINE_POINTS, Math.floor((performance.now() - rememberedAt) / 1000 + 0.1));
  if (seconds < 1) return false;
  rememberedAt = Math.max(rememberedAt + 1000 * seconds, performance.now() - 1000);
  let isMoving = false;
  for (const side of ["in", "out"]) {
    const rate = seen.rates?.[side] ?? 0;
    isMoving ||= rate > 0 || ago[side].some(Boolean);
    for (let second = 0; second < seconds; second += 1) ago[side].push(rate);
    ago[side].splice(0, ago[side].length - LINE_POINTS);
  }
  return isMoving;
}

function showAlerts() {
  const alerts = rowsOf("alerts");
  byId("alerts").hidden = !alerts.length;
  keyed(byId("alert-list"), alerts, (one) => `${one.rule} ${one.key}`, () => build("li", "", ["span", "", "text"], ["span", "since", "since"]), (element, one) => {
    attr(element, "data-severity", String(one.severity ?? "warning"));
    say(part(element, "text"), String(one.text ?? one.rule ?? ""));
    say(part(element, "since"), Number.isFinite(one.since) ? t("since", clock(one.since)) : "");
  });
}

function targetName(one) {
  if (!one.target) return one.is_hidden ? t("unnamed") : t("anon");
  return one.target.startsWith("hf:") ? one.target : short(one.target);
}

function showTransfers() {
  const rows = rowsOf("transfers");
  say(byId("transfers-count"), rows.length ? t("running", countText(seen.transfers.total)) : "");
  keyed(byId("transfers"), rows, transferKey, makeTransfer, updateTransfer);
  empty("transfers-empty", seen.transfers && !rows.length, [["text", t("emptyTransfers")], ["code", "mirrornode get hf:org/name"]]);
}

function transferKey(one) {
  return `${one.started_at} ${one.target}`;
}

function makeTransfer() {
  const element = build("li", "transfer", ["div", "line", "line"], ["span", "name", "name", "line"], ["span", "speed", "speed", "line"], ["div", "track", "track"], ["i", "", "fill", "track"], ["div", "line", "below"], ["span", "facts", "facts", "below"], ["ul", "sources", "sources"]);
  const track = part(element, "track");
  track.setAttribute("role", "progressbar");
  track.setAttribute("aria-valuemin", "0");
  track.setAttribute("aria-valuemax", "100");
  return element;
}

function updateTransfer(element, one) {
  const total = one.total_bytes;
  const name = targetName(one);
  say(part(element, "name"), name);
  say(part(element, "speed"), rateText(one.rate_bytes_per_s));
  bar(part(element, "fill"), total ? one.done_bytes / total : 0);
  attr(part(element, "track"), "aria-label", name);
  attr(part(element, "track"), "aria-valuenow", String(total ? Math.floor((100 * one.done_bytes) / total) : 0));
  const sources = one.sources.filter((source) => source.received_bytes || source.state === "active");
  const left = one.rate_bytes_per_s > 0 ? (total - one.done_bytes) / one.rate_bytes_per_s : NaN;
  const facts = total ? [percent(one.done_bytes, total), t("of", sizeText(one.done_bytes), sizeText(total)), t("eta", duration(left))] : [t("finding")];
  facts.push(sources.length ? t("sources", countText(sources.length)) : t("noSource"));
  say(part(element, "facts"), facts.join(" · "));
  const came = sources.reduce((sum, source) => sum + source.received_bytes, 0);
  sources.sort((a, b) => b.received_bytes - a.received_bytes);
  keyed(part(element, "sources"), sources.slice(0, 8), (source) => source.source_id || source.kind, () => build("li", "", ["span", "who", "who"], ["span", "", "rate"], ["span", "", "size"], ["span", "", "rtt"]), (row, source) => {
    attr(row, "data-state", source.state);
    say(part(row, "who"), `${sourceText(source.source_id || source.kind)}${source.state === "active" ? "" : ` · ${t(source.state === "failed" ? "failedWord" : source.state)}`}`);
    say(part(row, "rate"), source.state === "active" ? rateText(source.rate_bytes_per_s) : "–");
    say(part(row, "size"), `${sizeText(source.received_bytes)} · ${percent(source.received_bytes, came)}`);
    say(part(row, "rtt"), millis(source.rtt_s));
  });
  if (mayChange && one.id && !element.stop) {
    element.stop = button(t("cancel"), t("stopOf", name), () => call("cancel", { id: one.id }, t("stopped")), "bad");
    part(element, "line").append(element.stop);
  } else if (!mayChange && element.stop) {
    element.stop.remove();
    element.stop = undefined;
  }
}

function sourceText(sourceId) {
  const [kind, ...rest] = sourceId.split(":");
  return rest.length ? `${kind} ${linkName({ kind, name: rest.join(":") })}` : kind;
}

function showPeers() {
  const peers = rowsOf("links").filter((link) => link.kind === "peer");
  const connected = peers.filter((link) => link.is_connected).length;
  say(byId("peers-count"), connected ? t("connected", countText(connected)) : "");
  byId("peers-table").hidden = !peers.length;
  keyed(byId("peers"), peers, (link) => link.id, () => build("tr", "", ["td", "name", "name"], ["span", "mono", "id", "name"], ["span", "sub", "sub", "name"], ["td", "number", "rtt"], ["td", "number", "gives"], ["span", "", "inRate", "gives"], ["span", "sub", "inBytes", "gives"], ["td", "number", "takes"], ["span", "", "outRate", "takes"], ["span", "sub", "outBytes", "takes"]), (row, link) => {
    say(part(row, "id"), short(link.name));
    attr(part(row, "id"), "title", link.name);
    say(part(row, "sub"), link.is_connected ? [link.agent, link.address].filter(Boolean).join(" · ") : t("notConnected"));
    say(part(row, "rtt"), millis(link.rtt_s));
    say(part(row, "inRate"), link.in_rate ? rateText(link.in_rate) : "–");
    say(part(row, "inBytes"), sizeText(link.in_bytes));
    say(part(row, "outRate"), link.out_rate ? rateText(link.out_rate) : "–");
    say(part(row, "outBytes"), sizeText(link.out_bytes));
  });
  const address = seen.node?.listen?.find((one) => !one.includes("/127.0.0.1/"));
  empty("peers-empty", seen.links && !peers.length, [["text", t("emptyPeers")], ["code", "mirrornode serve"], ["text", t("emptyPeersFar")], ["code", `mirrornode serve --bootstrap ${address ?? "MULTIADDR"}`]]);
}

// ---- the map ------------------------------------------------------------------------------------

const MAP_ROWS = 6;
let mapWidth = 0; // kept: asking for it anew would lay out the page each second

function showMap() {
  const links = rowsOf("links");
  const givers = links.filter((link) => link.in_bytes || link.in_rate).sort((a, b) => b.in_rate - a.in_rate || b.in_bytes - a.in_bytes);
  const takers = links.filter((link) => link.out_bytes || link.out_rate).sort((a, b) => b.out_rate - a.out_rate || b.out_bytes - a.out_bytes);
  const isEmpty = !givers.length && !takers.length;
  const svg = byId("map");
  svg.parentElement.hidden = isEmpty;
  empty("map-empty", seen.links && isEmpty, [["text", t("emptyMap")]]);
  if (isEmpty) return;
  say(byId("map-caption"), t("mapCaption"));
  attr(svg, "aria-label", t("mapLabel", countText(givers.length), countText(takers.length)));
  const width = Math.max(300, Math.round(mapWidth || svg.parentElement.clientWidth - 20));
  mapWidth = width;
  const rows = Math.min(MAP_ROWS, Math.max(givers.length, takers.length, 2));
  const height = 44 * rows + 16;
  const state = JSON.stringify([width, language, givers.slice(0, MAP_ROWS), takers.slice(0, MAP_ROWS)]);
  if (svg.shownFor === state) return;
  svg.shownFor = state;
  attr(svg, "viewBox", `0 0 ${width} ${height}`);
  attr(svg, "height", String(height));
  const most = Math.max(1, ...givers.map((link) => link.in_bytes), ...takers.map((link) => link.out_bytes));
  const self = { x: width / 2, y: height / 2 };
  // Names have a column of their own on each side: no line runs through them.
  const column = Math.round(Math.min(160, Math.max(92, width * 0.3)));
  const lines = [];
  const nodes = [];
  const side = (some, isIn) => {
    const shown = some.slice(0, MAP_ROWS);
    shown.forEach((link, index) => {
      const rate = isIn ? link.in_rate : link.out_rate;
      const bytes = isIn ? link.in_bytes : link.out_bytes;
      const x = isIn ? column + 12 : width - column - 12;
      const y = (height * (index + 0.5)) / shown.length;
      const [from, to] = isIn ? [{ x, y }, self] : [self, { x, y }];
      const middle = (from.x + to.x) / 2;
      const key = `${isIn} ${link.id}`;
      lines.push(["path", `line ${key}`, {
        d: `M${from.x} ${from.y} C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`,
        class: `${isIn ? "in" : "out"}${rate ? "" : " still"}`,
        "stroke-width": (1.2 + 7 * Math.sqrt(bytes / most)).toFixed(1),
      }]);
      const place = { x: isIn ? column : width - column, "text-anchor": isIn ? "end" : "start" };
      nodes.push(["circle", `node ${key}`, { cx: x, cy: y, r: 7, class: `node${link.kind === "peer" ? "" : " origin"}` }]);
      nodes.push(["text", `name ${key}`, { ...place, y: y - 2 }, mapName(link, column)]);
      nodes.push(["text", `rate ${key}`, { ...place, y: y + 13, class: "soft" }, rate ? rateText(rate) : sizeText(bytes)]);
    });
  };
  side(givers, true);
  side(takers, false);
  nodes.push(["circle", "self", { cx: self.x, cy: self.y, r: 13, class: "node self" }]);
  nodes.push(["text", "self name", { x: self.x, y: self.y + 30, "text-anchor": "middle" }, t("thisNode")]);
  keyed(svg, [...lines, ...nodes], (shape) => shape[1], (shape) => draw(shape[0], {}), (element, shape) => {
    for (const [name, value] of Object.entries(shape[2])) attr(element, name, String(value));
    if (shape[3] !== undefined) say(element, shape[3]);
  });
}

function mapName(link, column) {
  const name = linkName(link);
  const isPeer = link.kind === "peer";
  const most = Math.floor(column / (isPeer ? 8.5 : 6.8)); // letters; ids have many capitals
  if (name.length <= most) return name;
  // Peer ids begin alike and differ in their ends.
  return isPeer ? `…${link.name.slice(-8)}` : `${name.slice(0, most - 1)}…`;
}

// ---- shared -------------------------------------------------------------------------------------

function showShared() {
  const all = rowsOf("shared");
  const wanted = byId("filter").value.trim().toLowerCase();
  const shown = all.filter((one) => !wanted || [one.name, one.target, one.licence].some((text) => (text ?? "").toLowerCase().includes(wanted)));
  say(byId("shared-count"), all.length ? countText(seen.shared.total) : "");
  byId("shared-table").hidden = !shown.length;
  byId("pin-form").hidden = !mayChange;
  for (const cell of document.querySelectorAll("th.own")) cell.hidden = !mayChange;
  keyed(byId("shared"), shown, (one) => `${one.target} ${one.path ?? ""}`, makeShared, updateShared);
  const more = (seen.shared?.total ?? 0) - all.length;
  byId("shared-more").hidden = more <= 0;
  say(byId("shared-more"), t("shownOf", countText(all.length), countText(seen.shared?.total ?? 0)));
  if (all.length) empty("shared-empty", !shown.length, [["text", t("emptyFilter")]]);
  else empty("shared-empty", Boolean(seen.shared), [["text", t("emptyShared")], ["code", "mirrornode add ~/models"], ["code", "mirrornode add --hf-cache"]]);
}

function makeShared() {
  const row = build("tr", "", ["td", "name", "name"], ["span", "", "title", "name"], ["span", "sub mono", "sub", "name"], ["span", "sub", "path", "name"], ["span", "sub narrow", "more", "name"], ["td", "number", "size"], ["td", "", "here"], ["span", "", "hereText", "here"], ["div", "track small-track", "track", "here"], ["i", "", "fill", "track"], ["td", "wide licence", "licence"], ["td", "wide", "pins"], ["td", "wide", "has"], ["div", "has", "holders", "has"], ["td", "own", "own"]);
  return row;
}

function updateShared(row, one) {
  row.one = one;
  say(part(row, "title"), one.name || short(one.target));
  say(part(row, "sub"), one.kind === "hub" ? [...(one.refs ?? []), one.target.split("@").pop().slice(0, 12)].join(" · ") : short(one.target));
  attr(part(row, "sub"), "title", one.target);
  say(part(row, "path"), one.path ?? "");
  say(part(row, "more"), [one.licence, one.pins.length ? `${t("pinned")}: ${one.pins.map((each) => each.name || "✓").join(", ")}` : "", one.holders.length ? t("alsoHave", countText(one.holders.length)) : ""].filter(Boolean).join(" · "));
  say(part(row, "size"), sizeText(one.size_bytes));
  const isWhole = one.state === "ok";
  say(part(row, "hereText"), isWhole ? t("allHere") : one.here_bytes !== null && one.size_bytes ? t("partly", percent(one.here_bytes, one.size_bytes)) : t(one.state));
  bar(part(row, "fill"), isWhole ? 1 : one.size_bytes ? (one.here_bytes ?? 0) / one.size_bytes : 0);
  replace(part(row, "licence"), ...(one.licence ? [one.licence] : ["–"]));
  const pins = one.pins.map((pin) => chip(pin.name || t("pinned"), "good"));
  if (one.is_held_for_peer) pins.push(chip(t("heldForPeer"), ""));
  if (!one.is_open) pins.push(chip(t("notOpen"), "warn"));
  replace(part(row, "pins"), ...(pins.length ? pins : ["–"]));
  const holders = one.holders.map((holder) => {
    const element = chip(short(holder.peer_id), holder.state === "refused" ? "bad" : "");
    element.title = `${holder.peer_id}: ${t(holder.state)}`;
    return element;
  });
  const has = [...(isWhole ? [chip(t("youHave"), "good")] : []), ...holders.slice(0, 3)];
  if (holders.length > 3) has.push(chip(t("more", countText(holders.length - 3)), ""));
  if (one.replicas) has.push(chip(t("replicas", countText(one.holders.filter((holder) => holder.state === "kept").length), countText(one.replicas)), ""));
  has.push(...(row.found ?? []).map((text) => chip(text, "")));
  const key = JSON.stringify([language, isWhole, one.holders, one.replicas, row.found ?? null]);
  if (row.hasKey !== key) {
    row.hasKey = key;
    if (one.kind !== "hub") has.push(button(t("lookUp"), t("lookUpOf", one.name), () => lookUp(row)));
    part(row, "holders").replaceChildren(...has);
  }
  part(row, "own").hidden = !mayChange;
  const isPinned = one.pins.length > 0;
  const state = `${mayChange} ${isPinned} ${language}`;
  if (row.ownState !== state) {
    row.ownState = state;
    const name = one.name || one.target;
    part(row, "own").replaceChildren(isPinned
      ? button(t("unpin"), t("unpinOf", name), () => unpin(row.one))
      : button(t("pin"), t("pinOf", name), () => pin(row.one.target)));
  }
}

// Asks this node's own router who has a content.
async function lookUp(row) {
  row.found = [t("looking")];
  updateShared(row, row.one);
  try {
    const answer = await fetch(`../routing/v1/providers/${encodeURIComponent(row.one.target)}`, { headers: { Accept: "application/json" } });
    const found = answer.ok ? ((await answer.json()).Providers ?? []) : [];
    const others = [...new Set(found.map((one) => String(one.ID ?? "")))].filter((id) => id && id !== seen.node?.peer_id);
    row.found = others.length ? others.slice(0, 5).map(short) : [t("lookUpNone")];
  } catch (error) {
    row.found = [t("lookUpNone")];
  }
  updateShared(row, row.one);
}

function showJobs() {
  const jobs = (seen.jobs ?? []).filter((job) => job.state !== "done").slice(0, 6);
  keyed(byId("jobs"), jobs, (job) => job.id, () => make("li"), (element, job) => {
    attr(element, "class", job.state === "failed" ? "error" : "soft");
    say(element, t(job.state === "failed" ? "jobFailed" : "jobRunning", job.verb, job.target, job.message));
  });
}

// ---- mirrors, disk, history ---------------------------------------------------------------------

function newOrigin(url) {
  return { url, region: t("origin"), recent: [], uses: 0, good: 0, bytes: 0, seconds: 0, first_byte_s: null };
}

// Origins are no mirrors of the config: how they did is read off the downloads.
function origins() {
  const found = new Map();
  for (const download of rowsOf("downloads")) {
    for (const source of download.sources) {
      if (source.kind !== "hub" || !source.source_id) continue;
      const one = found.get(source.source_id) ?? newOrigin(source.source_id.slice(4));
      one.recent.push({ outcome: source.outcome, rate_bytes_per_s: source.rate_bytes_per_s });
      one.uses += 1;
      one.good += source.outcome === "ok" || source.outcome === "lacked" ? 1 : 0;
      one.bytes += source.received_bytes;
      one.seconds += source.seconds;
      one.first_byte_s ??= source.first_byte_s;
      found.set(source.source_id, one);
    }
  }
  for (const { url, standing } of rowsOf("mirrors").filter((one) => one.is_origin)) {
    const name = `hub:${url}`;
    found.set(name, { ...(found.get(name) ?? newOrigin(url)), standing });
  }
  return [...found.values()].map((one) => ({ ...one, success: one.good / one.uses, known_rate_bytes_per_s: one.seconds > 0 ? one.bytes / one.seconds : null }));
}

function showMirrors() {
  const mirrors = [...rowsOf("mirrors").filter((one) => !one.is_origin), ...origins()];
  keyed(byId("mirrors"), mirrors, (one) => one.url, () => {
    const element = build("li", "", ["span", "name", "name"], ["span", "", "url", "name"], ["span", "", "mark", "name"], ["span", "facts", "facts"], ["span", "standing", "standing"]);
    element.strip = element.appendChild(draw("svg", { class: "strip", viewBox: "0 0 160 36", role: "img" }));
    return element;
  }, (element, one) => {
    say(part(element, "url"), one.url);
    const standing = one.standing;
    attr(element, "data-standing", standing?.state ?? "");
    say(part(element, "mark"), standing ? t(standing.state) : "");
    attr(part(element, "mark"), "class", standing ? "chip warn" : "");
    say(part(element, "standing"), standing ? t("standing", t(standing.state), clock(standing.since), standing.why, t(`rule_${standing.rule}`)) : "");
    const facts = one.uses ? [rateText(one.known_rate_bytes_per_s), t("success", countText(Math.round(one.success * one.uses)), countText(one.uses))] : [t("neverUsed")];
    if (one.first_byte_s !== null && one.first_byte_s !== undefined) facts.push(t("firstByte", millis(one.first_byte_s)));
    if (one.region) facts.push(one.region);
    say(part(element, "facts"), facts.join(" · "));
    showStrip(element.strip, one.recent);
  });
  empty("mirrors-empty", seen.mirrors && !mirrors.length, [["text", t("emptyMirrors")], ["code", '[[mirror]]\nurl = "https://mirror.example.com/"'], ["code", "mirrornode mirrors https://mirror.example.com/"]]);
}

const STRIP_USES = 32;

function showStrip(svg, recent) {
  const uses = recent.slice(0, STRIP_USES).reverse();
  const count = (outcome) => uses.filter((use) => use.outcome === outcome).length;
  attr(svg, "aria-label", t("strip", countText(uses.length - count("failed") - count("wrong")), countText(count("failed")), countText(count("wrong"))));
  const state = JSON.stringify(uses);
  if (svg.shownFor === state) return;
  svg.shownFor = state;
  const most = Math.max(1, ...uses.map((use) => use.rate_bytes_per_s ?? 0));
  const shapes = [];
  for (let index = 0; index < STRIP_USES; index += 1) {
    const use = uses[index - (STRIP_USES - uses.length)];
    const isBad = use && (use.outcome === "failed" || use.outcome === "wrong");
    // What failed hangs from the top: it is told by place, not by colour alone.
    const height = !use ? 2 : isBad ? 12 : 4 + 30 * ((use.rate_bytes_per_s ?? 0) / most);
    shapes.push(draw("rect", { x: index * 5, y: isBad ? 1 : 35 - height, width: 4, height: height.toFixed(1), rx: 1, class: !use ? "none" : isBad ? use.outcome : "ok" }));
  }
  svg.replaceChildren(...shapes);
}

function showDisk() {
  const disk = seen.disk;
  if (!disk) return;
  const whole = disk.disk_bytes ?? 0;
  const others = whole - (disk.free_bytes ?? 0) - disk.managed_bytes;
  const parts = make("div", "parts");
  for (const [name, bytes] of [["mine", disk.managed_bytes], ["other", others]]) {
    const piece = make("i", name);
    bar(piece, whole ? bytes / whole : 0);
    parts.append(piece);
  }
  const key = make("ul", "key");
  const lines = [
    ["mine", t("mine"), disk.quota_bytes ? t("of", sizeText(disk.managed_bytes), sizeText(disk.quota_bytes)) : sizeText(disk.managed_bytes)],
    ["other", t("others"), sizeText(Math.max(0, others))],
    ["", t("free"), sizeText(disk.free_bytes)],
    ["limit", t("quota"), disk.quota_bytes ? sizeText(disk.quota_bytes) : t("noLimit")],
    ["limit", t("keepFree"), disk.keep_free_bytes ? sizeText(disk.keep_free_bytes) : t("noLimit")],
  ];
  for (const [name, text, value] of lines) {
    const line = make("li", name);
    line.append(make("span", "", text), make("b", "", value));
    key.append(line);
  }
  replace(byId("disk"), parts, key);
}

function showHistory() {
  const ended = rowsOf("downloads").filter((one) => one.outcome !== "running").slice(0, 12);
  byId("history-table").hidden = !ended.length;
  keyed(byId("history"), ended, (one) => one.id, () => build("tr", "", ["td", "name", "name"], ["td", "", "outcome"], ["td", "number", "size"], ["td", "number", "rate"], ["td", "wide", "from"], ["td", "number wide", "when"]), (row, one) => {
    say(part(row, "name"), targetName(one));
    const kind = { ok: "good", partial: "warn", failed: "bad" }[one.outcome] ?? "";
    const words = { ok: "ok", partial: "partial", failed: "failedWord", cancelled: "cancelled" };
    const outcome = chip(t(words[one.outcome] ?? one.outcome), kind);
    const why = make("span", "sub", one.reason || one.error || "");
    replace(part(row, "outcome"), outcome, why);
    say(part(row, "size"), sizeText(one.size_bytes || one.received_bytes));
    say(part(row, "rate"), rateText(one.rate_bytes_per_s));
    const kinds = {};
    for (const source of one.sources) if (source.received_bytes) kinds[source.kind] = (kinds[source.kind] ?? 0) + source.received_bytes;
    const from = Object.entries(kinds).sort((a, b) => b[1] - a[1]).map(([name, bytes]) => `${name} ${sizeText(bytes)}`);
    say(part(row, "from"), from.join(", ") || "–");
    say(part(row, "when"), clock(one.ended_at ?? one.started_at));
  });
  empty("history-empty", seen.downloads && !ended.length, [["text", t("emptyHistory")], ["code", "mirrornode get CID -o model.gguf"]]);
}

const SYNC_WORDS = { ok: "ok", partial: "partial", failed: "failedWord", cancelled: "cancelled", running: "runs", paused: "paused", killed: "killed" };

function showSyncs() {
  const syncs = rowsOf("syncs");
  byId("syncs-section").hidden = !syncs.length;
  keyed(byId("syncs"), syncs, (one) => `${one.target} ${one.from_node ?? ""}`, () => build("tr", "", ["td", "name", "name"], ["span", "", "target", "name"], ["span", "sub", "from", "name"], ["td", "", "last"], ["td", "number", "next"]), (row, one) => {
    say(part(row, "target"), one.target);
    say(part(row, "from"), one.from_node ?? "");
    const kind = { ok: "good", failed: "bad", partial: "warn" }[one.outcome] ?? "";
    const last = [chip(t(SYNC_WORDS[one.outcome] ?? "neverRan"), kind)];
    if (one.is_overdue) last.push(" ", chip(t("overdue"), "bad"));
    const facts = [one.started_at ? clock(one.started_at) : "", one.ok_at && one.outcome !== "ok" ? t("lastOk", clock(one.ok_at)) : "", one.reason ?? ""];
    replace(part(row, "last"), ...last, make("span", "sub", facts.filter(Boolean).join(" · ")));
    say(part(row, "next"), one.next_at ? clock(one.next_at) : one.every_s ? "–" : t("byHand"));
  });
}

// ---- changing things ----------------------------------------------------------------------------

async function call(name, fields, done) {
  try {
    const answer = await fetch(name, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields), credentials: "same-origin" });
    const result = await answer.json();
    if (!answer.ok) { toast(t("failed", result.message ?? answer.status)); return null; }
    if (done) toast(done);
    return result;
  } catch (error) {
    toast(t("lost"));
    return null;
  }
}

async function pin(target) {
  const result = await call("pin", { target });
  if (result) toast(result.is_done ? t("pinDone") : t("pinStarted"));
  return Boolean(result);
}

async function unpin(one) {
  for (const each of one.pins) if (!(await call("unpin", { target: each.target, name: each.name }))) return;
  toast(t("unpinDone"));
}

function showLogin() {
  say(byId("login-open"), mayChange ? t("logout") : t("login"));
  const home = seen.node?.home ?? "~/.local/share/mirrornode";
  say(byId("token-command"), `cat ${home}/gateway.token`);
}

async function logIn(event) {
  event.preventDefault();
  say(byId("login-error"), "");
  const token = byId("token").value;
  const answer = await fetch("login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }), credentials: "same-origin" }).catch(() => null);
  if (!answer?.ok) { say(byId("login-error"), answer ? t("loginWrong") : t("lost")); byId("token").select(); return; }
  byId("token").value = "";
  byId("login").close();
  listen();
}

async function logInOrOut() {
  if (!mayChange) { byId("login").showModal(); byId("token").focus(); return; }
  if (await call("logout", {})) listen();
}

// ---- theme, language ----------------------------------------------------------------------------

const THEMES = ["auto", "dark", "light"];

function showTheme() {
  const theme = THEMES.includes(stored("theme")) ? stored("theme") : "auto";
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  say(byId("theme"), t(`theme${theme[0].toUpperCase()}${theme.slice(1)}`));
}

function nextTheme() {
  const theme = THEMES.includes(stored("theme")) ? stored("theme") : "auto";
  store("theme", THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
  showTheme();
}

function speak(name) {
  language = name;
  store("language", name);
  showAll();
}

// ---- the feed -----------------------------------------------------------------------------------

let feed = null;
let state = "connecting";
let again = 0;

function showState() {
  const element = byId("live");
  attr(element, "data-state", { live: "on", connecting: "" }[state] ?? "off");
  say(element, t(state));
}

function setState(name) {
  state = name;
  showState();
}

function listen() {
  clearTimeout(again);
  feed?.close();
  feed = new EventSource("events");
  feed.addEventListener("hello", (event) => {
    const hello = JSON.parse(event.data);
    for (const name of Object.keys(seen)) delete seen[name];
    mayChange = hello.may_change;
    setState("live");
    showAll();
  });
  feed.addEventListener("change", (event) => {
    const sections = JSON.parse(event.data);
    const isUrgent = Object.keys(sections).some((name) => isNews(name, sections[name]));
    if ("rates" in sections) remember(); // up to now it was as told before
    Object.assign(seen, sections);
    for (const name of Object.keys(sections)) unpainted.add(name);
    const wait = isUrgent ? 0 : paintedAt + PAINT_MS - performance.now();
    if (wait > 0) paintIn(wait);
    else paint();
  });
  feed.onerror = () => {
    // The browser's own retries end at the first answer that is no feed: ask again ourselves.
    feed.close();
    setState("lost");
    again = setTimeout(listen, 3000);
  };
}

// ---- when it is drawn ---------------------------------------------------------------------------

// Each drawing costs a layout and a frame, however little has changed: every other second is enough
// for numbers. What begins or ends is drawn at once; a tab that nobody sees is not drawn.
const unpainted = new Set();
let paintedAt = -Infinity;
let painting = 0;

function isNews(name, section) {
  if (!(name in seen) || name === "jobs" || name === "alerts") return true;
  return name === "transfers" && String(section.rows.map(transferKey)) !== String(seen.transfers.rows.map(transferKey));
}

function paintIn(milliseconds) {
  clearTimeout(painting);
  painting = setTimeout(paint, milliseconds);
}

function paint() {
  if (remember()) unpainted.add("rates");
  if (!document.hidden && unpainted.size) {
    paintedAt = performance.now();
    showSome([...unpainted]);
    unpainted.clear();
  }
  // Rates that do not change are not told again; their lines go on all the same.
  paintIn(PAINT_MS + 600);
}

document.addEventListener("visibilitychange", paint);
new ResizeObserver(() => { mapWidth = 0; if (seen.links) showMap(); }).observe(byId("main"));
byId("lang-en").addEventListener("click", () => speak("en"));
byId("lang-zh").addEventListener("click", () => speak("zh"));
byId("theme").addEventListener("click", nextTheme);
byId("login-open").addEventListener("click", logInOrOut);
byId("login-cancel").addEventListener("click", () => byId("login").close());
byId("login-form").addEventListener("submit", logIn);
byId("filter").addEventListener("input", () => { if (seen.shared) showShared(); });
byId("pin-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (await pin(byId("pin-target").value.trim())) byId("pin-target").value = "";
});
showAll();
listen();
