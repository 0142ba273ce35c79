// Instants, durations, sizes and bytes as people read them.

import { h } from "./dom.js";

const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export const count = (n) => number.format(n);
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
  if (n === null || n === undefined) return "";
  if (n < 1000) return `${n} B`;
  return n < 1e6 ? `${(n / 1000).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

export function duration(ms) {
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const parts = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.round(size / 1000);
  const said = [];
  for (const [unit, seconds] of parts) {
    const n = Math.floor(left / seconds);
    if (n || said.length) said.push([n, unit]);
    left -= n * seconds;
  }
  // two units, unless the first says enough: 1 min 31 s, but 17 min
  return (ms < 0 ? "−" : "") + said.slice(0, said[0][0] < 10 ? 2 : 1).filter(([n]) => n).map(([n, unit]) => `${n} ${unit}`).join(" ");
}

export function relative(iso, now = Date.now(), ago = true) {
  const ms = Date.parse(iso) - now;
  if (ms < 1000 && (ms > -1000 || !ago)) return "now";
  const whole = duration(Math.trunc(Math.abs(ms) / 1000) * 1000).replace(".0 s", " s");
  return ms > 0 ? `in ${whole}` : `${whole} ago`;
}

export function absolute(iso) {
  const at = new Date(iso);
  const now = new Date();
  const time = clock.format(at);
  if (at.toDateString() === now.toDateString()) return time;
  return `${at.getFullYear() === now.getFullYear() ? day.format(at) : dayOfYear.format(at)}, ${time}`;
}

// An instant: in this browser's time zone, as UTC where the pointer rests on it.
export const instant = (iso) => (iso ? h("time", { datetime: iso, title: iso }, absolute(iso)) : "");

// How far an instant is away; kept right by `tick`.
export const distance = (iso) => far(iso, true);

// The same for what comes: when it has passed it says "now" until the page asks again, and no more.
export const coming = (iso) => far(iso, false);

const far = (iso, ago) =>
  iso ? h("time", { datetime: iso, title: `${absolute(iso)} (${iso})`, "data-far": iso, "data-ago": ago ? "" : null }, relative(iso, Date.now(), ago)) : "";

export function tick() {
  const now = Date.now();
  for (const each of document.querySelectorAll("time[data-far]")) {
    const text = relative(each.dataset.far, now, each.dataset.ago !== undefined);
    if (each.textContent !== text) each.textContent = text;
  }
}

export function rawBytes(text, encoding) {
  if (encoding !== "base64") return new TextEncoder().encode(text);
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

export function hex(raw, most = 4096) {
  const lines = [];
  for (let at = 0; at < Math.min(raw.length, most); at += 16) {
    const row = [...raw.subarray(at, at + 16)];
    const left = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const right = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${left}  ${right}`);
  }
  if (raw.length > most) lines.push(`… ${bytes(raw.length - most)} more`);
  return lines.join("\n");
}

// What shows nothing, or turns around what comes after it, as escapes: two ids that differ look different.
const UNSEEN = /([\u0000-\u001f\u007f-\u009f\u200b\u2028-\u202e\u2060\u2066-\u2069\ufeff])/;
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

export function visible(text, { lines = false } = {}) {
  const escaped = (each) => {
    const code = each.charCodeAt(0).toString(16);
    return h("span", { class: "escape" }, SHORT[each] ?? (code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`));
  };
  const shown = [""];
  for (const each of String(text).split(UNSEEN)) {
    if (UNSEEN.test(each) && !(lines && each in SHORT)) shown.push(escaped(each), "");
    else shown[shown.length - 1] += each; // few nodes, however many lines
  }
  return shown;
}

// What <input type=datetime-local> holds, and back.
export function toLocal(iso) {
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
export const localOf = (iso) => (iso && !Number.isNaN(Date.parse(iso)) ? toLocal(iso) : "");
export const fromLocal = (text) => (text ? new Date(text).toISOString() : "");
