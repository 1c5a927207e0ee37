// The map of who feeds whom.

import { countText, language, linkName, rateText, sizeText, t } from "./words.js";
import { attr, byId, draw, empty, keyed, say } from "./drawing.js";
import { rowsOf, seen } from "./seen.js";

const MAP_ROWS = 6;
let mapWidth = 0; // kept: asking for it anew would lay out the page each second

export function showMap() {
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

// Draws the map for another width.
export function redrawMap() {
  mapWidth = 0;
  if (seen.links) showMap();
}
