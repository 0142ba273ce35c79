// Questions and messages. A dialog is the browser's own: it keeps the focus, and Escape closes it.

import { add, h } from "./dom.js";

export function toast(text, kind = "ok") {
  const shown = h("p", { class: `toast toast-${kind}` }, text);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), kind === "error" ? 12_000 : 5000);
}

// Resolves to what `take` returns, or to null where the dialog is closed otherwise.
export function dialog(title, children, { act, kind = "primary", take = () => true, cancel = "Back" } = {}) {
  return new Promise((resolve) => {
    const fault = h("p", { class: "fault", role: "alert" });
    const form = h("form", { method: "dialog" }, h("h2", null, title));
    add(form, children);
    const box = h("dialog", { "aria-label": title }, form);
    let result = null;
    form.append(
      fault,
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", onclick: () => box.close() }, act ? cancel : "Close"),
        act ? h("button", { type: "submit", class: kind }, act) : null,
      ),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const submit = form.querySelector("button[type=submit]");
      submit.disabled = true;
      try {
        result = await take(form);
        box.close();
      } catch (error) {
        fault.textContent = error.message;
        submit.disabled = false;
      }
    });
    box.addEventListener("close", () => {
      box.remove();
      resolve(result);
    });
    document.body.append(box);
    box.showModal();
  });
}

export const confirm = (title, text, act, take, kind = "primary") =>
  dialog(title, h("p", null, text), { act, take, kind });
