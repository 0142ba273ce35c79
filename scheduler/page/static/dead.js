// What was given up: looked at, run again, or put away.

import { ask, get } from "./api.js";
import { confirm, toast } from "./dialogs.js";
import { h, put } from "./dom.js";
import { count, distance, instant, plural, visible } from "./format.js";
import { button, chip, clamp, empty, facts, heading, headerTable, known, mono, note, opener, payload, table } from "./parts.js";
import { amend } from "./route.js";

const PAGE = 100;
const AGAIN = {
  job: "runs with all its attempts anew, under the same run id",
  message: "goes back to the topic that it came from",
  schedule: "is scheduled again, due now",
};

export default async function dead(root, page) {
  const given = (name) => page.query.get(name) ?? "";
  const search = h("input", { type: "search", name: "name", placeholder: "Job or key  ( / )", "aria-label": "Job or key, exactly", value: given("name"), autocomplete: "off", spellcheck: "false" });
  const cluster = h("input", { name: "cluster", placeholder: "Cluster or target", "aria-label": "Cluster or target topic", value: given("cluster"), autocomplete: "off", spellcheck: "false" });
  const settled = h("select", { name: "settled", "aria-label": "Which" }, [["", "open"], ["true", "dealt with"]].map(([value, text]) => h("option", { value, selected: value === given("settled") }, text)));
  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }, h("div", { class: "row" }, search, cluster, settled));
  const deeds = h("div", { class: "actions sticky" });
  const list = h("div");
  put(root, heading("Dead letters"), form, deeds, list);
  const chosen = new Set();
  let found = [];
  let cursor = null;
  let turn = 0;

  const wanted = () => ({ name: search.value.trim(), cluster: cluster.value.trim(), settled: settled.value });

  function draw(extent) {
    const all = h("input", { type: "checkbox", "aria-label": "Choose all of these", onchange: () => {
      found.forEach((each) => (all.checked ? chosen.add(each.id) : chosen.delete(each.id)));
      draw(extent);
    } });
    all.checked = found.length > 0 && found.every((each) => chosen.has(each.id));
    const open = !settled.value;
    const box = (each) => {
      const one = h("input", { type: "checkbox", "aria-label": `Choose ${each.id}`, onchange: () => {
        if (one.checked) chosen.add(each.id);
        else chosen.delete(each.id);
        all.checked = found.every((other) => chosen.has(other.id));
        offer();
      } });
      one.checked = chosen.has(each.id);
      return one;
    };
    put(list,
      found.length ? table("Dead letters", [
        ...(open ? [["", box, "box"]] : []),
        ["Letter", (each) => opener(mono(each.id), () => whole(each))],
        ["Given up", (each) => distance(each.time)],
        ["Kind", (each) => chip(each.kind, "kind")],
        ["Name", (each) => (each.name ? clamp(each.name) : ""), "wrap"],
        ["Cluster or target", (each) => (each.cluster ? mono(each.cluster) : ""), "clip"],
        ["Attempts", (each) => each.attempts ?? "", "number"],
        ["Why", (each) => (each.reason ? clamp(each.reason) : ""), "wrap"],
        ...(open ? [] : [["Dealt with", (each) => [chip(each.settled, "cancelled"), " ", distance(each.settled_at)]]]),
      ], found) : empty(open ? "No dead letter waits." : "None was dealt with.", open ? "What cannot be delivered or run ends here." : ""),
      cursor ? h("p", { class: "more" }, button("Older", older)) : null,
      known(extent, "letter"));
    const corner = list.querySelector("thead th");
    if (open && corner) put(corner, all);
    offer();
  }

  function offer() {
    const ids = [...chosen];
    put(deeds, ids.length
      ? [h("span", null, `${count(ids.length)} chosen`), button("Redrive", () => settle(ids, "redrive"), "primary"), button("Discard", () => settle(ids, "discard"), "danger"),
        button("Choose none", () => { chosen.clear(); load(); })]
      : null);
    deeds.hidden = !ids.length;
  }

  async function settle(ids, how) {
    const letters = plural(ids.length, "letter");
    const again = how === "redrive";
    const kinds = [...new Set(found.filter((each) => ids.includes(each.id)).map((each) => each.kind))];
    const text = again ? kinds.map((kind) => `A ${kind} ${AGAIN[kind]}.`).join(" ") : "They stay on the topic and are listed no more. Nothing runs.";
    await confirm(again ? `Redrive ${letters}?` : `Discard ${letters}?`, text, again ? "Redrive" : "Discard", async () => {
      await ask("POST", `/dead-letters/${how}`, { body: { ids } });
      toast(`${letters} ${again ? "redriven" : "discarded"}.`);
      ids.forEach((id) => chosen.delete(id));
      found = found.filter((each) => !ids.includes(each.id));
      await load(ids);
      return true;
    }, again ? "primary" : "danger");
  }

  // the marker that a letter was dealt with may be read a moment later
  async function load(gone = []) {
    const mine = ++turn;
    amend("dead", wanted());
    const part = await get("/dead-letters", { ...wanted(), limit: PAGE }, page.signal);
    if (mine !== turn) return;
    found = settled.value ? part.letters : part.letters.filter((each) => !gone.includes(each.id));
    cursor = part.next_cursor;
    draw(part.known);
  }

  async function older() {
    const part = await get("/dead-letters", { ...wanted(), limit: PAGE, cursor }, page.signal);
    found = [...found, ...part.letters];
    cursor = part.next_cursor;
    draw(part.known);
  }

  let timer;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      chosen.clear();
      load().catch((error) => page.signal.aborted || put(list, note(error.message, "error")));
    }, 250);
  });
  await load();
  page.every(5000, () => (list.querySelector("[data-open]") || chosen.size || document.querySelector("dialog[open]") ? null : load()));
}

async function whole(letter) {
  const all = await get(`/dead-letters/${letter.id}`);
  return [
    facts([
      ["Run", all.run_id && mono(all.run_id)],
      ["Why", all.reason && visible(all.reason)],
      ["Came from", all.source && mono(all.source)],
      ["First failure", all.first_failure && instant(all.first_failure)],
      ["Last failure", all.last_failure && instant(all.last_failure)],
    ]),
    all.errors.length ? [h("h3", null, "Attempts"), table("Attempts", [
      ["Attempt", (each) => each.attempt, "number"],
      ["Started", (each) => instant(each.started)],
      ["Ended", (each) => instant(each.ended)],
      ["Error", (each) => (each.error ? visible(each.error) : ""), "wrap"],
    ], all.errors)] : null,
    all.output_tail ? [h("h3", null, "The end of the last output"), h("pre", { class: "payload", tabindex: "0" }, visible(all.output_tail, { lines: true }))] : null,
    h("h3", null, "Value"), all.can_redrive ? payload(all.value, "text", { cut: all.value_is_cut }) : note("It was too large to be kept, so it cannot be redriven.", "warn"),
    h("h3", null, "Headers"), headerTable(Object.entries(all.headers).map(([name, value]) => ({ name, value }))),
  ];
}
