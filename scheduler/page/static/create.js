// A new schedule, or another version of one that is there.

import { ask, get, schedulePath } from "./api.js";
import { toast } from "./dialogs.js";
import { h, put } from "./dom.js";
import { toLocal } from "./format.js";
import { button, field, heading, note } from "./parts.js";
import { go } from "./route.js";

export default async function create(root, page) {
  const like = page.query.get("like");
  const place = { topic: page.query.get("topic"), partition: page.query.get("partition") };
  const old = like ? await get(schedulePath(like), place, page.signal) : null;
  const text = (name, more = {}) => h("input", { name, autocomplete: "off", spellcheck: "false", ...more });

  // An input has no line ends and a textarea only its own: what nobody touches stays as it was.
  const kept = new Map();
  const hold = (input, was) => {
    input.value = was;
    kept.set(input, { shown: input.value, was });
    return input;
  };
  const held = (input) => (kept.get(input)?.shown === input.value ? kept.get(input).was : input.value);

  const id = text("id", { required: true, readonly: Boolean(old), placeholder: "order-17/reminder" });
  hold(id, old?.id ?? page.query.get("id") ?? "");
  const target = text("target_topic", { required: true, value: old?.target_topic ?? "", pattern: "[A-Za-z0-9._\\-]{1,249}", placeholder: "emails" });
  const targetKey = hold(text("target_key"), old?.target_key ?? "");
  const how = h("div", { class: "tabs", role: "group", "aria-label": "When" });
  const when = h("div", { class: "row" });
  const inputs = {
    delay: [field("In", text("delay", { placeholder: "15m" }), "90s, 15m, 2h, 1d")],
    at: [field("At", h("input", { type: "datetime-local", step: 1, name: "at", value: old && !old.cron ? toLocal(old.due) : "" }), "your time zone")],
    cron: [
      field("Rule", text("cron", { value: old?.cron ?? "", placeholder: "30 2 * * mon-fri" }), "five fields, @hourly, or @every 90s"),
      field("Zone", text("timezone", { value: old?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone }), "IANA name"),
    ],
  };
  const names = { delay: "After a delay", at: "At a time", cron: "Again and again" };
  const choose = (way) => {
    put(when, inputs[way]);
    for (const each of how.children) each.setAttribute("aria-pressed", String(each.dataset.way === way));
  };
  put(how, Object.entries(names).map(([way, name]) => h("button", { type: "button", "data-way": way, onclick: () => choose(way) }, name)));
  choose(old ? (old.cron ? "cron" : "at") : "delay");

  const payload = hold(h("textarea", { name: "payload", rows: 8, class: "mono", spellcheck: "false" }), old?.payload ?? "");
  const base64 = h("input", { type: "checkbox", name: "base64", checked: old?.payload_encoding === "base64" });
  const headers = h("div", { class: "stack" });
  const addHeader = (header = { name: "", value: "", encoding: "text" }) => {
    const row = h("div", { class: "row header", "data-encoding": header.encoding, "data-null": String(header.value === null) },
      hold(text("header-name", { placeholder: "name", "aria-label": "Header name" }), header.name),
      hold(text("header-value", { placeholder: header.value === null ? "no value" : "value", "aria-label": "Header value" }), header.value ?? ""),
      button("Remove", () => row.remove()));
    headers.append(row);
    return row;
  };
  old?.headers.forEach(addHeader);
  const misfire = h("select", { name: "misfire" }, [["", "as usual"], ["fire", "fire"], ["once", "once"], ["all", "all"], ["skip", "skip"]].map(([value, name]) =>
    h("option", { value, selected: value === (old?.misfire ?? "") }, name)));
  const grace = text("misfire_grace", { value: old?.misfire_grace ?? "", placeholder: "60s" });
  const partition = h("input", { type: "number", min: 0, name: "target_partition", value: old?.target_partition ?? "" });
  const tombstone = h("input", { type: "checkbox", name: "target_tombstone", checked: Boolean(old?.target_tombstone) });
  const paused = h("input", { type: "checkbox", name: "paused", checked: Boolean(old?.paused) });
  const fault = h("div");

  function body() {
    const said = { id: held(id), target_topic: target.value, payload: held(payload) };
    if (base64.checked) said.payload_encoding = "base64";
    if (targetKey.value || old?.target_key === "") {
      said.target_key = held(targetKey);
      if (old?.target_key_encoding === "base64" && held(targetKey) === old.target_key) said.target_key_encoding = "base64";
    }
    for (const input of when.querySelectorAll("input")) {
      if (input.value.trim()) said[input.name] = input.name === "at" ? instantOf(input.value, old) : input.value.trim();
    }
    said.headers = [...headers.children].map((row) => {
      const [name, value] = row.querySelectorAll("input");
      const none = row.dataset.null === "true" && !value.value;
      return { name: held(name), value: none ? null : held(value), encoding: row.dataset.encoding };
    });
    if (misfire.value) said.misfire = misfire.value;
    if (grace.value.trim()) said.misfire_grace = grace.value.trim();
    if (partition.value !== "") said.target_partition = Number(partition.value);
    if (tombstone.checked) said.target_tombstone = true;
    if (paused.checked) said.paused = true;
    return said;
  }

  async function submit(event) {
    event.preventDefault();
    put(fault);
    const write = form.querySelector("button[type=submit]");
    write.disabled = true;
    try {
      const { id: name, ...rest } = body();
      const made = old
        ? await ask("PUT", schedulePath(name), { query: place, body: rest })
        : await ask("POST", "/schedules", { body: { id: name, ...rest } });
      toast(old ? "The new version is in force." : "It is written.");
      go("schedule", { id: made.id, topic: made.topic, partition: made.partition });
    } catch (error) {
      put(fault, note(error.message, "error"));
      write.disabled = false;
    }
  }

  const form = h("form", { class: "card form", onsubmit: submit },
    field("Id", id, old ? "stays; the new version replaces the one in force" : "the key of its record; the same id again is refused here"),
    h("div", { class: "row" }, field("Target topic", target), field("Target key", targetKey, "empty: none")),
    h("fieldset", null, h("legend", null, "When"), how, when),
    field("Payload", payload, "delivered byte for byte"),
    h("label", { class: "check" }, base64, "the payload is written in base64"),
    h("fieldset", null, h("legend", null, "Headers"), headers, button("Add a header", () => addHeader().querySelector("input").focus())),
    h("details", { open: Boolean(old && (old.target_partition !== null || old.target_tombstone || old.paused)) }, h("summary", null, "When late, and more"),
      h("div", { class: "row" }, field("When late", misfire, "once: fire, however late; again and again: once"), field("On time until", grace, "how late is still on time"), field("Target partition", partition, "empty: the key decides")),
      h("label", { class: "check" }, tombstone, "deliver a null instead of the payload: a tombstone there"),
      h("label", { class: "check" }, paused, "paused: it waits until it is resumed")),
    fault,
    h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, old ? "Replace it" : "Write it"),
      h("a", { class: "button", href: "#/schedules" }, "Back")));
  put(root, heading(old ? "Change a schedule" : "New schedule"), form);
}

// The milliseconds that the input does not show stay where its time was not touched.
function instantOf(local, old) {
  return old && toLocal(old.due) === local ? old.due : new Date(local).toISOString();
}
