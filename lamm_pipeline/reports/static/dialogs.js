// What is asked and shown in front of the page. One dialog at a time; each ends with Enter or Escape.

import { byId, element, get } from "./http.js";

const LETTERS = "123456789abcdefghijklmnopqrstuvwxyz";

/** Show a dialog; resolves to what `result` returns when it is confirmed, to null when it is left. */
export function ask(title, body, { result = () => true, ok = "OK", cancel = true, wide = false, takes = () => false } = {}) {
  const dialog = byId("dialog");
  byId("dialog-title").textContent = title;
  byId("dialog-body").replaceChildren(...body);
  byId("dialog-ok").firstChild.textContent = `${ok} `;
  byId("dialog-cancel").hidden = !cancel;
  dialog.classList.toggle("wide", wide);
  dialog.onkeydown = (event) => {
    if (!dialog.open) return; // its buttons keep the focus for a moment
    event.stopPropagation(); // a key that ends the dialog is not one for the page
    if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== "Escape" && takes(event.key)) event.preventDefault();
  };
  return new Promise((resolve) => {
    dialog.querySelector("form").onsubmit = () => resolve(result()); // at once: the next key is meant for what comes then
    byId("dialog-cancel").onclick = () => dialog.close();
    dialog.onclose = () => dialog.open || resolve(null); // it comes late: the next dialog may be open by then
    dialog.showModal();
    (dialog.querySelector("[autofocus]") || byId("dialog-ok")).focus();
  });
}

export function confirmNow() {
  byId("dialog").querySelector("form").requestSubmit();
}

/** Choose one of the classes, by its key or by typing a part of its name. */
export async function askClass(model, now) {
  let chosen = null;
  const input = element("input", { type: "search", placeholder: "type to find, Enter takes the first", "aria-label": "Find a class", autocomplete: "off" });
  const choices = model.classes.map((each, number) => element("button", {
    type: "button", class: "choice", "data-key": LETTERS[number] || "", "aria-pressed": each.id === now ? "true" : "false",
    onclick: () => { chosen = each.id; confirmNow(); },
  }, element("kbd", {}, LETTERS[number] || " "), element("span", { class: "swatch", style: { background: each.color } }), each.name));
  const fits = (choice, number) => model.classes[number].name.toLowerCase().includes(input.value.toLowerCase()) || model.classes[number].id.includes(input.value.toLowerCase());
  input.addEventListener("input", () => choices.forEach((choice, number) => { choice.hidden = !fits(choice, number); }));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    choices.find((choice) => !choice.hidden)?.click();
  });
  const takes = (key) => {
    if (document.activeElement === input) return false;
    if (key === "/") { input.focus(); return true; }
    const choice = choices.find((each) => each.dataset.key === key);
    choice?.click();
    return Boolean(choice);
  };
  choices[Math.max(0, model.classes.findIndex((each) => each.id === now))]?.setAttribute("autofocus", "");
  return ask("What is it?", [element("p", { class: "quiet" }, "Press its key, or / and a part of its name."), input, element("div", { class: "choices" }, ...choices)], { result: () => chosen, takes });
}

/** Choose what a false positive is instead; any number of words. */
export async function askTypes(model, now) {
  const chosen = new Set(now || []);
  const choices = model.false_positive_types.map((word, number) => {
    const choice = element("button", {
      type: "button", class: "choice", "data-key": LETTERS[number] || "", "aria-pressed": chosen.has(word) ? "true" : "false",
      onclick: () => {
        if (!chosen.delete(word)) chosen.add(word);
        choice.setAttribute("aria-pressed", chosen.has(word) ? "true" : "false");
      },
    }, element("kbd", {}, LETTERS[number] || " "), word.replaceAll("_", " "));
    return choice;
  });
  const takes = (key) => {
    if (key === "Enter") { confirmNow(); return true; }
    const choice = choices.find((each) => each.dataset.key === key);
    choice?.click();
    return Boolean(choice);
  };
  const text = "Choose what it is instead; it is then no positive, and left out.";
  return ask("False positive", [element("p", { class: "quiet" }, text), element("div", { class: "choices" }, ...choices)], { result: () => [...chosen], takes });
}

