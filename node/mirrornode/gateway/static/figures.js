// The figures at the top, with the lines of the last minute.

import { countText, percent, scaled, short, sizeText, t } from "./words.js";
import { attr, build, byId, draw, keyed, make, part, say } from "./drawing.js";
import { rowsOf, seen } from "./seen.js";

const LINE_POINTS = 60; // of a line, one a second
const ago = { in: [], out: [] }; // rates of the last minute
export function showIdentity() {
  const node = seen.node;
  if (!node) return;
  say(byId("identity"), t("nodeLine", short(node.peer_id ?? ""), node.version ?? "") + (node.hub_endpoint ? ` · HF_ENDPOINT=${node.hub_endpoint}` : ""));
  document.title = `mirrornode ${short(node.peer_id ?? "")}`;
}

export function showFigures() {
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
export function remember() {
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
