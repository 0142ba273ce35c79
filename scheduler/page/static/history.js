// What became of schedules: filtered, read on page by page, and as it comes.

import { decoder, get } from "./api.js";
import { h, put } from "./dom.js";
import { count, distance, duration, fromLocal, instant, localOf, visible } from "./format.js";
import { button, chip, clamp, empty, facts, field, heading, headerTable, known, mono, note, opener, payload, scheduleLink, table } from "./parts.js";
import { amend } from "./route.js";

const OUTCOMES = ["fired", "misfired", "cancelled", "rejected", "undeliverable"];
const PAGE = 100;
const MOST = 1000;

export default async function history(root, page) {
  const query = page.query;
  const search = h("input", { type: "search", name: "search", placeholder: "Search by schedule id  ( / )", "aria-label": "Search by schedule id", value: query.get("contains") ?? "", autocomplete: "off", spellcheck: "false" });
  const target = h("input", { name: "target", placeholder: "Target topic", "aria-label": "Target topic", value: query.get("target") ?? "", autocomplete: "off", spellcheck: "false" });
  const chosen = new Set(query.getAll("outcome"));
  const chips = h("div", { class: "tabs", role: "group", "aria-label": "Outcomes" }, OUTCOMES.map((name) =>
    h("button", { type: "button", "aria-pressed": String(chosen.has(name)), onclick: (event) => toggle(event.currentTarget, name) }, name)));
  const live = h("button", { type: "button", class: "live", "aria-pressed": "true", onclick: () => setLive(live.getAttribute("aria-pressed") !== "true") }, h("span", { class: "dot" }), "Live");
  const moment = (name) => h("input", { type: "datetime-local", step: 1, name, value: localOf(query.get(name)) });
  const [since, until] = [moment("since"), moment("until")];
  const times = h("details", { open: Boolean(since.value || until.value) }, h("summary", null, "From when to when"),
    h("div", { class: "row" }, field("Ended from", since), field("Ended before", until)));
  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }, h("div", { class: "row" }, search, target), chips, times);
  const list = h("div");
  const status = h("div");
  put(root, heading("History", live), form, status, list);

  let found = [];
  let newest = 0;
  let cursor = null;
  let turn = 0;

  const setLive = (on) => live.setAttribute("aria-pressed", String(on));
  const wanted = () => ({ contains: search.value, target: target.value.trim(), outcome: [...chosen], since: fromLocal(since.value), until: fromLocal(until.value) });

  function toggle(pressed, name) {
    if (!chosen.delete(name)) chosen.add(name);
    pressed.setAttribute("aria-pressed", String(chosen.has(name)));
    again();
  }

  function draw(extent, fresh = new Set()) {
    put(status, known(extent, "record"));
    put(list,
      found.length ? events(found, { fresh }) : empty("Nothing fits.", extent.reading ? "It is still being read." : "A schedule is here once it has fired, or ended otherwise."),
      cursor ? h("p", { class: "more" }, button("Older", older)) : null);
  }

  async function again() {
    const mine = ++turn;
    amend("history", wanted());
    const part = await get("/history", { ...wanted(), limit: PAGE }, page.signal);
    if (mine !== turn) return;
    [found, cursor, newest] = [part.events, part.next_cursor, part.newest];
    draw(part.known);
  }

  async function older() {
    const mine = turn;
    const part = await get("/history", { ...wanted(), limit: PAGE, cursor }, page.signal);
    if (mine !== turn) return;
    [found, cursor] = [[...found, ...part.events], part.next_cursor];
    setLive(false);
    draw(part.known);
  }

  async function tail() {
    if (live.getAttribute("aria-pressed") !== "true" || list.querySelector("details[open], [data-open]")) return;
    const mine = turn;
    const part = await get("/history", { ...wanted(), limit: PAGE, after: newest }, page.signal);
    if (mine !== turn) return;
    newest = part.newest;
    const there = new Set(found.map((each) => each.place));
    const come = part.events.filter((each) => !there.has(each.place));
    if (part.next_cursor) return again();
    if (!come.length) return put(status, known(part.known, "record"));
    found = [...come, ...found].sort((one, other) => (one.time < other.time ? 1 : -1)).slice(0, MOST);
    draw(part.known, new Set(come.map((each) => each.place)));
  }

  let timer;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => again().catch((error) => page.signal.aborted || put(list, note(error.message, "error"))), 250);
  });
  await again();
  page.every(2000, tail);
}

export function events(list, { id = true, fresh = new Set() } = {}) {
  const shown = table("History", [
    ["When", (each) => opener(instant(each.time), () => whole(each), { first: !id })],
    ["Outcome", (each) => chip(each.outcome)],
    ...(id ? [["Schedule", (each) => scheduleLink(each.id), "wrap"]] : []),
    ["Target", (each) => (each.target_topic ? mono(each.target_topic) : ""), "clip"],
    ["Late", (each) => (each.lateness_ms === null ? "" : h("span", { class: each.lateness_ms > 1000 && each.outcome === "fired" ? "warn-text" : "" }, duration(each.lateness_ms))), "number"],
    ["Why", (each) => [each.reason && mono(each.reason), each.reason && " ", each.detail && clamp(each.detail)], "wrap"],
  ], list);
  list.forEach((each, number) => fresh.has(each.place) && shown.querySelectorAll("tbody tr")[number].classList.add("fresh"));
  return shown;
}

async function whole(event) {
  const all = await get(`/history/${event.place}`);
  const decode = decoder({ place: event.place });
  return [
    facts([
      ["Due", all.due && [instant(all.due), " ", h("span", { class: "faint" }, distance(all.due))]],
      ["Fire id", all.fire_id && mono(all.fire_id)],
      ["Record", mono(all.place)],
      ["Why", [all.reason && mono(all.reason), all.reason && " ", all.detail && visible(all.detail)].filter(Boolean)],
    ]),
    h("h3", null, "Payload"), all.payload === null ? h("p", { class: "faint" }, "None.") : payload(all.payload, all.payload_encoding, { cut: all.payload_is_cut, decode }),
    h("h3", null, `Headers (${count(all.headers.length)})`), headerTable(all.headers),
  ];
}
