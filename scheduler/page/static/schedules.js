// What is in force, by due time or in another order: searched, and read on page by page.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { bytes, count, fromLocal, instant, localOf } from "./format.js";
import { button, due, empty, field, heading, mono, note, scheduleLink, table, unanswered } from "./parts.js";
import { amend, link } from "./route.js";

const PAGE = 100;
const MOST = 1000; // are put in an order of their own; the API gives them by due time
const NAMES = ["search", "how", "target", "target_key", "due_from", "due_to", "paused", "order"];
const ORDERS = { due: "due: next first", "-due": "due: last first", id: "id: A to Z", "-id": "id: Z to A", "-written": "written: newest first", written: "written: oldest first" };

export default async function schedules(root, page) {
  const given = Object.fromEntries(NAMES.map((name) => [name, page.query.get(name) ?? ""]));
  const list = h("div");
  const form = filters({ ...given, order: given.order in ORDERS ? given.order : "due" });
  put(root, heading("Schedules", h("a", { class: "button primary", href: "#/create" }, "New schedule")), form, list);

  let turn = 0;
  let first = []; // the first page, as it was read last
  let partial = false; // whether a partition has not answered

  function wanted() {
    const said = Object.fromEntries(new FormData(form));
    for (const name of ["due_from", "due_to"]) said[name] = fromLocal(said[name]);
    return said;
  }

  async function draw() {
    const mine = ++turn;
    const { search, how, order, ...rest } = wanted();
    amend("schedules", { ...rest, search, how: search && how !== "contains" ? how : "", order: order === "due" ? "" : order });
    const all = order !== "due";
    const query = { ...rest, [how]: search, limit: all ? MOST : PAGE };
    let found = [];
    const more = async (cursor) => {
      const part = await get("/schedules", { ...query, cursor }, page.signal);
      if (mine !== turn) return;
      found = [...found, ...part.schedules];
      first = cursor ? [] : part.schedules;
      partial = part.unanswered.length > 0;
      const next = part.next_cursor;
      if (all && next && found.length < MOST) return more(next);
      // a page may be empty and have a next one: a search looks for three seconds at a time
      put(list, unanswered(part.unanswered),
        all && next ? note(`These are the ${count(found.length)} that are due first, in the order asked for; there are more. A filter brings fewer.`, "warn") : null,
        shown(sorted(found, order), Boolean(search || Object.values(rest).some(Boolean)), order),
        next && !all ? h("p", { class: "more" }, button(found.length ? "More" : "Search on", () => more(next))) : null);
    };
    await more();
  }

  const later = debounce(() => draw().catch((error) => page.signal.aborted || put(list, h("p", { class: "note note-error", role: "alert" }, error.message))));
  form.addEventListener("input", later);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    list.querySelector("a.id")?.focus();
  });
  form.addEventListener("reset", () => setTimeout(later));
  await draw();
  // what has come meanwhile has fired, or is due again; not under the reader's hands, nor where more was read on.
  // One that fires at that moment is in no list, and partitions that did not answer may do so now.
  const stale = () => partial || !list.querySelector("tbody") || first.some((each) => !each.paused && Date.parse(each.due) < Date.now());
  page.every(5000, () => (stale() && !list.contains(document.activeElement) && getSelection().isCollapsed ? draw() : null));
}

function debounce(act) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, 250);
  };
}

// The API's own order holds over all pages; the others are made here.
function sorted(found, order) {
  const by = order.replace("-", "");
  if (order === "due") return found;
  const way = order.startsWith("-") ? -1 : 1;
  const value = by === "id" ? (each) => each.id : (each) => Date.parse(each[by]);
  return [...found].sort((one, other) => way * ((value(one) > value(other)) - (value(one) < value(other))));
}

function filters(given) {
  const choice = (name, chosen, options) =>
    h("select", { name }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  const more = ["target_key", "due_from", "due_to", "paused"].some((name) => given[name]);
  return h("form", { class: "filters", role: "search" },
    h("div", { class: "row" },
      h("input", { type: "search", name: "search", placeholder: "Search by id  ( / )", "aria-label": "Search by id", value: given.search, autocomplete: "off", spellcheck: "false" }),
      h("label", { class: "hidden", for: "how" }, "How to search"),
      Object.assign(choice("how", given.how, [["contains", "contains"], ["prefix", "begins with"], ["id", "is exactly"]]), { id: "how" }),
      h("input", { name: "target", placeholder: "Target topic", "aria-label": "Target topic", value: given.target, autocomplete: "off", spellcheck: "false" }),
      Object.assign(choice("order", given.order, Object.entries(ORDERS)), { ariaLabel: "Order" })),
    h("details", { open: more }, h("summary", null, "More filters"),
      h("div", { class: "row" },
        field("Target key", h("input", { name: "target_key", value: given.target_key, autocomplete: "off", spellcheck: "false" })),
        field("Due from", h("input", { type: "datetime-local", step: 1, name: "due_from", value: localOf(given.due_from) })),
        field("Due before", h("input", { type: "datetime-local", step: 1, name: "due_to", value: localOf(given.due_to) })),
        field("Paused", choice("paused", given.paused, [["", "all"], ["true", "only paused"], ["false", "not paused"]])))));
}

function shown(found, filtered, order) {
  if (!found.length) {
    return filtered
      ? empty("No schedule in force fits.", "One that has fired or was cancelled is in the ", h("a", { href: link("history") }, "history"), ".")
      : empty("Nothing is in force.", h("a", { href: "#/create" }, "Write the first schedule"), ", or sync a crontab with ", mono("planner sync"), ".");
  }
  return table("Schedules in force", [
    ["Schedule", (each) => scheduleLink(each.id, each), "wrap"],
    ["Due", due],
    ["Repeats", (each) => (each.cron ? h("span", { class: "mono", title: each.timezone }, each.cron) : h("span", { class: "faint once" }, "once"))],
    ...(order.endsWith("written") ? [["Written", (each) => instant(each.written)]] : []),
    ["Target", (each) => mono(each.target_topic), "clip"],
    ["Key", (each) => (each.target_key === null ? "" : mono(each.target_key)), "clip"],
    ["Payload", (each) => bytes(each.payload_bytes), "number"],
  ], found, { foot: h("p", { class: "faint count" }, `${count(found.length)} shown`) });
}
