"use strict";

/* Charts of trends, by uPlot (vendor/uplot); steps, breaks and levels are elements over them. */
(function trends() {
  const root = document.documentElement;
  const courses = Array.from(document.querySelectorAll("script[data-trends]"),
    (block) => JSON.parse(block.textContent));
  const holders = Array.from(document.querySelectorAll("[data-chart]"));
  const plots = new Map();
  const DAY = 86_400;
  const VALUE = 3;   // drawn after the interval's ends, so that its line is on top
  const PAPER = { width: 290, height: 110 };   // three fit side by side on a landscape page
  const numbers = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });

  const each = (value, index) => Array.isArray(value) ? value[index] : value;
  const isSpark = (holder) => holder.classList.contains("trend-spark");
  const sizeOf = (holder) => ({ width: holder.clientWidth, height: holder.clientHeight });
  const chartOf = (holder) => courses[holder.dataset.course].charts[holder.dataset.chart];
  const runsOf = (holder) => courses[holder.dataset.course].runs;

  // The page's colours, read whenever something is drawn.
  const colour = (plot) => getComputedStyle(plot.root).color;
  const axisStyle = (plot) => getComputedStyle(plot.root.querySelector(".u-axis"));

  /* A chart's three series in uPlot. A missing number or a break interrupts the line. */
  function seriesOf(chart, runs) {
    const joined = (run) => !chart.breaks.includes(run) &&
      [run - 1, run].every((one) => typeof chart.value[one] === "number");
    const alone = [...runs.keys()].filter((run) => !joined(run) && !joined(run + 1));
    const gaps = (plot, series, first, last, found) => {
      const x = (run) => Math.round(plot.valToPos(runs[run].time, "x", true));
      const more = chart.breaks.map((run) => [x(run - 1), x(run)]);
      return [...found, ...more].sort(([left], [right]) => left - right);
    };
    const end = { stroke: null, width: 0, alpha: .15, gaps, points: { show: false } };
    const value = {
      stroke: colour, width: 1.1, gaps,
      points: { fill: colour, filter: (plot, series, areShown) => areShown ? null : alone },
    };
    return [{}, end, end, value];
  }

  function axesOf() {
    const axis = {
      stroke: (plot) => axisStyle(plot).color, font: "10px system-ui, sans-serif", ticks: { show: false },
      grid: { stroke: (plot) => axisStyle(plot).borderTopColor, width: 1 }, gap: 4,
    };
    // Runs are labelled by day, and by hour if they are close together.
    const times = (plot, splits, index, space, step) => splits.map((time) =>
      new Date(time * 1e3).toISOString().slice(...(step < DAY ? [5, 16] : [0, 10])).replace("T", " "));
    return [
      { ...axis, values: times, space: 90, size: 22 },
      { ...axis, values: (plot, splits) => splits.map((one) => numbers.format(one)), space: 24, size: 44 },
    ];
  }

  function cursorOf(holder) {
    if (isSpark(holder)) return { show: false };
    return {
      y: false, drag: { x: false, setScale: false }, hover: { skip: [null] },
      points: { size: (plot, series) => series === VALUE ? 7 : 0 },
      // A run chosen by keyboard stays chosen when the pointer leaves.
      bind: { mouseleave: (plot, target, leave) => (event) =>
        holder.contains(document.activeElement) ? null : leave(event) },
    };
  }

  function draw(holder) {
    if (plots.has(holder)) return plots.get(holder);
    const chart = chartOf(holder), runs = runsOf(holder);
    const hidden = [{ show: false }, { show: false }];
    const plot = new uPlot({
      ...sizeOf(holder), series: seriesOf(chart, runs), bands: [{ series: [1, 2], fill: colour }],
      axes: isSpark(holder) ? hidden : axesOf(), padding: isSpark(holder) ? [8, 3, 3, 3] : [14, 28, 0, 0],
      scales: { x: { range: (made, first, last) =>
        runs.length > 1 ? [first, last] : [first - DAY / 2, first + DAY / 2] } },
      tzDate: (time) => uPlot.tzDate(new Date(time * 1e3), "UTC"),
      legend: { show: false }, cursor: cursorOf(holder),
      hooks: {
        ready: [(made) => overlay(made, chart, runs)],
        setCursor: [({ cursor }) => holder.read(cursor.idx === null ? null : cursor.idxs[VALUE])],
      },
    }, [runs.map((run) => run.time), chart.high, chart.low, chart.value], holder);
    plot.batch(() => {});   // draw now: a cursor needs scales
    plots.set(holder, plot);
    resized.observe(holder);
    return plot;
  }

  /* Breaks, levels and steps, placed in percent of the plot, so that they scale with it. */
  function overlay(plot, chart, runs) {
    const share = (value, scale) => {
      const { min, max } = plot.scales[scale];
      return (value - min) / (max - min) * 100;
    };
    const x = (run) => share(runs[run].time, "x");
    function add(kind, style, text = "") {
      const mark = document.createElement("span");
      mark.className = kind;
      mark.textContent = text;
      for (const [name, value] of Object.entries(style)) mark.style[name] = `${value}%`;
      plot.over.append(mark);
    }
    for (const run of chart.breaks) add("break", { left: x(run) });
    if (chart.steps.length || chart.breaks.length) {
      for (const [first, last, level] of chart.levels) {
        add("level", { left: x(first), right: 100 - x(last), bottom: share(level, "y") });
      }
    }
    for (const [run, verdict, rises] of chart.steps) {
      add(`step ${verdict}`, { left: x(run) }, rises ? "▲" : "▼");
    }
  }

  function describe(chart, runs, run) {
    const low = chart.low[run], high = chart.high[run], n = each(chart.n, run);
    const parts = [`${runs[run].name}: ${chart.value[run]} ${chart.unit}`];
    if (low !== null && high !== null) parts.push(`${low}–${high}`);
    if (n !== null) parts.push(`n ${n}`);
    const step = chart.steps.find(([at]) => at === run);
    if (step) parts.push(`step, ${step[1]}`);
    if (chart.breaks.includes(run)) parts.push("from here on it measures something else");
    return parts.join(" · ");
  }

  /* Pointer and keyboard move the same cursor; it is announced, and opens the run's report.
     The keyboard moves it through a slider, which is invisible. */
  function makeUsable(holder) {
    const chart = chartOf(holder), runs = runsOf(holder);
    const known = [...runs.keys()].filter((run) => chart.value[run] !== null);
    const readout = holder.parentElement.querySelector(".trend-readout");
    const last = known.length - 1;
    const slider = Object.assign(document.createElement("input"), {
      type: "range", max: last, value: last, ariaLabel: `${holder.dataset.label}: run` });
    const say = () => { slider.ariaValueText = describe(chart, runs, known[slider.value]); };

    holder.read = (run) => {
      if (run !== null) slider.value = known.indexOf(run);
      say();
      readout.textContent = run === null ? "" : slider.ariaValueText;
    };
    function select() {
      const plot = draw(holder);
      plot.setCursor({ left: plot.valToPos(runs[known[slider.value]].time, "x"), top: 0 });
    }
    function open() {
      const { href } = runs[known[slider.value]];
      if (href) location.href = href;
    }
    say();
    holder.append(slider);
    slider.addEventListener("focus", select);
    slider.addEventListener("input", select);
    slider.addEventListener("blur", () => draw(holder).setCursor({ left: -10, top: -10 }));
    slider.addEventListener("keydown", ({ key }) => { if (key === "Enter") open(); });
    holder.addEventListener("click", open);
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
  const fit = (holder) => { if (holder.clientWidth) plots.get(holder).setSize(sizeOf(holder)); };
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => fit(target)));
  const repaint = () => plots.forEach((plot) => plot.redraw(false));

  for (const holder of holders) {
    seen.observe(holder);
    if (!isSpark(holder)) makeUsable(holder);
  }
  new MutationObserver(repaint).observe(root, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("beforeprint", () => {
    root.style.colorScheme = "light";
    for (const holder of holders) draw(holder).setSize(isSpark(holder) ? sizeOf(holder) : PAPER);
  });
  addEventListener("afterprint", () => {
    root.style.colorScheme = "";
    holders.forEach(fit);
  });
  makeFilters();
})();
