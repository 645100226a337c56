"use strict";

(function trends() {
  const SVG = "http://www.w3.org/2000/svg";
  const CARD = { width: 320, height: 116, left: 3, right: 3, top: 15, bottom: 15, full: true };
  const SPARK = { width: 152, height: 34, left: 2, right: 2, top: 4, bottom: 4, full: false };
  const courses = Array.from(document.querySelectorAll("script[data-trends]"),
    (block) => JSON.parse(block.textContent));
  const holders = Array.from(document.querySelectorAll("[data-chart]"));

  const round = (number) => Math.round(number * 10) / 10;
  const each = (value, index) => Array.isArray(value) ? value[index] : value;

  function element(parent, name, attributes, text) {
    const made = parent.appendChild(document.createElementNS(SVG, name));
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /* What a chart's coordinates follow from: days across, its own values and intervals up. */
  function frame(course, chart, box) {
    const days = course.runs.map((run) => run.day);
    const span = days[days.length - 1] - days[0] || 1;
    const ends = [...chart.value, ...chart.low, ...chart.high].filter((end) => end !== null);
    let low = Infinity, high = -Infinity;
    for (const end of ends) { low = Math.min(low, end); high = Math.max(high, end); }
    const lowest = low, highest = high;
    if (low === high) { low -= Math.abs(low) * .05 || 1; high += Math.abs(high) * .05 || 1; }
    const across = box.width - box.left - box.right, up = box.height - box.top - box.bottom;
    return {
      lowest, highest,
      x: (run) => round(box.left + (days.length === 1 ? .5 : (days[run] - days[0]) / span) * across),
      y: (value) => round(box.height - box.bottom - (value - low) / (high - low) * up),
    };
  }

  /* Stretches of neighbouring runs: a run without the number, or a break, ends one. */
  function stretches(chart) {
    const found = [];
    chart.at.forEach((run, index) => {
      const joined = index > 0 && run === chart.at[index - 1] + 1 && !chart.breaks.includes(run);
      if (joined) found[found.length - 1].push(index); else found.push([index]);
    });
    return found;
  }

  function path(points) {
    return points.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y}`).join("");
  }

  function drawRuns(svg, chart, at) {
    for (const part of stretches(chart)) {
      const ends = part.filter((index) => chart.low[index] !== null && chart.high[index] !== null);
      const above = ends.map((index) => [at.x(chart.at[index]), at.y(chart.high[index])]);
      const below = ends.map((index) => [at.x(chart.at[index]), at.y(chart.low[index])]);
      if (ends.length > 1) {
        element(svg, "path", { class: "band", d: `${path([...above, ...below.reverse()])}Z` });
      }
      const line = part.map((index) => [at.x(chart.at[index]), at.y(chart.value[index])]);
      if (line.length === 1) line.push([line[0][0] + .1, line[0][1]]);
      element(svg, "path", { class: "run", d: path(line), "stroke-linecap": "round" });
    }
  }

  function drawSteps(svg, chart, at, box) {
    for (const run of chart.breaks) {
      element(svg, "path", { class: "break", d: `M${at.x(run)} ${box.top}V${box.height - box.bottom}` });
    }
    if (chart.steps.length || chart.breaks.length) {
      for (const [first, last, level] of chart.levels) {
        element(svg, "path", { class: "level", d: `M${at.x(first)} ${at.y(level)}H${at.x(last)}` });
      }
    }
    for (const [run, verdict] of chart.steps) {
      const x = at.x(run), size = box.full ? 4.5 : 3;
      const [before, after] = levelsAround(chart, run);
      const [tip, foot] = after > before ? [0, size * 1.6] : [size * 1.6, 0];
      const y = box.full ? 2 : 0;
      element(svg, "path", { class: `step ${verdict}`,
        d: `M${x} ${y + tip}L${round(x - size)} ${y + foot}H${round(x + size)}Z` });
    }
  }

  function levelsAround(chart, run) {
    const next = chart.levels.findIndex(([first]) => first >= run);
    return [chart.levels[next - 1][2], chart.levels[next][2]];
  }

  function drawAxes(svg, course, at, box) {
    const floor = box.height - box.bottom;
    element(svg, "path", { class: "axis", d: `M0 ${floor}H${box.width}` });
    element(svg, "text", { x: box.left, y: box.top - 5 }, String(at.highest));
    element(svg, "text", { x: box.left, y: floor - 3 }, at.lowest === at.highest ? "" : String(at.lowest));
    const day = (run) => run.name.slice(0, 10);
    element(svg, "text", { x: box.left, y: box.height - 3 }, day(course.runs[0]));
    if (course.runs.length > 1) {
      element(svg, "text", { x: box.width - box.right, y: box.height - 3, "text-anchor": "end" },
        day(course.runs[course.runs.length - 1]));
    }
  }

  function draw(holder) {
    if (holder.firstChild) return;
    const course = courses[holder.dataset.course];
    const chart = course.charts[holder.dataset.chart];
    const box = holder.classList.contains("trend-spark") ? SPARK : CARD;
    const at = frame(course, chart, box);
    const svg = element(holder, "svg", {
      viewBox: `0 0 ${box.width} ${box.height}`, "aria-hidden": "true",
      preserveAspectRatio: box.full ? "xMinYMid meet" : "none",
    });
    if (box.full) drawAxes(svg, course, at, box);
    drawRuns(svg, chart, at);
    drawSteps(svg, chart, at, box);
    if (box.full) drawCursor(holder, svg, at, box);
  }

  /* The run under the pointer or the keyboard. */
  function drawCursor(holder, svg, at, box) {
    const group = element(svg, "g", { visibility: "hidden" });
    const line = element(group, "path", { class: "cursor", d: "" });
    const dot = element(group, "circle", { class: "cursor-dot", r: 3.2 });
    const chart = courses[holder.dataset.course].charts[holder.dataset.chart];
    holder.at = at;
    holder.show = (index) => {
      const x = at.x(chart.at[index]);
      line.setAttribute("d", `M${x} ${box.top}V${box.height - box.bottom}`);
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", at.y(chart.value[index]));
      group.setAttribute("visibility", "visible");
    };
    holder.clear = () => group.setAttribute("visibility", "hidden");
  }

  function describe(course, chart, index) {
    const low = chart.low[index], high = chart.high[index], n = each(chart.n, index);
    const parts = [`${course.runs[chart.at[index]].name}: ${chart.value[index]} ${chart.unit}`];
    if (low !== null && high !== null) parts.push(`${low}–${high}`);
    if (n !== null) parts.push(`n ${n}`);
    const step = chart.steps.find(([run]) => run === chart.at[index]);
    if (step) parts.push(`step, ${step[1]}`);
    if (chart.breaks.includes(chart.at[index])) parts.push("from here on it measures something else");
    return parts.join(" · ");
  }

  function makeUsable(holder) {
    const course = courses[holder.dataset.course];
    const chart = course.charts[holder.dataset.chart];
    const readout = holder.parentElement.querySelector(".trend-readout");
    const last = chart.at.length - 1;
    let now = last;

    function select(index) {
      draw(holder);
      now = Math.min(Math.max(index, 0), last);
      const text = describe(course, chart, now);
      holder.setAttribute("aria-valuenow", now);
      holder.setAttribute("aria-valuetext", text);
      readout.textContent = text;
      holder.show(now);
    }
    function leave() {
      readout.textContent = "";
      if (holder.clear) holder.clear();
    }
    function nearest(event) {
      draw(holder);
      const box = holder.firstChild.getBoundingClientRect();
      const x = (event.clientX - box.left) * CARD.width / box.width;
      const gaps = chart.at.map((run) => Math.abs(holder.at.x(run) - x));
      return gaps.indexOf(Math.min(...gaps));
    }
    function open() {
      const { href } = course.runs[chart.at[now]];
      if (href) location.href = href;
    }
    const moves = {
      ArrowLeft: () => now - 1, ArrowDown: () => now - 1, ArrowRight: () => now + 1,
      ArrowUp: () => now + 1, PageDown: () => now - 30, PageUp: () => now + 30,
      Home: () => 0, End: () => last,
    };
    holder.tabIndex = 0;
    const attributes = {
      role: "slider", "aria-label": `${holder.dataset.label}: run`, "aria-valuemin": 0,
      "aria-valuemax": last, "aria-valuenow": last, "aria-valuetext": describe(course, chart, last),
    };
    for (const [name, value] of Object.entries(attributes)) holder.setAttribute(name, value);
    holder.addEventListener("keydown", (event) => {
      if (event.key === "Enter") open();
      if (!(event.key in moves)) return;
      event.preventDefault();
      select(moves[event.key]());
    });
    holder.addEventListener("focus", () => select(now));
    holder.addEventListener("blur", leave);
    holder.addEventListener("pointermove", (event) => select(nearest(event)));
    holder.addEventListener("pointerleave", () => {
      if (document.activeElement !== holder) leave();
    });
    holder.addEventListener("click", (event) => { select(nearest(event)); open(); });
  }

  function makeFilters() {
    const tools = document.querySelector("[data-tools=trends]");
    if (!tools) return;
    const filter = document.getElementById("trend-filter");
    const count = document.getElementById("trend-count");
    const boxes = Array.from(document.querySelectorAll("input[name=trend-family]"));
    const shows = Array.from(document.querySelectorAll("input[name=trend-show]"));
    const cards = Array.from(document.querySelectorAll(".trend-card"));
    const groups = Array.from(document.querySelectorAll(".trend-group"));
    function apply() {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const families = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      const all = shows.find((one) => one.checked).value === "all";
      let number = 0;
      for (const card of cards) {
        const name = card.dataset.candidate.toLowerCase();
        card.hidden = !families.has(card.dataset.family) || !(all || "stepped" in card.dataset) ||
          !words.every((word) => name.includes(word));
        number += card.hidden ? 0 : 1;
      }
      for (const group of groups) group.hidden = !group.querySelector(".trend-card:not([hidden])");
      count.textContent = `${number} of ${cards.length} trends`;
    }
    filter.addEventListener("input", apply);
    for (const one of [...boxes, ...shows]) one.addEventListener("change", apply);
    apply();
    tools.hidden = false;
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { draw(entry.target); seen.unobserve(entry.target); }
    }
  }, { rootMargin: "400px" });
  for (const holder of holders) {
    seen.observe(holder);
    if (!holder.classList.contains("trend-spark")) makeUsable(holder);
  }
  addEventListener("beforeprint", () => holders.forEach(draw));
  makeFilters();
})();
