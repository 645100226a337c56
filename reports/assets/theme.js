"use strict";
(function () {
  let theme = null;
  try { theme = localStorage.getItem("melange-theme"); } catch (error) { /* storage is off */ }
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
})();
