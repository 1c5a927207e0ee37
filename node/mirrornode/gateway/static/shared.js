// What is shared and pinned, and who else has it.

import { countText, language, percent, short, sizeText, t } from "./words.js";
import { attr, bar, build, button, byId, chip, empty, keyed, make, part, replace, say } from "./drawing.js";
import { mayChange, rowsOf, seen } from "./seen.js";
import { pin, unpin } from "./acting.js";

export function showShared() {
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

export function showJobs() {
  const jobs = (seen.jobs ?? []).filter((job) => job.state !== "done").slice(0, 6);
  keyed(byId("jobs"), jobs, (job) => job.id, () => make("li"), (element, job) => {
    attr(element, "class", job.state === "failed" ? "error" : "soft");
    say(element, t(job.state === "failed" ? "jobFailed" : "jobRunning", job.verb, job.target, job.message));
  });
}
