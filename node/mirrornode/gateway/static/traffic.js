// Alerts, transfers under way and the peers.

import { clock, countText, duration, linkName, millis, percent, rateText, short, sizeText, t, targetName } from "./words.js";
import { attr, bar, build, button, byId, empty, keyed, part, say } from "./drawing.js";
import { mayChange, rowsOf, seen } from "./seen.js";
import { call } from "./acting.js";

export function showAlerts() {
  const alerts = rowsOf("alerts");
  byId("alerts").hidden = !alerts.length;
  keyed(byId("alert-list"), alerts, (one) => `${one.rule} ${one.key}`, () => build("li", "", ["span", "", "text"], ["span", "since", "since"]), (element, one) => {
    attr(element, "data-severity", String(one.severity ?? "warning"));
    say(part(element, "text"), String(one.text ?? one.rule ?? ""));
    say(part(element, "since"), Number.isFinite(one.since) ? t("since", clock(one.since)) : "");
  });
}

export function showTransfers() {
  const rows = rowsOf("transfers");
  say(byId("transfers-count"), rows.length ? t("running", countText(seen.transfers.total)) : "");
  keyed(byId("transfers"), rows, transferKey, makeTransfer, updateTransfer);
  empty("transfers-empty", seen.transfers && !rows.length, [["text", t("emptyTransfers")], ["code", "mirrornode get hf:org/name"]]);
}

export function transferKey(one) {
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

export function showPeers() {
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
