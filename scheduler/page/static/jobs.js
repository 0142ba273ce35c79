// Jobs and their last runs, as the workers recorded them.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { distance, duration, instant, plural, visible } from "./format.js";
import { button, chip, clamp, empty, facts, heading, known, mono, opener, scheduleLink, table } from "./parts.js";
import { link } from "./route.js";

const PAGE = 50;
// the run's id is the fire id of its first attempt: `<schedule id>@<due ms>`
const scheduleOf = (run) => run.run_id.replace(/@[0-9]+$/, "");
const took = (run) => (run.started && run.ended ? duration(Date.parse(run.ended) - Date.parse(run.started)) : "");

export default async function jobs(root, page) {
  const id = page.query.get("id");
  await (id === null ? all(root, page) : one(root, page, id));
}

async function all(root, page) {
  const search = h("input", { type: "search", placeholder: "Filter by name or cluster  ( / )", "aria-label": "Filter by name or cluster" });
  const body = h("div");
  put(root, heading("Jobs"), h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() }, h("div", { class: "row" }, search)), body);
  let last = null;

  function draw() {
    const text = search.value.toLowerCase();
    const rows = last.jobs.filter((each) => `${each.job} ${each.cluster}`.toLowerCase().includes(text));
    put(body,
      rows.length ? table("Jobs", [
        ["Job", (each) => h("a", { class: "id strong clamp", title: each.job, href: link("jobs", { id: each.id }) }, visible(each.job)), "wrap"],
        ["Cluster", (each) => mono(each.cluster)],
        ["Last run", (each) => distance(each.recent[0].ended ?? each.recent[0].time)],
        ["Ended", (each) => chip(each.recent[0].outcome)],
        ["Took", (each) => took(each.recent[0]), "number"],
        ["Last attempts", (each) => dots(each.recent)],
        ["Schedule", (each) => scheduleLink(scheduleOf(each.recent[0])), "clip"],
      ], rows) : text ? empty("No job fits.") : last.known.reading ? null : empty("No job has run yet.", "Workers record each attempt on ", mono(last.known.topic), "."),
      known(last.known, "attempt"));
  }

  search.addEventListener("input", draw);
  const load = async () => {
    last = await get("/jobs", {}, page.signal);
    draw();
  };
  await load();
  page.every(5000, load);
}

// The last attempts, the newest at the right.
function dots(recent) {
  const failed = recent.filter((each) => each.outcome !== "succeeded").length;
  return h("span", { class: "dots", role: "img", "aria-label": `${failed} of the last ${recent.length} did not succeed` },
    [...recent].reverse().map((each) => h("i", { class: `run-${each.outcome}`, title: `${each.outcome}, ${each.time}` })));
}

async function one(root, page, id) {
  const list = h("div");
  let found = [];
  let cursor = null;
  let newest = 0;

  function draw(extent) {
    const [last] = found;
    put(root,
      h("p", { class: "crumbs" }, h("a", { href: "#/jobs" }, "Jobs")),
      heading(visible(last?.job ?? id), last ? chip(last.outcome) : null),
      last ? facts([["Cluster", mono(last.cluster)], ["Id", mono(id)], ["Schedule", scheduleLink(scheduleOf(last))], ["Worker of the last run", mono(last.worker ?? "")]]) : null,
      list);
    put(list,
      found.length ? table("Attempts", [
        ["Ended", (each) => opener(instant(each.ended ?? each.time), () => whole(each))],
        ["Outcome", (each) => chip(each.outcome)],
        ["Attempt", (each) => `${each.attempt} of ${each.max_attempts}`, "number"],
        ["Took", took, "number"],
        ["Exit", (each) => each.exit ?? ""],
        ["Then", (each) => then(each)],
        ["Error", (each) => (each.error ? clamp(each.error) : ""), "wrap"],
      ], found) : empty("No attempt of it is kept."),
      cursor ? h("p", { class: "more" }, button("Older", older)) : null,
      known(extent, "attempt"));
  }

  async function older() {
    const part = await get("/runs", { id, limit: PAGE, cursor }, page.signal);
    [found, cursor] = [[...found, ...part.runs], part.next_cursor];
    draw(part.known);
  }

  const part = await get("/runs", { id, limit: PAGE }, page.signal);
  [found, cursor, newest] = [part.runs, part.next_cursor, part.newest];
  draw(part.known);
  page.every(3000, async () => {
    if (list.querySelector("[data-open]")) return;
    const more = await get("/runs", { id, limit: PAGE, after: newest }, page.signal);
    newest = more.newest;
    const there = new Set(found.map((each) => each.place));
    const come = more.runs.filter((each) => !there.has(each.place));
    if (come.length) {
      found = [...come, ...found];
      draw(more.known);
    }
  });
}

function then(run) {
  if (run.then === "retry") return ["again ", distance(run.retry_at)];
  return run.then === "dead-letter" ? h("a", { href: link("dead", { name: run.job }) }, "dead letter") : "";
}

async function whole(run) {
  const all = await get(`/runs/${run.place}`);
  return [
    facts([
      ["Run", mono(all.run_id)],
      ["Due", all.due && instant(all.due)],
      ["Started", all.started && instant(all.started)],
      ["Worker", mono(all.worker ?? "")],
      ["Result", mono(all.place)],
      ["Error", all.error && visible(all.error)],
    ]),
    h("h3", null, "Output", all.output_is_cut ? h("span", { class: "faint" }, `, the end of ${plural(all.output_bytes, "byte")}`) : ""),
    all.output ? h("pre", { class: "payload", tabindex: "0", "aria-label": "Output" }, visible(all.output, { lines: true })) : h("p", { class: "faint" }, "It said nothing."),
  ];
}

