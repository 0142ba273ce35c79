// The frame around the pages: which one is shown, its polling, the keyboard, and the token.

import { on, token } from "./api.js";
import { h, icon, put } from "./dom.js";
import { dialog } from "./dialogs.js";
import { tick } from "./format.js";
import { note } from "./parts.js";
import { go, where } from "./route.js";
import create from "./create.js";
import dead from "./dead.js";
import history from "./history.js";
import jobs from "./jobs.js";
import overview from "./overview.js";
import schedule from "./schedule.js";
import schedules from "./schedules.js";

const PAGES = { overview, schedules, schedule, create, history, jobs, dead };
const NAV = [
  ["overview", "Overview", "M3 10.5 10 4l7 6.5M5 9v7h4v-4h2v4h4V9"],
  ["schedules", "Schedules", "M4 5h12M4 10h12M4 15h8"],
  ["history", "History", "M10 5v5l3 2M3.5 10a6.5 6.5 0 1 0 2-4.7M3 3v3.5h3.5"],
  ["jobs", "Jobs", "M4 6l4 4-4 4M10 15h6"],
  ["dead", "Dead letters", "M3 5h14v10H3zM3 6l7 5 7-5"],
];
const KEYS = [
  ["/", "search"], ["n", "new schedule"], ["j and k", "next and previous row"], ["Enter", "open the row"], ["r", "load again"],
  ["g o", "overview"], ["g s", "schedules"], ["g h", "history"], ["g j", "jobs"], ["g d", "dead letters"], ["?", "this list"],
];

const main = document.getElementById("main");
let leave = new AbortController();

// -- pages ---------------------------------------------------------------------------------------

// What a page is given: its filters, a signal that ends with it, and polling that rests while nobody looks.
function context(query, signal) {
  return {
    query,
    signal,
    every(ms, act) {
      let busy = false;
      const timer = setInterval(async () => {
        if (document.hidden || busy) return;
        busy = true;
        try {
          await act();
        } catch (error) {
          if (error.name !== "AbortError" && error.status !== 0) console.warn(error.message);
        } finally {
          busy = false;
        }
      }, ms);
      signal.addEventListener("abort", () => clearInterval(timer));
    },
    reload: show,
  };
}

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const { page, query } = where();
  const draw = PAGES[page];
  const root = h("div", { class: `page page-${page}` });
  main.setAttribute("aria-busy", "true");
  try {
    if (!draw) throw new Error(`There is no page ${page}.`);
    const busy = setTimeout(() => put(main, h("p", { class: "faint loading" }, "Loading …")), 250);
    try {
      await draw(root, context(query, signal));
    } finally {
      clearTimeout(busy);
    }
  } catch (error) {
    if (signal.aborted) return;
    put(root, h("h1", { tabindex: "-1" }, "This did not work"), note(error.message, "error"),
      h("p", null, h("button", { type: "button", onclick: show }, "Try again")));
  }
  if (signal.aborted) return;
  put(main, root);
  main.setAttribute("aria-busy", "false");
  const title = root.querySelector("h1");
  document.title = `${title?.textContent ?? "Scheduler"} · Kafka scheduler`;
  for (const each of document.querySelectorAll("#nav a")) {
    if (each.dataset.page === ({ schedule: "schedules", create: "schedules" }[page] ?? page)) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
}

async function move() {
  scrollTo(0, 0);
  await show();
  // a screen reader is told where it is; a person who has begun to type is left alone
  if (!main.contains(document.activeElement)) main.querySelector("h1")?.focus({ preventScroll: true });
}

// -- the keyboard --------------------------------------------------------------------------------

let after = "";

function rows(step) {
  const links = [...main.querySelectorAll("tbody tr a.id, tbody tr button.id")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
}

function search() {
  const box = main.querySelector("input[type=search]");
  if (box) {
    box.focus();
    box.select();
  } else go("schedules");
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input, textarea, select");
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const page = after === "g" ? { o: "overview", s: "schedules", h: "history", j: "jobs", d: "dead" }[event.key] : null;
  const act = page ? () => go(page) : {
    "/": search, n: () => go("create"), r: show, "?": help, j: () => rows(1), k: () => rows(-1),
  }[event.key];
  after = event.key;
  if (!act) return;
  event.preventDefault();
  after = "";
  act();
}

const help = () =>
  dialog("Keyboard", h("dl", { class: "keys" }, KEYS.map(([name, what]) => h("div", null, h("dt", null, h("kbd", null, name)), h("dd", null, what)))));

// -- the token -----------------------------------------------------------------------------------

let asking = false;

async function askForToken() {
  document.getElementById("token").hidden = false;
  if (asking) return;
  asking = true;
  const box = h("input", { type: "password", name: "token", autocomplete: "off", required: true, "aria-label": "Token", autofocus: true });
  const given = await dialog(
    "Token",
    [h("p", null, "This scheduler asks for its API_TOKEN. It is kept in this tab until you close it."), box],
    { act: "Use it", take: () => box.value.trim() },
  );
  asking = false;
  if (given) {
    token.set(given);
    show();
  }
}

function connection(state) {
  const shown = document.getElementById("connection");
  const text = state === "here" ? "Connected" : "No answer";
  if (shown.dataset.state !== state) put(shown, h("span", { class: "dot" }), text);
  shown.dataset.state = state;
}

// -- begin ---------------------------------------------------------------------------------------

put(document.getElementById("nav"),
  NAV.map(([page, name, path]) => h("a", { href: page === "overview" ? "#/" : `#/${page}`, "data-page": page }, icon(path), h("span", null, name))),
  h("a", { href: "#/create", class: "new", "data-page": "create" }, icon("M10 4v12M4 10h12"), h("span", null, "New schedule")));
document.getElementById("keys").addEventListener("click", help);
document.getElementById("token").addEventListener("click", askForToken);
document.getElementById("token").hidden = !token.get();
document.addEventListener("keydown", key);
on("token", askForToken);
on("here", () => connection("here"));
on("away", () => connection("away"));
addEventListener("hashchange", move);
setInterval(tick, 1000);
show();
