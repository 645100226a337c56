"use strict";

// Keeps the reader's choices in the address, "#leaderboard?sort=latency_sec&hide=merging", so that
// a link shows the same.
const view = (function () {
  const read = () => new URLSearchParams(location.hash.split(/\?(.*)/s)[1] || "");
  const followers = [];
  let chosen = read();

  function write(section, values) {
    for (const [key, value] of Object.entries(values)) {
      if (value) chosen.set(key, value); else chosen.delete(key);
    }
    const query = chosen.toString();
    history.replaceState(null, "", query ? `#${section}?${query}` : `#${section}`);
  }

  function follow(restore) {
    followers.push(restore);
    restore(chosen);
  }

  function goTo() {
    const section = document.getElementById(location.hash.slice(1).split("?")[0]);
    if (section) section.scrollIntoView();
  }

  addEventListener("hashchange", () => {
    if (!location.hash.includes("?")) return;   // an ordinary link into the page
    chosen = read();
    for (const restore of followers) restore(chosen);
    goTo();
  });
  addEventListener("load", () => { if (location.hash.includes("?")) goTo(); });
  return { write, follow };
})();

const listed = (text) => (text || "").split("~").filter(Boolean);

(function leaderboard() {
  const table = document.getElementById("leaderboard-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const headers = Array.from(table.tHead.rows[0].cells);
  const tools = document.querySelector("[data-tools=leaderboard]");
  const filter = document.getElementById("filter");
  const families = Array.from(tools.querySelectorAll("input[name=family]"));
  const groups = Array.from(tools.querySelectorAll("input[name=columns]"));
  const usual = groups.filter((box) => box.checked).map((box) => box.value).join("~");
  const count = document.getElementById("count");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const sorted = { key: "rank", order: "ascending" };

  function compare(a, b, isText, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");   // missing values last
    return sign * (isText ? collator.compare(a, b) : Number(a) - Number(b));
  }

  const usualOrder = (header) => "down" in header.dataset ? "descending" : "ascending";

  function sortBy(key, order) {
    const header = headers.find((each) => each.dataset.key === key) || headers[0];
    Object.assign(sorted, { key: header.dataset.key, order: order || usualOrder(header) });
    for (const each of headers) each.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", sorted.order);
    const column = headers.indexOf(header);
    const sign = sorted.order === "ascending" ? 1 : -1;
    const isText = "text" in header.dataset;
    rows.sort((a, b) =>
      compare(a.cells[column].dataset.sort, b.cells[column].dataset.sort, isText, sign));
    body.append(...rows);
  }

  function narrow() {
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
    table.dataset.hide = groups.filter((box) => !box.checked).map((box) => box.value).join(" ");
  }

  function remember() {
    const hidden = families.filter((box) => !box.checked).map((box) => box.value);
    const open = groups.filter((box) => box.checked).map((box) => box.value).join("~");
    const first = sorted.key === "rank" && sorted.order === "ascending";
    view.write("leaderboard", {
      sort: first ? "" : sorted.key,
      order: first ? "" : sorted.order,
      q: filter.value,
      hide: hidden.join("~"),
      columns: open === usual ? "" : open || "none",
    });
  }

  function restore(chosen) {
    const hidden = listed(chosen.get("hide"));
    const open = listed(chosen.get("columns") || usual);
    filter.value = chosen.get("q") || "";
    for (const box of families) box.checked = !hidden.includes(box.value);
    for (const box of groups) box.checked = open.includes(box.value);
    if (chosen.get("sort") || sorted.key !== "rank") sortBy(chosen.get("sort"), chosen.get("order"));
    narrow();
  }

  for (const header of headers) {
    header.querySelector("button").addEventListener("click", () => {
      const turned = sorted.order === "ascending" ? "descending" : "ascending";
      sortBy(header.dataset.key, header.dataset.key === sorted.key ? turned : usualOrder(header));
      remember();
    });
  }
  for (const control of [filter, ...families, ...groups]) {
    control.addEventListener("input", () => { narrow(); remember(); });
  }
  tools.hidden = false;
  view.follow(restore);
})();
