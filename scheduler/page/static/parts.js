// Pieces that several pages share.

import { h, icon, put } from "./dom.js";
import { distance, hex, instant, plural, rawBytes, visible } from "./format.js";
import { indented } from "./json.js";
import { link } from "./route.js";

export const heading = (text, ...beside) => h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, text), beside);

export const chip = (text, kind = text) => h("span", { class: `chip chip-${kind}` }, text);

export const mono = (text) => h("span", { class: "mono", title: String(text).length > 24 ? text : null }, visible(text));

// Some lines of it; all of it where the pointer rests.
export const clamp = (text) => h("span", { class: "clamp", title: text }, visible(text));

const MARK = "M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16Zm0 4v5m0 3v.01";

export function note(text, kind = "info") {
  return h("p", { class: `note note-${kind}`, role: kind === "error" ? "alert" : undefined }, icon(MARK), h("span", null, text));
}

export const empty = (title, ...more) =>
  h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), more.length ? h("p", null, more) : null);

export function unanswered(list) {
  if (!list?.length) return null;
  const first = list.slice(0, 3).map((each) => `${each.topic}/${each.partition}: ${each.why}`);
  const more = list.length > 3 ? `, and ${list.length - 3} more` : "";
  return note(`Not all partitions have answered, so something is missing here. ${first.join("; ")}${more}.`, "warn");
}

export function known(extent, what) {
  if (extent.why) return note(`${extent.topic} cannot be read: ${extent.why}.`, "warn");
  if (extent.reading) return h("p", { class: "faint" }, `Reading ${extent.topic} …`);
  if (!extent.records) return h("p", { class: "faint" }, `${extent.topic} holds nothing yet.`);
  const reach = extent.whole ? `all that ${extent.topic} holds` : `older ones are on the topic ${extent.topic}`;
  return h("p", { class: "faint" }, `${plural(extent.records, what)} since `, instant(extent.since), `: ${reach}.`);
}

// A cell is one thing or none, so that it can stand beside its title on a phone.
function one(shown) {
  if (!Array.isArray(shown)) return shown;
  const there = shown.filter((each) => each !== null && each !== undefined && each !== false && each !== "");
  return there.length ? h("span", null, there) : null;
}

// columns: [title, cell(row), class]; with the look `pairs`, a row stays one line on a phone.
export function table(caption, columns, rows, { foot, look = "" } = {}) {
  const head = h("tr", null, columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title)));
  const body = rows.map((row) =>
    h("tr", null, columns.map(([title, cell, kind]) => h("td", { class: kind, "data-title": title }, one(cell(row))))),
  );
  return h(
    "div",
    { class: `table ${look}`, role: "region", "aria-label": caption, tabindex: "0" },
    h("table", null, h("caption", { class: "hidden" }, caption), h("thead", null, head), h("tbody", null, body)),
    foot,
  );
}

export const scheduleLink = (id, place = {}) =>
  h("a", { href: link("schedule", { id, topic: place.topic, partition: place.partition }), class: "mono id clamp", title: id }, visible(id));

export function due(schedule) {
  if (schedule.paused) return [chip("paused"), " ", instant(schedule.due)];
  return [distance(schedule.due), h("span", { class: "faint beside" }, instant(schedule.due))];
}

// A payload as text, JSON and hex, whichever of them it can be. `decode` comes to be how the decoder is asked about it, which
// happens when that view is opened; or null.
export function payload(text, encoding, { cut = false, decode = null } = {}) {
  const raw = rawBytes(text, encoding);
  const ways = [];
  const json = encoding === "text" && !cut ? indented(text) : null;
  if (json !== null) ways.push(["JSON", () => json]);
  if (encoding === "text") ways.push(["Text", () => visible(text, { lines: true })]);
  ways.push(["Hex", () => hex(raw)]);
  if (!raw.length) return h("p", { class: "faint" }, "Empty: 0 bytes.");
  const shown = h("div");
  const lines = (content) => h("pre", { class: "payload", tabindex: "0", "aria-label": "Payload" }, content);
  let turn = 0;
  const show = async (chosen) => {
    const mine = ++turn;
    for (const each of tabs.children) each.setAttribute("aria-pressed", String(each.textContent === chosen));
    const content = ways.find(([name]) => name === chosen)[1]();
    if (!(content instanceof Promise)) return put(shown, lines(content));
    put(shown, h("p", { class: "faint payload-wait", role: "status" }, "Asking the decoder …"));
    const drawn = await content.then((said) => said === null ? note("The decoder leaves it as it is.") : lines(said), (error) => note(error.message, "error"));
    if (mine === turn) put(shown, drawn);
  };
  const tab = ([name]) => h("button", { type: "button", "aria-pressed": "false", onclick: () => show(name) }, name);
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": "Payload as" }, ways.map(tab));
  show(ways[0][0]);
  if (!cut) decode?.then((ask) => {
    if (!ask) return;
    ways.push(["Decoded", () => decoded(ask)]);
    tabs.append(tab(ways.at(-1)));
  });
  return h("div", null, tabs, shown, cut ? h("p", { class: "faint" }, "Cut here; the topic has all of it.") : null);
}

async function decoded(ask) {
  const { text } = await ask();
  return text === null ? null : (indented(text) ?? visible(text, { lines: true }));
}

// A button in a row that shows more below the row; `load` fetches it when it is asked for.
export function opener(text, load, { first = true, title = "Show all of it" } = {}) {
  async function toggle(event) {
    const pressed = event.currentTarget;
    const row = pressed.closest("tr");
    const below = row.nextElementSibling;
    pressed.setAttribute("aria-expanded", String(below?.dataset.open === undefined));
    if (below?.dataset.open !== undefined) return below.remove();
    const cell = h("td", { colspan: row.cells.length }, h("p", { class: "faint" }, "Loading …"));
    row.after(h("tr", { "data-open": "" }, cell));
    try {
      put(cell, h("div", { class: "opened" }, await load()));
    } catch (error) {
      put(cell, note(error.message, "error"));
    }
  }
  return h("button", { type: "button", class: `row-open ${first ? "id" : ""}`, "aria-expanded": "false", title, onclick: toggle }, text);
}

export function facts(pairs) {
  const there = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value.length !== 0);
  return h("dl", { class: "facts" }, there.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

export function headerTable(headers) {
  if (!headers.length) return h("p", { class: "faint" }, "None.");
  return table("Headers", [
    ["Name", (each) => mono(each.name), headers.every((each) => each.name.length <= 24) ? "" : "name"],
    ["Value", (each) => (each.value === null ? h("em", { class: "faint" }, "no value") : mono(each.value)), "wrap"],
    ...(headers.some((each) => each.encoding === "base64") ? [["Written as", (each) => each.encoding]] : []),
  ], headers);
}

export const section = (title, ...children) =>
  h("section", { class: "card" }, h("h2", null, title), children);

export const button = (text, onclick, kind = "") => h("button", { type: "button", class: kind, onclick }, text);

export function field(label, input, hint) {
  return h("label", { class: "field" }, h("span", null, label), input, hint ? h("small", null, hint) : null);
}
