"use strict";

// Shows texts of a run as text nodes only, so that nothing in them becomes markup.

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });
const textOf = (bytes) => bytes ? UTF8.decode(bytes) : "";
const grouped = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");

// Control characters and direction marks, which are invisible or reorder other characters.
const UNSEEN = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

// The text as nodes, with names in place of invisible characters.
function spelled(text) {
  const nodes = [];
  let at = 0;
  for (const { 0: letter, index } of text.matchAll(UNSEEN)) {
    const code = letter.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    const name = element("span", { className: "unseen", textContent: `U+${code}` });
    nodes.push(text.slice(at, index), name);
    at = index + 1;
  }
  return [...nodes, text.slice(at)];
}

// The first `head` and last `tail` code units, without halves of surrogate pairs.
function ends(text, head, tail) {
  const gap = element("span", { className: "clip", textContent: " … " });
  const start = text.slice(0, head).replace(/[\ud800-\udbff]$/, "");
  const end = text.slice(text.length - tail).replace(/^[\udc00-\udfff]/, "");
  return [...spelled(start), gap, ...spelled(end)];
}

// A text with its middle collapsed, unless that would save little.
function folded(text, [head, tail], label) {
  const pre = element("pre", {}, ...spelled(text));
  if (text.length <= head + tail + 200) return [pre];
  const button = element("button", { type: "button", className: "quiet" });
  const show = (open) => {
    pre.replaceChildren(...(open ? spelled(text) : ends(text, head, tail)));
    button.textContent = open ? "Show less" : `Show all ${grouped(text.length)} characters`;
    button.setAttribute("aria-expanded", open);
    button.setAttribute("aria-label", `${button.textContent} of the ${label}`);
  };
  button.addEventListener("click", () => show(button.getAttribute("aria-expanded") === "false"));
  show(false);
  return [pre, button];
}

// Characters of a prompt to show at its ends: the question, not the few-shot examples.
function questionOf(prompt) {
  const at = prompt.lastIndexOf("\n\n", prompt.length - 60);
  const question = prompt.length - at - 2;
  return at < 0 || question > 1200 ? [300, 900] : [0, question];
}

// Each choice's log-probability, and its share of the probability of all of them.
function choices(bytes) {
  const nats = [...new Float32Array(bytes.slice().buffer)];
  const most = Math.max(...nats);
  const weights = nats.map((one) => Math.exp(one - most));
  const sum = weights.reduce((left, right) => left + right, 0);
  const items = nats.map((one, i) => {
    const text = one.toFixed(2).replace("-", "\u2212");
    const item = element("li", { className: one === most ? "chosen" : "" }, text);
    item.style.setProperty("--share", `${(100 * weights[i]) / sum}%`);
    return item;
  });
  const title = element("p", {}, "Log-probabilities of the choices (nats)");
  return element("div", { className: "choices" }, title, element("ol", {}, ...items));
}
