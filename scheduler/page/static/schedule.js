// One schedule: what it is, when it comes, what became of it, and what can be done with it.

import { ask, decoder, get, schedulePath } from "./api.js";
import { confirm, dialog, toast } from "./dialogs.js";
import { h, put } from "./dom.js";
import { bytes, distance, instant, visible } from "./format.js";
import { events } from "./history.js";
import { button, chip, empty, facts, field, headerTable, heading, known, mono, note, payload, section, table } from "./parts.js";
import { link } from "./route.js";

export default async function schedule(root, page) {
  const id = page.query.get("id") ?? "";
  const place = { topic: page.query.get("topic"), partition: page.query.get("partition") };
  if (!id) throw new Error("Which schedule? The address has no id.");
  const past = get("/history", { id, limit: 50 }, page.signal);
  past.catch(() => {}); // told where it is shown
  let found = null;
  let missing = null;
  try {
    found = await get(schedulePath(id), place, page.signal);
  } catch (error) {
    if (error.status === 409) return several(root, id, error);
    if (error.status !== 404) throw error;
    missing = error.message;
  }
  const state = found === null ? chip("not in force", "cancelled") : found.paused ? chip("paused") : found.cron ? chip("recurring") : chip("pending");
  put(root,
    h("p", { class: "crumbs" }, h("a", { href: "#/schedules" }, "Schedules")),
    heading(h("span", { class: "mono title" }, visible(id)), state),
    found ? [deeds(found, page), about(found, page)] : [note(missing, "warn"), h("p", null, h("a", { href: link("create", { id }), class: "button" }, "Write a schedule with this id"))],
    await ends(past),
    versions(id, found ?? place, page));
}

function several(root, id, error) {
  put(root, heading(h("span", { class: "mono title" }, visible(id))), note(error.message, "warn"),
    section("Where it stands", h("ul", null, error.document.places.map((each) =>
      h("li", null, h("a", { href: link("schedule", { id, ...each }) }, `${each.topic}, partition ${each.partition}`))))));
}

// -- what can be done ----------------------------------------------------------------------------

function deeds(found, page) {
  const at = { topic: found.topic, partition: found.partition };
  const path = schedulePath(found.id);
  const act = (method, verb, said) => async () => {
    const answer = await ask(method, path + verb, { query: at });
    toast(typeof said === "function" ? said(answer) : said);
    await page.reload();
    return true;
  };
  const name = mono(found.id);
  const fire = act("POST", "/fire", (answer) => (answer.next_due ? "Fired. It goes on as before." : "Fired. It is over."));
  const plainly = (run) => run().catch((error) => toast(error.message, "error"));
  return h("div", { class: "actions" },
    button("Fire now", () => confirm("Fire it now?", [name, " goes to ", mono(found.target_topic), " at once; ", found.cron ? "it goes on as before." : "then it is over."], "Fire now", fire), "primary"),
    found.paused
      ? button("Resume", () => plainly(act("POST", "/resume", "It goes on.")))
      : button("Pause", () => plainly(act("POST", "/pause", "It is paused."))),
    button("Reschedule", () => reschedule(found, at, page)),
    h("a", { class: "button", href: link("create", { like: found.id, ...at }) }, "Change"),
    button("Cancel it", () => confirm("Cancel it?", [name, " will not fire. The history keeps a record of it."], "Cancel it", act("DELETE", "", "It is cancelled."), "danger"), "danger"));
}

async function reschedule(found, at, page) {
  const delay = h("input", { name: "delay", placeholder: "15m", autocomplete: "off" });
  const when = h("input", { type: "datetime-local", step: "1", name: "at" });
  const cron = h("input", { name: "cron", value: found.cron ?? "", placeholder: "30 2 * * mon-fri", autocomplete: "off" });
  const zone = h("input", { name: "timezone", value: found.timezone ?? "", placeholder: "UTC", autocomplete: "off" });
  const take = async () => {
    const body = {};
    if (delay.value.trim()) body.delay = delay.value.trim();
    if (when.value) body.at = new Date(when.value).toISOString();
    if (cron.value.trim() !== (found.cron ?? "") || zone.value.trim() !== (found.timezone ?? "")) {
      if (!cron.value.trim()) throw new Error("A rule can be changed here, not taken away: use Change for that.");
      body.cron = cron.value.trim();
      if (zone.value.trim()) body.timezone = zone.value.trim();
    }
    await ask("PATCH", schedulePath(found.id), { query: at, body });
    return true;
  };
  const done = await dialog("Reschedule", [
    h("div", { class: "row" }, field("In", delay, "90s, 15m, 2h, 1d"), field("Or at", when, "your time zone")),
    h("div", { class: "row" }, field("Rule", cron, found.cron ? "another rule" : "makes it recurring"), field("Zone of the rule", zone)),
  ], { act: "Reschedule", take });
  if (done) {
    toast("It has another time.");
    await page.reload();
  }
}

// -- what it is ----------------------------------------------------------------------------------

function about(found, page) {
  const decode = decoder({ id: found.id, topic: found.topic, partition: found.partition }, page.signal);
  const next = found.next.map((due) => h("li", null, instant(due), h("span", { class: "faint beside" }, distance(due))));
  return h("div", { class: "columns wide-left" },
    h("div", { class: "stack" },
      section("Payload", payload(found.payload, found.payload_encoding, { decode })),
      section("Headers", headerTable(found.headers))),
    h("div", { class: "stack" },
      section("Schedule", facts([
        ["Due", [instant(found.due), " ", h("span", { class: "faint" }, distance(found.due))]],
        ["Repeats", found.cron ? [mono(found.cron), " ", h("span", { class: "faint" }, found.timezone)] : "once"],
        ["Target", h("a", { class: "mono", href: link("schedules", { target: found.target_topic }) }, found.target_topic)],
        ["Target key", found.target_key === null ? h("span", { class: "faint" }, "none") : mono(found.target_key)],
        ["Target partition", found.target_partition],
        ["Delivers", found.target_tombstone ? "a null (tombstone)" : bytes(found.payload_bytes)],
        ["When late", [found.misfire, found.misfire_grace ? `, when later than ${found.misfire_grace}` : ", however late"]],
        ["Written", instant(found.written)],
        ["Stands at", mono(`${found.topic}-${found.partition}@${found.offset}`)],
      ])),
      found.cron && !found.paused ? section("Next occurrences", h("ol", { class: "plain-list" }, next)) : null));
}

async function ends(past) {
  let found;
  try {
    found = await past;
  } catch (error) {
    return section("History", note(error.message, "error"));
  }
  return section("History", found.events.length ? events(found.events, { id: false }) : empty("Nothing of it has ended yet, as far as is known."), known(found.known, "record"));
}

function versions(id, place, page) {
  const shown = h("div");
  const load = async () => {
    put(shown, h("p", { class: "faint" }, "Reading its partition …"));
    try {
      const { versions: found } = await get("/versions", { id, topic: place.topic, partition: place.partition }, page.signal);
      put(shown, found.length ? table("Versions", [
        ["Written", (each) => instant(each.written)],
        ["Stands at", (each) => mono(`${each.topic}-${each.partition}@${each.offset}`)],
        ["What", (each) => each.what, "wrap"],
        ["", (each) => (each.in_force ? chip("in force", "running") : "")],
      ], found.reverse()) : empty("The topic holds no record of it any more."));
    } catch (error) {
      if (!page.signal.aborted) put(shown, note(error.message, "error"));
    }
  };
  put(shown, h("p", null, button("Show versions", load), h("span", { class: "faint beside" }, "reads its partition, which may take seconds")));
  return section("Versions", shown);
}

