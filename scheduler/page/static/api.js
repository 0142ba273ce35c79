// Requests to /api/v1. The token, where the server wants one, stays in this tab's session storage.

const BASE = "/api/v1";
const KEY = "scheduler-token";

export class Problem extends Error {
  constructor(status, detail, document) {
    super(detail);
    this.status = status;
    this.document = document ?? {};
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

const heard = new EventTarget();
export const on = (name, listener) => heard.addEventListener(name, listener);

export async function ask(method, path, { query, body, signal, base = BASE } = {}) {
  const url = new URL(base + path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const each of [value].flat()) {
      if (each !== undefined && each !== null && each !== "") url.searchParams.append(name, each);
    }
  }
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    heard.dispatchEvent(new Event("away"));
    throw new Problem(0, "This replica does not answer. It is tried again; another replica serves the same page.");
  }
  heard.dispatchEvent(new Event("here"));
  const text = await answer.text();
  let said = null;
  try {
    said = text ? JSON.parse(text) : null;
  } catch {
    throw new Problem(answer.status, `The answer of ${url.pathname} is no JSON: is a proxy in between?`);
  }
  if (answer.ok) return said;
  if (answer.status === 401) heard.dispatchEvent(new Event("token"));
  throw new Problem(answer.status, said?.detail ?? answer.statusText, said);
}

export const get = (path, query, signal) => ask("GET", path, { query, signal });

// Who this replica is and what it reads; it is told to anybody.
export const info = (signal) => ask("GET", "/info", { base: "", signal });

// How to ask the payload decoder about one payload; null where none is set. Nothing waits for it, or fails with it.
let told = null;
export async function decoder(query, signal) {
  told ??= info();
  try {
    return (await told).payload_decoder ? () => get("/decoded", query, signal) : null;
  } catch (error) {
    told = null;
    console.warn(error.message);
    return null;
  }
}

// An id in a path: with its slashes escaped, so that none of its parts can be taken for a way.
export const schedulePath = (id) => `/schedules/${encodeURIComponent(id)}`;
