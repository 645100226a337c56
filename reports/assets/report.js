"use strict";

(function themeButton() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("melange-theme", root.dataset.theme); } catch (error) { /* off */ }
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();

(function leaderboard() {
  const table = document.getElementById("leaderboard-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const headers = Array.from(table.tHead.rows[0].cells);
  const tools = document.querySelector("[data-tools=leaderboard]");
  const filter = document.getElementById("filter");
  const families = Array.from(document.querySelectorAll("input[name=family]"));
  const details = Array.from(document.querySelectorAll("input[name=detail]"));
  const count = document.getElementById("count");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function compare(a, b, isText, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");   // what is missing stays last
    return sign * (isText ? collator.compare(a, b) : Number(a) - Number(b));
  }

  function sortBy(header) {
    const column = headers.indexOf(header);
    const now = header.getAttribute("aria-sort");
    const first = "down" in header.dataset ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = now === first ? other : first;
    for (const each of headers) each.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const isText = "text" in header.dataset;
    rows.sort((a, b) =>
      compare(a.cells[column].dataset.sort, b.cells[column].dataset.sort, isText, sign));
    body.append(...rows);
  }

  function apply() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set(families.filter((box) => box.checked).map((box) => box.value));
    let number = 0;
    for (const row of rows) {
      const text = `${row.cells[1].dataset.sort} ${row.cells[2].dataset.sort}`.toLowerCase();
      row.hidden = !shown.has(row.dataset.family) || !words.every((word) => text.includes(word));
      number += row.hidden ? 0 : 1;
    }
    count.textContent = number === rows.length
      ? `${number} candidate${number === 1 ? "" : "s"}`
      : `${number} of ${rows.length} candidates`;
  }

  for (const header of headers) {
    header.querySelector("button").addEventListener("click", () => sortBy(header));
  }
  filter.addEventListener("input", apply);
  for (const box of families) box.addEventListener("change", apply);
  for (const radio of details) {
    radio.addEventListener("change", () => { table.dataset.detail = radio.value; });
  }
  tools.hidden = false;
})();
