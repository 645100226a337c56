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

(function copyButtons() {
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {   // some browsers do not allow it for pages from disk
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  function button(label, textOf) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "quiet copy";
    made.textContent = label;
    made.addEventListener("click", async () => {
      await copy(textOf());
      made.textContent = "Copied";
      setTimeout(() => { made.textContent = label; }, 1500);
    });
    return made;
  }

  // The table as shown: without hidden columns and rows, in the reader's order.
  function markdown(table) {
    const shown = (element) => element.getClientRects().length > 0;
    const written = (cell) => cell.innerText.trim().replace(/\s+/g, " ")
      .replace(/[\\`*_[\]|]/g, "\\$&").replace(/</g, "&lt;");
    const lines = Array.from(table.rows).filter(shown)
      .map((row) => Array.from(row.cells).filter(shown).map(written));
    lines.splice(1, 0, lines[0].map(() => "---"));
    return lines.map((line) => `| ${line.join(" | ")} |\n`).join("");
  }

  for (const table of document.querySelectorAll("main .scroll > table")) {
    const place = document.createElement("p");
    place.className = "copy-table";
    place.append(button("Copy as Markdown", () => markdown(table)));
    table.parentElement.after(place);
  }
  for (const command of document.querySelectorAll("pre.command")) {
    command.after(button("Copy", () => command.textContent.trim()));
  }
})();

(function cellCommand() {
  const tools = document.querySelector("[data-tools=cell]");
  if (!tools) return;
  for (const select of tools.querySelectorAll("select")) {
    const place = document.querySelector(`[data-shows=${select.id}]`);
    select.addEventListener("change", () => { place.textContent = select.value; });
  }
  tools.hidden = false;
})();
