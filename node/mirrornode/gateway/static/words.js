// The words of the page in its languages, and numbers, times and names as people read them.

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

export let language = stored("language") || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!(language in WORDS)) language = "en";

export function setLanguage(name) {
  language = name;
  store("language", name);
}

export function t(key, ...values) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return values.length ? text.replace(/\{(\d)\}/g, (_, index) => values[Number(index)] ?? "") : text;
}

export function stored(name) {
  try { return localStorage.getItem(`mirrornode.${name}`); } catch { return null; }
}

export function store(name, value) {
  try { localStorage.setItem(`mirrornode.${name}`, value); } catch { /* a private window: for now only */ }
}

// ---- numbers ------------------------------------------------------------------------------------

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"]; // decimal, as the command line has them

export function scaled(bytes) {
  let value = Math.max(0, Number(bytes) || 0);
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  const digits = unit === 0 ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return [value.toFixed(digits), UNITS[unit]];
}

export const sizeText = (bytes) => (bytes === null || bytes === undefined ? "–" : scaled(bytes).join("\u00a0"));
export const rateText = (rate) => (rate === null || rate === undefined ? "–" : `${sizeText(rate)}/s`);
export const millis = (seconds) => (seconds === null || seconds === undefined ? "–" : seconds < 0.0001 ? "<\u00a00.1\u00a0ms" : `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)}\u00a0ms`);
export const countText = (count) => Number(count).toLocaleString(language);

export function percent(part, whole) {
  if (!(whole > 0)) return "–";
  if (part >= whole) return "100%";
  return `${Math.min(99.9, Math.floor((1000 * part) / whole) / 10).toFixed(part / whole < 0.1 ? 1 : 0)}%`;
}

export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0 || seconds > 360000) return "–";
  const whole = Math.round(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

export function clock(unixSeconds) {
  const moment = new Date(unixSeconds * 1000);
  const isToday = moment.toDateString() === new Date().toDateString();
  const parts = { hour: "2-digit", minute: "2-digit", ...(isToday ? {} : { month: "short", day: "numeric" }) };
  return moment.toLocaleString(language === "zh" ? "zh-CN" : "en", parts);
}

export function short(id) {
  return id.length > 20 ? `${id.slice(0, 6)}…${id.slice(-8)}` : id;
}

export function linkName(link) {
  return link.kind === "peer" || link.kind === "bitswap" ? short(link.name) : link.name.replace(/^https?:\/\//, "").replace(/\/$/, "");
}

export function targetName(one) {
  if (!one.target) return one.is_hidden ? t("unnamed") : t("anon");
  return one.target.startsWith("hf:") ? one.target : short(one.target);
}
