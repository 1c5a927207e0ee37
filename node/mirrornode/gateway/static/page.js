// The page of a node: takes its live feed and draws it, not more often than anybody can see.

import { language, setLanguage, store, stored, t } from "./words.js";
import { attr, byId, say } from "./drawing.js";
import { allowChange, mayChange, seen } from "./seen.js";
import { call, pin } from "./acting.js";
import { remember, showFigures, showIdentity } from "./figures.js";
import { showAlerts, showPeers, showTransfers, transferKey } from "./traffic.js";
import { redrawMap, showMap } from "./map.js";
import { showJobs, showShared } from "./shared.js";
import { showDisk, showHistory, showMirrors, showSyncs } from "./upkeep.js";

const PAINT_MS = 1900; // between two drawings of numbers; the feed tells them once a second

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

// ---- logging in ---------------------------------------------------------------------------------

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
  setLanguage(name);
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
    allowChange(hello.may_change);
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
new ResizeObserver(redrawMap).observe(byId("main"));
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
