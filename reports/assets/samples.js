"use strict";

// The browser of samples: a list of examples, and the chosen one with its responses.
(async function samplesBrowser() {
  const root = document.getElementById("browser");
  if (!root) return;
  const ROW_PX = 60;            // height of .hit in report.css
  const FOLD = [1500, 300];     // characters of a response shown at its start and end
  const GLYPHS = { right: "✓", wrong: "✗", partly: "◐", missing: "–" };
  const part = (name) => root.querySelector(`[data-part=${name}]`);
  const facts = JSON.parse(part("facts").textContent);
  const { examples } = facts;
  const boxes = [...root.querySelectorAll("input[name=column]")];
  const radios = [...root.querySelectorAll("input[name=show]")];
  const [list, rows, detail] = ["list", "rows", "content"].map(part);

  const questions = new Blocks("questions", facts.questionStep, examples.length);
  const answers = new Blocks("answers", facts.answerStep, examples.length);
  const scores = new Float64Array(await inflated(root.querySelector("[data-piece=scores]")));
  const good = scores.map((score) => facts.higherIsBetter ? score : 1 - score);
  const candidates = new Map(facts.candidates.map(({ slug, columns }, index) => {
    const box = boxes.find((one) => one.value === slug);
    const label = box.parentElement;
    const from = index * examples.length;
    return [slug, { slug, columns, box, label, from, name: label.querySelector(".name").textContent }];
  }));

  const goodOf = (slug, row) => good[candidates.get(slug).from + row];

  function verdict(slug, row) {
    const value = goodOf(slug, row);
    if (Number.isNaN(value)) return "missing";
    return value >= 1 ? "right" : value <= 0 ? "wrong" : "partly";
  }

  // ---- the listed examples, and the chosen one

  const state = { a: "", b: "", show: "all", query: "", found: null, hits: [], row: 0 };
  // A and B first, if they are among the columns.
  function shown() {
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    return [...new Set([state.a, state.b, ...chosen])].filter((slug) => chosen.has(slug));
  }

  function tests() {
    const { a, b } = state;
    const columns = shown();
    const is = (slug, wanted) => (row) => verdict(slug, row) === wanted;
    const both = (one, other) => (row) => one(row) && other(row);
    const known = (row) => columns.map((slug) => goodOf(slug, row)).filter((x) => !Number.isNaN(x));
    return {
      "all": () => true,
      "a-not-b": both(is(a, "right"), is(b, "wrong")),
      "b-not-a": both(is(b, "right"), is(a, "wrong")),
      "a-above-b": (row) => goodOf(a, row) > goodOf(b, row),
      "b-above-a": (row) => goodOf(b, row) > goodOf(a, row),
      "both-wrong": both(is(a, "wrong"), is(b, "wrong")),
      "a-right": is(a, "right"),
      "a-wrong": is(a, "wrong"),
      "a-partly": is(a, "partly"),
      "disagree": (row) => new Set(known(row)).size > 1,
      "none-right": (row) => !columns.some((slug) => verdict(slug, row) === "right"),
    };
  }

  function update({ keep = false } = {}) {
    const pool = state.found ?? [...examples.keys()];
    for (const [name, test] of Object.entries(tests())) {
      const fitting = pool.filter(test);
      root.querySelector(`[data-tally=${name}]`).textContent = grouped(fitting.length);
      if (name === state.show) state.hits = fitting;
    }
    if (!keep && !state.hits.includes(state.row)) state.row = state.hits[0] ?? state.row;
    tell();
    select(state.row);
  }

  function tell() {
    const names = { A: candidates.get(state.a).name, B: candidates.get(state.b).name };
    const { textContent } = radios.find((one) => one.value === state.show).nextElementSibling;
    const said = textContent.replace(/^(?![AB]\b)./, (letter) => letter.toLowerCase())
      .replace(/\b[AB]\b/g, (letter) => names[letter]);
    const asked = [state.show !== "all" && said,
      state.query && `“${state.query}” found`].filter(Boolean);
    const all = `${grouped(examples.length)} examples`;
    part("hits").textContent =
      asked.length ? `${grouped(state.hits.length)} of ${all}: ${asked.join(", ")}` : all;
    const columns = shown().map((slug) => candidates.get(slug).name);
    part("columns-note").textContent = `${columns.length} of ${candidates.size}: ${columns.join(", ")}`;
  }

  function select(row) {
    state.row = row;
    const at = state.hits.indexOf(row);
    if (at >= 0) {
      const top = at * ROW_PX;
      const lowest = top + ROW_PX - list.clientHeight;
      list.scrollTop = Math.max(Math.min(list.scrollTop, top), lowest);
    }
    drawList();
    drawExample();
    rememberSoon();
  }

  function step(by) {
    const { hits, row } = state;
    const at = hits.indexOf(row);
    // From an example that is not listed, move to the nearest listed one in that direction.
    const after = hits.findIndex((hit) => hit > row);
    const outside = by > 0 ? after : (after < 0 ? hits.length : after) - 1;
    const next = at < 0 ? outside : Math.max(0, Math.min(hits.length - 1, at + by));
    if (hits[next] !== undefined && hits[next] !== row) select(hits[next]);
  }

  // ---- the list: only rows in view are in the document

  function drawList() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - 4);
    const number = Math.ceil(list.clientHeight / ROW_PX) + 8;
    const inView = state.hits.slice(first, first + number);
    rows.style.height = `${state.hits.length * ROW_PX}px`;
    rows.replaceChildren(...inView.map((row, i) => option(row, first + i)));
    const active = inView.includes(state.row) ? `hit-${state.row}` : "";
    list.setAttribute("aria-activedescendant", active);
  }

  function option(row, at) {
    const columns = shown().slice(0, 8);
    const verdicts = columns.map((slug) => verdict(slug, row));
    const head = element("span", { className: "hit-head" }, String(examples[row]),
      ...verdicts.map(glyphOf));
    const start = element("span", { className: "start" });
    const made = element("div", { className: "hit", id: `hit-${row}`, role: "option" }, head, start);
    const said = columns.map((slug, i) => `${candidates.get(slug).name} ${verdicts[i]}`);
    made.ariaLabel = `Example ${examples[row]}: ${said.join(", ")}`;
    made.ariaSelected = String(row === state.row);
    made.ariaPosInSet = String(at + 1);
    made.ariaSetSize = String(state.hits.length);
    made.dataset.row = row;
    made.style.top = `${at * ROW_PX}px`;
    questions.row(row).then(([prompt]) => {
      const text = textOf(prompt);
      const question = text.slice(-questionOf(text)[1]).trim();
      start.append(...spelled(question.slice(0, 200).replace(/\s+/g, " ")));
    });
    return made;
  }

  // ---- the example

  let drawing = 0;
  async function drawExample() {
    const ticket = ++drawing;
    const { row, hits } = state;
    const at = hits.indexOf(row);
    part("title").textContent = `Example ${examples[row]}`;
    part("place").textContent = !hits.length ? "No example fits."
      : at < 0 ? `not among the ${grouped(hits.length)} listed`
        : `${grouped(at + 1)} of ${grouped(hits.length)}`;
    for (const { slug, label } of candidates.values()) {
      label.querySelector(".glyph").replaceWith(glyphOf(verdict(slug, row)));
    }
    const [[prompt, target], cells] = await Promise.all([questions.row(row), answers.row(row)]);
    if (ticket !== drawing) return;
    const responses = shown().map((slug) => responseOf(candidates.get(slug), row, cells));
    detail.replaceChildren(questionAndTarget(textOf(prompt), textOf(target)),
      element("div", { className: "responses" }, ...responses));
    root.dataset.shown = examples[row];
  }

  const glyphOf = (is) =>
    element("span", { className: `glyph ${is}`, ariaHidden: "true" }, GLYPHS[is]);

  function questionAndTarget(prompt, target) {
    const card = (title, content) =>
      element("div", {}, element("dt", {}, title), element("dd", {}, ...content));
    return element("dl", { className: "question" },
      card("Prompt", folded(prompt, questionOf(prompt), "prompt")),
      card("Target", folded(target, FOLD, "target")));
  }

  function responseOf({ slug, name, label, columns, from }, row, cells) {
    const own = (kind) => columns[kind] === undefined ? null : cells[columns[kind]];
    const is = verdict(slug, row);
    const words = { partly: `score ${scores[from + row].toPrecision(2)}`, missing: "no score" }[is] ?? is;
    const letters = ["A", "B"].filter((letter) => state[letter.toLowerCase()] === slug);
    const head = element("h3", { className: "sample-head" },
      label.querySelector(".mark").cloneNode(true),
      ...letters.map((letter) => element("span", { className: "letter" }, letter)),
      element("a", { href: `../candidates/${slug}.html` }, name),
      element("span", { className: `verdict ${is}` }, `${GLYPHS[is]} ${words}`));
    const response = own("response");
    const body = response ? folded(textOf(response), FOLD, `response of ${name}`)
      : [element("p", { className: "muted" }, "No response was kept for this example.")];
    const asked = ["prompt", "target"].filter(own).map((kind) => element("details", {},
      element("summary", {}, `A ${kind} of its own`),
      ...folded(textOf(own(kind)), FOLD, `${kind} of ${name}`)));
    const kept = keptOf(name, columns, own);
    const chances = own("logprobs") ? [choices(own("logprobs"))] : [];
    return element("div", { className: `response ${is}` }, head, ...body, ...kept, ...asked, ...chances);
  }

  // What the task's filters had before them and what each left, if that is not just the response.
  function keptOf(name, columns, own) {
    const filters = Object.keys(columns).filter((kind) => kind.startsWith("filtered:"));
    const left = filters.filter(own).map((kind) => element("div", {},
      element("dt", {}, `Filter ${kind.slice("filtered:".length)}`),
      element("dd", {}, ...folded(textOf(own(kind)), FOLD, `answer of ${name} by ${kind}`))));
    const texts = { whole: "Text before the filters", texts: "All texts" };
    const whole = Object.keys(texts).filter(own).map((kind) => element("details", { open: kind === "whole" },
      element("summary", {}, texts[kind]), ...folded(textOf(own(kind)), FOLD, `text of ${name}`)));
    return [...whole, ...(left.length ? [element("dl", { className: "filters" }, ...left)] : [])];
  }

  // ---- text search: block by block, so that the page stays responsive

  let searches = 0;
  async function find() {
    const ticket = ++searches;
    state.query = part("search").value.trim();
    const needle = state.query.toLowerCase();
    const places = shown().map((slug) => candidates.get(slug).columns)
      .flatMap(({ response, whole, texts }) => [response, whole, texts])
      .filter((place) => place !== undefined);
    const found = [];
    for (let row = 0; needle && row < examples.length; row++) {
      const [asked, cells] = await Promise.all([questions.row(row), answers.row(row)]);
      if (ticket !== searches) return;
      const texts = [...asked, ...places.map((place) => cells[place])].filter(Boolean);
      if (texts.some((text) => textOf(text).toLowerCase().includes(needle))) found.push(row);
    }
    state.found = needle ? found : null;
    update();
  }

  // ---- the state is kept in the address

  let writing = 0;
  function rememberSoon() {
    clearTimeout(writing);
    // Browsers limit changes of the address to a few a second.
    writing = setTimeout(() => {
      const pairs = Object.entries({ a: state.a, b: state.b, show: state.show,
        columns: shown().join(","), find: state.query })
        .map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
      history.replaceState(null, "", `#${[`example-${examples[state.row]}`, ...pairs].join("&")}`);
    }, 300);
  }

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const [first, second = first] = facts.shown;
    const known = (key, otherwise) => candidates.has(given.get(key)) ? given.get(key) : otherwise;
    state.a = known("a", first);
    state.b = known("b", state.a === first ? second : first);
    const columns = given.get("columns")?.split(",") ?? [...facts.shown, state.a, state.b];
    for (const box of boxes) box.checked = columns.includes(box.value);
    const wanted = radios.find((radio) => radio.value === given.get("show")) ?? radios[0];
    state.show = wanted.value;
    wanted.checked = true;
    for (const letter of ["a", "b"]) part(letter).value = state[letter];
    part("search").value = given.get("find") ?? "";
    const link = [...given.keys()].map((key) => /^example-(-?\d+)$/.exec(key)).find(Boolean);
    const row = link ? examples.indexOf(Number(link[1])) : -1;
    state.row = Math.max(row, 0);
    update({ keep: row >= 0 });
    if (part("search").value) find();
  }

  // ---- controls

  function goTo({ target }) {
    const row = examples.indexOf(Number(target.value));
    const wrong = target.value !== "" && row < 0;
    target.setCustomValidity(wrong ? `Examples go from ${examples[0]} to ${examples.at(-1)}.` : "");
    target.reportValidity();
    if (target.value !== "" && !wrong) select(row);
  }

  function choose({ target }) {
    if (target === part("goto")) goTo({ target });
    else if (target.name === "show") state.show = target.value;
    else if (target.name === "candidate") {
      state[target.dataset.part] = target.value;
      candidates.get(target.value).box.checked = true;
    }
    if (target.name === "column" && state.query) find();
    else if (target.name) update();
  }

  function swap() {
    [state.a, state.b] = [state.b, state.a];
    for (const letter of ["a", "b"]) part(letter).value = state[letter];
    update();
  }

  const KEYS = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };

  function listKey(event) {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    step(KEYS[event.key]);
  }

  function pageKey(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const modified = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
    if (by && !modified && !event.target.closest("input, select, textarea")) step(by);
  }

  let typing = 0;
  part("tools").addEventListener("change", choose);
  part("tools").addEventListener("submit", (event) => event.preventDefault());
  part("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(find, 200);
  });
  part("swap").addEventListener("click", swap);
  part("previous").addEventListener("click", () => step(-1));
  part("next").addEventListener("click", () => step(1));
  list.addEventListener("scroll", drawList);
  list.addEventListener("keydown", listKey);
  list.addEventListener("click", ({ target }) => {
    const hit = target.closest(".hit");
    if (hit) select(Number(hit.dataset.row));
  });
  document.addEventListener("keydown", pageKey);
  addEventListener("hashchange", readAddress);
  addEventListener("resize", drawList);
  if (!good.some((value) => value > 0 && value < 1)) {
    for (const box of root.querySelectorAll("[data-graded]")) box.hidden = true;
  }
  root.hidden = false;
  document.getElementById("opening").hidden = true;
  readAddress();
})();
