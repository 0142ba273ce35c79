// JSON with indents and colours. What it says stays as it is written: parsed and written again, long numbers would be others.

import { h } from "./dom.js";
import { visible } from "./format.js";

const TOKEN = /"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const COLOURED = 100_000; // characters; the elements of more would make the page slow

const kindOf = (token, next) => {
  if (token.startsWith('"')) return next === ":" ? "key" : "string";
  return /^[-0-9]/.test(token) ? "number" : "word";
};

// Null where it is no JSON.
export function indented(text) {
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const tokens = text.match(TOKEN);
  const shown = [""];
  const plain = (more) => {
    if (typeof shown.at(-1) === "string") shown[shown.length - 1] += more;
    else shown.push(more);
  };
  let depth = 0;
  const line = () => plain(`\n${"  ".repeat(depth)}`);
  tokens.forEach((token, number) => {
    if (token === "{" || token === "[") {
      plain(token);
      depth += 1;
      if (!"}]".includes(tokens[number + 1])) line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      if (!"{[".includes(tokens[number - 1])) line();
      plain(token);
    } else if (token === ",") {
      plain(token);
      line();
    } else if (token === ":") plain(": ");
    else if (text.length > COLOURED) visible(token).forEach((part) => (typeof part === "string" ? plain(part) : shown.push(part)));
    else shown.push(h("span", { class: `json-${kindOf(token, tokens[number + 1])}` }, visible(token)));
  });
  return shown;
}
