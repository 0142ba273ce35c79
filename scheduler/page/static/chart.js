// Bars of the coming hour. The numbers are in a table too, for those who do not see them.

import { h, s } from "./dom.js";
import { count, plural } from "./format.js";

const WIDTH = 900;
const HEIGHT = 150;
const FLOOR = 124;

function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return [1, 2, 3, 4, 6, 8, 10].map((each) => each * power).find((each) => each >= most);
}

export function hour(first, minutes) {
  const most = ceiling(Math.max(1, ...minutes));
  const wide = WIDTH / minutes.length;
  const at = (number) => new Date(Date.parse(first) + number * 60_000);
  const clock = (number) => at(number).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const bars = minutes.map((due, number) => {
    const high = due ? Math.max(2, (due / most) * (FLOOR - 12)) : 0;
    return s(
      "g",
      { class: "bar" },
      s("rect", { class: "reach", x: number * wide, y: 0, width: wide, height: FLOOR }),
      s("rect", { class: "fill", x: number * wide + 1.5, y: FLOOR - high, width: Math.max(1, wide - 3), height: high, rx: 2 }),
      s("title", null, `${clock(number)}: ${plural(due, "occurrence")}`),
    );
  });
  // at the clock's own tens, not at tens from now
  const marks = minutes.map((_, number) => number).filter((number) => at(number).getMinutes() % 10 === 0 && number > 1 && number < minutes.length - 2);
  const drawn = s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", "aria-hidden": "true", preserveAspectRatio: "none" },
    s("line", { class: "grid", x1: 0, x2: WIDTH, y1: 12, y2: 12 }),
    s("line", { class: "grid", x1: 0, x2: WIDTH, y1: (12 + FLOOR) / 2, y2: (12 + FLOOR) / 2 }),
    bars,
    s("line", { class: "floor", x1: 0, x2: WIDTH, y1: FLOOR + 0.5, y2: FLOOR + 0.5 }),
  );
  const axis = h("div", { class: "axis", "aria-hidden": "true" });
  for (const number of marks) {
    const mark = h("span", null, clock(number));
    mark.style.left = `${((number + 0.5) / minutes.length) * 100}%`;
    axis.append(mark);
  }
  const lines = minutes.map((due, number) => due > 0 && h("tr", null, h("th", { scope: "row" }, clock(number)), h("td", null, count(due))));
  // within a block: a table does not become smaller than what is in it
  const numbers = h("div", { class: "hidden" },
    h("table", null, h("caption", null, "Occurrences due in the coming hour, by minute"), h("tbody", null, lines)));
  return h("figure", { class: "hour" }, h("span", { class: "top", "aria-hidden": "true" }, count(most)), drawn, axis, numbers);
}
