// What begins when the page is there: data, controls, theme, copying.
"use strict";

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  if (theme === "system") delete page.theme;
  else page.theme = theme;
  control("theme").textContent = `Theme: ${theme}`;
  try { localStorage.setItem("nst-theme", theme); } catch { /* Not kept. */ }
}

function storedTheme() {
  try { return localStorage.getItem("nst-theme"); } catch { return null; }
}

function soon(act) {
  let waiting = 0;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(act, 120);
  };
}

setTheme(THEMES.includes(storedTheme()) ? storedTheme() : "system");
control("theme").addEventListener("click", () => {
  setTheme(THEMES[(THEMES.indexOf(page.theme || "system") + 1) % THEMES.length]);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  const code = control(button.dataset.copy);
  window.getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected"; // Ctrl+C does the rest.
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

control("tools").addEventListener("submit", (event) => event.preventDefault());
control("text").addEventListener("input", soon(refresh));
control("value").addEventListener("input", soon(refresh));
control("column").addEventListener("change", fillValues);
for (const id of ["sort", "reverse", "style", "status", "run", "preset", "marked", "column", "grouped"]) {
  control(id).addEventListener("change", refresh);
}
for (const size of document.querySelectorAll("input[name=size]")) size.addEventListener("change", layOut);
window.addEventListener("scroll", show, { passive: true });
window.addEventListener("resize", soon(layOut));
window.addEventListener("beforeprint", showForPrint);
window.addEventListener("afterprint", endPrint);

loadIndex().then(() => {
  forgetDone();
  fillChoices();
  refresh();
  showCounts();
  page.ready = "yes";
}, (error) => { control("shown").textContent = error.message; });
