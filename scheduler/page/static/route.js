// Pages are named behind the #: `#/schedules?prefix=vid`, so that each can be linked to and Back works.

export function link(page, query = {}) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) {
      if (each !== undefined && each !== null && each !== "") said.append(name, each);
    }
  }
  const text = said.toString();
  return `#/${page}${text ? `?${text}` : ""}`;
}

export function where() {
  const [page, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { page: page || "overview", query: new URLSearchParams(query) };
}

export const go = (page, query) => (location.hash = link(page, query));

// The same page with other filters: without a new entry to go back to for each letter that is typed.
export function amend(page, query) {
  history.replaceState(null, "", link(page, query));
}
