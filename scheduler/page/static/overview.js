// What there is, when it comes, who has it, and what has gone wrong.

import { ask, get, info } from "./api.js";
import { hour } from "./chart.js";
import { confirm, toast } from "./dialogs.js";
import { h, put } from "./dom.js";
import { coming, count, distance, duration, instant, plural } from "./format.js";
import { button, chip, empty, facts, heading, mono, note, section, table, unanswered } from "./parts.js";
import { link } from "./route.js";

const sum = (list, of) => list.reduce((total, each) => total + (of(each) ?? 0), 0);

export default async function overview(root, page) {
  const body = h("div", { class: "stack" });
  const pauses = h("span", { class: "actions" });
  put(root, heading("Overview", pauses), body);

  async function draw() {
    const [replicas, pending, ended, me] = await Promise.all([
      ...["/replicas", "/pending", "/outcomes"].map((path) => get(path, {}, page.signal)), info(page.signal),
    ]);
    const partitions = replicas.replicas.flatMap((replica) => replica.partitions.map((each) => ({ ...each, replica })));
    put(pauses, held(partitions, draw));
    put(body, unanswered(replicas.unanswered), figures(partitions, pending, ended), timeline(pending),
      h("div", { class: "columns" }, targets(pending), outcomes(ended)), replicaTable(replicas, partitions), installation(me));
  }

  await draw();
  page.every(5000, draw);
}

function held(partitions, draw) {
  const paused = partitions.filter((each) => each.paused).length;
  const all = paused > 0 && paused === partitions.length;
  const set = async (on) => {
    const answer = await ask("POST", on ? "/pause" : "/resume");
    toast(answer.unanswered.length ? "Written; not all replicas have read it yet." : on ? "Everything is paused." : "Everything goes on.");
    await draw();
    return true;
  };
  return [
    paused > 0 && button("Resume all", () => confirm("Resume all?", "What was missed meanwhile follows each schedule's misfire policy.", "Resume all", () => set(false))),
    !all && button("Pause all", () => confirm("Pause all?", "Nothing fires until it is resumed, on any replica. Schedules stay as they are.", "Pause all", () => set(true), "danger")),
  ];
}

function figures(partitions, pending, ended) {
  const next = partitions.map((each) => each.next_due).filter(Boolean).sort()[0];
  const overdue = sum(partitions, (each) => each.overdue);
  const postponed = sum(partitions, (each) => each.postponed);
  const lag = sum(partitions, (each) => each.lag);
  const total = sum(Object.values(ended.outcomes), (each) => each);
  const paused = partitions.filter((each) => each.paused).length;
  const figure = (name, value, more, { href, kind } = {}) =>
    h(href ? "a" : "div", { class: `figure ${kind ?? ""}`, href },
      h("span", { class: "figure-name" }, name), h("span", { class: "figure-value" }, value), h("span", { class: "figure-more" }, more));
  return h("div", { class: "figures" },
    figure("Pending", count(sum(partitions, (each) => each.pending)),
      [`${count(pending.recurring)} recurring`, pending.paused ? ` · ${count(pending.paused)} paused` : ""], { href: link("schedules") }),
    figure("Next due", next ? (overdue ? distance : coming)(next) : "–", next ? instant(next) : paused ? "all is paused" : "nothing is due"),
    figure("Overdue", count(overdue), postponed ? postponed === 1 ? "one waits for its target" : `${count(postponed)} wait for their targets` : lag ? `${plural(lag, "record")} not read yet` : "none waits for its target",
      { kind: overdue + postponed ? "warn" : "" }),
    figure("Ended in an hour", count(total), ended.outcomes.fired ? `${count(ended.outcomes.fired)} fired` : "none fired", { href: link("history") }),
    figure("Dead letters", count(ended.open_letters), ended.open_letters ? "for somebody to look at" : "none waits", { href: link("dead"), kind: ended.open_letters ? "bad" : "" }));
}

function timeline(pending) {
  const total = sum(pending.minutes, (each) => each);
  return section("The coming hour",
    h("p", { class: "beside-title faint" }, plural(total, "occurrence"), pending.complete ? "" : `; only the first ${count(pending.counted)} schedules were counted`),
    total ? hour(pending.first_minute, pending.minutes) : empty("Nothing is due in the coming hour."));
}

function targets(pending) {
  const most = pending.targets[0]?.pending ?? 1;
  const rows = pending.targets.slice(0, 12);
  const meter = (each) => h("meter", { min: 0, max: most, value: each.pending, "aria-hidden": "true" });
  return section("Pending by target",
    rows.length ? table("Pending by target", [
      ["Target", (each) => h("a", { href: link("schedules", { target: each.target_topic }), class: "mono" }, each.target_topic), "clip"],
      ["Pending", (each) => count(each.pending), "number"],
      ["", meter, "meter"],
    ], rows, { look: "pairs" }) : empty("Nothing is pending."),
    pending.later ? h("p", { class: "faint" }, `${plural(pending.later, "one-shot")} of them due in more than two minutes`) : null,
    pending.targets.length > rows.length ? h("p", { class: "faint" }, `and ${plural(pending.targets.length - rows.length, "more target")}`) : null);
}

function outcomes(ended) {
  const rows = Object.entries(ended.outcomes).sort((one, other) => other[1] - one[1]);
  return section("Ended in the last hour",
    rows.length ? table("Outcomes", [
      ["Outcome", ([name]) => h("a", { href: link("history", { outcome: name }), class: "plain" }, chip(name))],
      ["Schedules", ([, n]) => count(n), "number"],
    ], rows, { look: "pairs" }) : empty(ended.known.why ? `The history cannot be read: ${ended.known.why}.` : "Nothing has ended in the last hour."));
}

function replicaTable(replicas, partitions) {
  const silent = replicas.replicas.filter((each) => each.why);
  const several = new Set(partitions.map((each) => each.topic)).size > 1;
  const rows = partitions.sort((one, other) => one.topic.localeCompare(other.topic) || one.partition - other.partition);
  return section(`${plural(replicas.replicas.length, "replica")}, ${plural(partitions.length, "partition")}`,
    silent.map((each) => note(`${each.client_id} does not answer: ${each.why}.`, "warn")),
    table("Replicas and partitions", [
      ["Partition", (each) => [h("span", { class: "phone" }, "Partition "), mono(several ? `${each.topic}/${each.partition}` : each.partition)], "name"],
      ["Replica", (each) => [mono(each.replica.address ?? each.replica.client_id), each.replica.me ? h("span", { class: "faint beside" }, "this one") : null]],
      ["State", (each) => [chip(each.state), each.paused ? [" ", chip("paused")] : null]],
      ["Pending", (each) => count(each.pending), "number"],
      ["Overdue", (each) => count(each.overdue + each.postponed), "number"],
      ["Lag", (each) => (each.lag === null ? "–" : count(each.lag)), "number"],
      ["Next due", (each) => (each.overdue ? distance : coming)(each.next_due)],
      ["Restored in", (each) => (each.restore_seconds === null ? "–" : duration(each.restore_seconds * 1000)), "number"],
    ], rows));
}

function installation({ hostname, address, kafka }) {
  return section("Where this is", facts([
    ["Kafka", mono(kafka.bootstrap_servers)],
    ["Schedules", kafka.topics.map((each, n) => [n ? ", " : "", mono(each)])],
    ["History", mono(kafka.history_topic)],
    ["This replica", [mono(hostname), address.length ? h("span", { class: "faint beside" }, address.join(", ")) : null]],
  ]));
}