export async function askNote(now) {
  const text = element("textarea", { rows: "4", maxlength: "10000", "aria-label": "Note", autofocus: true });
  text.value = now;
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      confirmNow();
    }
  });
  return ask("Note", [text, element("p", { class: "quiet" }, "Shift and Enter begin a new line.")], { result: () => text.value.trim() || null, ok: "Save" });
}

export async function askActor(now) {
  const name = element("input", { type: "text", maxlength: "200", required: true, "aria-label": "Your name", autocomplete: "username", autofocus: true });
  name.value = now || "";
  return ask("Who reviews?", [element("p", {}, "Your name stands with every decision. It is asked once in this browser."), name], { result: () => name.value.trim(), ok: "Begin", cancel: Boolean(now) });
}

export function showHelp(groups) {
  const tables = groups.map(([title, rows]) => element("section", {}, element("h3", {}, title), element("dl", {},
    ...rows.flatMap(([key, text]) => [element("dt", {}, ...key.split(" ").map((each) => element("kbd", {}, each))), element("dd", {}, text)]))));
  return ask("Keys", [element("div", { class: "help" }, ...tables)], { cancel: false, ok: "Close", wide: true });
}

export function showLost(model) {
  const text = "These decisions were taken on data that have been computed again, and find nothing there now. They stay in the log, and hold again when their data come back into force.";
  const rows = model.lost.map((each) => [each.at.replace("T", " ").replace("Z", ""), each.actor, each.subject, words(each), each.reason]);
  return ask(`${model.lost.length} lost decisions`, [element("p", {}, text), table(["When (UTC)", "Who", "About", "What", "Why"], rows)], { cancel: false, ok: "Close", wide: true });
}

/** Who said what, newest first; `subject` limits it to one. */
export async function showHistory(recording, subject, undo) {
  const body = element("div", {});
  const more = element("button", { type: "button" }, "Earlier ones");
  const only = element("input", { type: "checkbox" });
  const table_ = table(["When (UTC)", "Who", "About", "What", "State", ""], []);
  let before = null;
  const load = async () => {
    const query = new URLSearchParams({ ...(before ? { before } : {}), ...(only.checked ? { subject } : {}) });
    const found = await get(`/api/recordings/${encodeURIComponent(recording)}/history?${query}`);
    const rows = found.decisions.map((each) => {
      const open = each.state === "in force" || (each.state === "superseded");
      const button = open ? element("button", { type: "button", onclick: () => { byId("dialog").close(); undo(each.id); } }, "Undo") : "";
      return tableRow([each.at.replace("T", " ").replace("Z", ""), each.actor, each.now ? `${each.subject}, now ${each.now}` : each.subject, words(each), each.state, button]);
    });
    table_.querySelector("tbody").append(...rows);
    if (before === null && found.events.length && !only.checked) {
      body.append(element("h3", {}, "Status, tags, imports"), table(["When (UTC)", "Who", "What", "How"],
        found.events.map((each) => [each.at.replace("T", " ").replace("Z", ""), each.actor, each.action, JSON.stringify(each.details)])));
    }
    before = found.decisions.at(-1)?.id ?? before;
    more.hidden = !found.more;
    if (!table_.querySelector("tbody").children.length) table_.querySelector("tbody").append(tableRow(["Nobody has decided anything yet.", "", "", "", "", ""]));
  };
  more.onclick = load;
  only.onchange = () => {
    before = null;
    table_.querySelector("tbody").replaceChildren();
    body.replaceChildren(table_, more);
    load();
  };
  body.append(table_, more);
  await load();
  return ask("History", [element("label", {}, only, ` only ${subject}`), body], { cancel: false, ok: "Close", wide: true });
}

function words(each) {
  const value = Object.values(each.value || {}).map((content) => (typeof content === "object" ? JSON.stringify(content) : String(content)));
  return [each.action.replaceAll("_", " "), ...value, each.note && `“${each.note}”`].filter(Boolean).join(" ");
}

function table(heads, rows) {
  return element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((each) => element("th", { scope: "col" }, each)))), element("tbody", {}, ...rows.map(tableRow)));
}

function tableRow(cells) {
  return element("tr", {}, ...cells.map((each) => element("td", {}, each)));
}
