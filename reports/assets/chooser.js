"use strict";

// Finds the best candidate within bounds from the numbers on the page. A bound is met if the whole
// 95 % interval is within it, and cannot be told if only a part is. A missing number meets no bound:
// its candidate is listed with the reason.
(function chooser() {
  const form = document.getElementById("chooser-form");
  if (!form) return;
  const data = JSON.parse(document.getElementById("chooser-data").textContent);
  const answer = document.getElementById("chooser-answer");
  const inputs = data.bounds.map((bound) => document.getElementById(`bound-${bound.key}`));
  const units = data.bounds.map((bound) => document.getElementById(`unit-${bound.key}`));
  const families = Array.from(form.querySelectorAll("input[name=choose]"));

  const unitOf = (at) => {
    const bound = data.bounds[at];
    const select = units[at];
    return select ? bound.units[select.selectedIndex] : bound.units[bound.unit];
  };

  // The bound in storage units; null if the reader gave none.
  const limitOf = (at) => inputs[at].value === "" ? null : inputs[at].valueAsNumber * unitOf(at)[1];

  const digits = (value) => value === 0 ? "0" : Math.abs(value) >= 1000
    ? Math.round(value).toLocaleString("en").replace(/,/g, "\u202f")
    : Number(value.toPrecision(3)).toString();

  const written = (at, value) => {
    const [label, factor] = unitOf(at);
    return `${digits(value / factor)}${label ? ` ${label}` : ""}`;
  };

  // "met", "not met", "cannot tell" or "not known".
  function verdict(at, candidate, limit) {
    const value = candidate.values[at];
    if (limit === null) return "met";
    if (typeof value === "string") return "not known";
    const [, low, high] = value;
    const [worst, best] = data.bounds[at].most ? [high, low] : [-low, -high];
    const signed = data.bounds[at].most ? limit : -limit;
    return worst <= signed ? "met" : best > signed ? "not met" : "cannot tell";
  }

  function shown(at, candidate) {
    const value = candidate.values[at];
    if (typeof value === "string") return value || "not measured";
    const [number, low, high] = value;
    return written(at, number) + (low < high ? `, ${written(at, low)} to ${written(at, high)}` : "");
  }

  function element(name, ...content) {
    const made = document.createElement(name);
    made.append(...content);
    return made;
  }

  function link(candidate) {
    const made = element("a", candidate.name);
    made.href = candidate.href;
    return made;
  }

  function named(candidates, noteOf) {
    return candidates.flatMap((candidate, i) => {
      const note = noteOf ? noteOf(candidate) : "";
      return [i ? ", " : "", link(candidate), note ? ` (${note})` : ""];
    });
  }

  function judge() {
    const limits = data.bounds.map((bound, at) => limitOf(at));
    const wanted = new Set(families.filter((box) => box.checked).map((box) => box.value));
    const excluded = [];
    const out = new Set();
    function exclude(why, candidates, noteOf) {
      if (!candidates.length) return;
      excluded.push(element("li", `${why}: `, ...named(candidates, noteOf)));
      for (const candidate of candidates) out.add(candidate);
    }
    const all = data.candidates;
    exclude("Family not chosen", all.filter((one) => !wanted.has(one.family)));
    exclude("No accuracy that compares", all.filter((one) => one.gap), (one) => one.gap);
    data.bounds.forEach((bound, at) => {
      const limit = limits[at];
      const side = bound.most ? "above" : "below";
      const those = (said) => all.filter((one) => verdict(at, one, limit) === said);
      const why = (one) => shown(at, one);
      const stated = limit === null ? "" : written(at, limit);
      exclude(`${bound.label} ${side} ${stated}`, those("not met"), why);
      exclude(`Cannot tell whether ${bound.label.toLowerCase()} is ${side} ${stated}`,
        those("cannot tell"), why);
      exclude(`${bound.label} is not known`, those("not known"), why);
    });
    return { fitting: all.filter((one) => !out.has(one)), excluded };
  }

  // data.candidates is sorted by accuracy, so the first that fits is the best.
  function show() {
    const { fitting, excluded } = judge();
    const parts = [];
    if (!fitting.length) {
      parts.push(element("p", element("strong", "Nothing fits."),
        ` None of the ${data.candidates.length} candidates is within these bounds.`));
    } else {
      const best = fitting[0];
      const facts = data.bounds.map((bound, at) => typeof best.values[at] === "string"
        ? "" : `${bound.label.toLowerCase()} ${shown(at, best)}`).filter(Boolean);
      parts.push(element("p", "The best is ", element("strong", link(best)),
        ` (${best.family}): ${best.accuracy}${facts.length ? `; ${facts.join(", ")}` : ""}.`));
      const alike = fitting.filter((one) => best.alike.includes(data.candidates.indexOf(one)));
      parts.push(alike.length
        ? element("p", "Cannot be told apart from it in accuracy: ",
          ...named(alike, (one) => one.accuracy), ".")
        : element("p", fitting.length === 1 ? "Nothing else fits."
          : `The other ${fitting.length - 1} that fit are significantly worse.`));
      parts.push(element("p", `${fitting.length} of ${data.candidates.length} candidates fit.`));
    }
    if (excluded.length) parts.push(element("ul", ...excluded));
    answer.replaceChildren(...parts);
  }

  function remember() {
    const values = Object.fromEntries(data.bounds.map((bound, at) =>
      [bound.key, inputs[at].value && `${inputs[at].value}~${unitOf(at)[0]}`]));
    values.without = families.filter((box) => !box.checked).map((box) => box.value).join("~");
    view.write("choose-within-bounds", values);
  }

  function restore(chosen) {
    data.bounds.forEach((bound, at) => {
      const [number, label] = listed(chosen.get(bound.key));
      inputs[at].value = number || "";
      const unit = bound.units.findIndex((each) => each[0] === label);
      if (units[at]) units[at].selectedIndex = unit < 0 ? bound.unit : unit;
    });
    const without = listed(chosen.get("without"));
    for (const box of families) box.checked = !without.includes(box.value);
    show();
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { show(); remember(); });
  form.hidden = false;
  view.follow(restore);
})();
