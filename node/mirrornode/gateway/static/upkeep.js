// Mirrors and origins, the disk, what was downloaded, what is kept in step.

import { clock, countText, millis, rateText, sizeText, t, targetName } from "./words.js";
import { attr, bar, build, byId, chip, draw, empty, keyed, make, part, replace, say } from "./drawing.js";
import { rowsOf, seen } from "./seen.js";

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

export function showMirrors() {
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

export function showDisk() {
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

export function showHistory() {
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

export function showSyncs() {
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
