// Marks: kept in this browser, and saved as a manifest that `nst run` takes as it is.
"use strict";

const MARK_KEYS = { k: "keep", r: "redo", x: "reject" };
const KEPT_AS = `nst-marks ${page.output}`;
// What is most often changed to have a picture anew.
const FILLED_IN = ["content_weight", "style_weight", "tv_weight", "style_scale", "steps", "seed", "image_size"];

const kept = readMarks();
const marks = {
  all: new Map(kept.map(([id, mark]) => [id, mark])),
  results: new Map(kept.map(([id, , result]) => [id, result])), // by id: which one was marked
  of: (id) => (marks.all.has(id) ? marks.all.get(id) : ""),
  toggle(id, mark) {
    if (marks.of(id) === mark) marks.all.delete(id);
    else marks.all.set(id, mark);
    marks.results.set(id, resultOf(nst.ids.indexOf(id)));
    keepMarks();
    showMark(id);
    showMarkButtons(id);
    showCounts();
  },
};

function readMarks() {
  try {
    return JSON.parse(localStorage.getItem(KEPT_AS) || "[]").map((one) => [...one]);
  } catch {
    return []; // A browser that keeps nothing for pages from a disk.
  }
}

function keepMarks() {
  try {
    localStorage.setItem(KEPT_AS, JSON.stringify([...marks.all].map(([id, mark]) => [id, mark, marks.results.get(id)])));
  } catch { /* They last as long as the page. */ }
}

// What tells a result from those of its pair before and after it.
function resultOf(pair) {
  return nst.numbers.date[pair] ? `${nst.numbers.date[pair]} ${textOf(pair, "run")}` : "";
}

// Redo is done once another result is there; saved again, it would be done again with every run.
function forgetDone() {
  const before = marks.all.size;
  nst.ids.forEach((id, pair) => {
    const marked = marks.results.get(id), now = resultOf(pair);
    if (marks.of(id) === "redo" && typeof marked === "string" && now && now !== marked) marks.all.delete(id);
  });
  if (marks.all.size < before) keepMarks();
}

function showMarkButtons(id) {
  if (nst.ids[opened.pair] !== id) return;
  for (const button of control("detail-marks").children) {
    button.setAttribute("aria-pressed", String(marks.of(id) === button.textContent));
  }
}

function showCounts() {
  const counts = {};
  for (const mark of marks.all.values()) counts[mark] = (counts[mark] || 0) + 1;
  control("marks").hidden = !marks.all.size;
  control("marks-count").textContent = Object.values(MARK_KEYS).filter((mark) => counts[mark]).map((mark) => `${counts[mark]} ${mark}`).join(", ");
}

// In the order of the catalog; the columns that all have come first.
async function markedRows() {
  const rows = [];
  for (let pair = 0; pair < nst.count; pair++) {
    const mark = marks.of(nst.ids[pair]);
    if (!mark) continue;
    const found = await detailOf(pair);
    rows.push({ ...found.row, mark });
  }
  const setting = control("fill").value, value = control("fill-value").value;
  if (setting) {
    for (const row of rows) {
      const column = `options.${setting}`;
      row[column] = row.mark === "redo" && value ? value : row[column] || "";
    }
  }
  return rows;
}

function csvOf(rows) {
  const first = ["id", "mark", "content", "style"];
  const others = new Set(rows.flatMap(Object.keys));
  for (const name of first) others.delete(name);
  const names = [...first, ...[...others].sort((a, b) => b.startsWith("options.") - a.startsWith("options.") || (a < b ? -1 : 1))];
  const lines = [names.map((name) => csvCell(name)), ...rows.map((row) => names.map((name) => csvCell(row[name] ?? "")))];
  return lines.map((cells) => cells.join(",")).join("\n") + "\n";
}

function csvCell(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}

function schemeOf(uri) {
  const found = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(uri);
  return found ? found[1].toLowerCase() : "file";
}

// Whether the runs of marked pairs were told that URLs may lead to private hosts.
function allowsPrivateHosts() {
  const runs = new Set(JSON.parse(page.privateRuns));
  return nst.ids.some((id, pair) => marks.of(id) && runs.has(textOf(pair, "run")));
}

function runCommand(rows) {
  const words = ["nst", "run", "--manifest", "marks.csv", "--output", page.output];
  const usual = new Set(["file", "gs", schemeOf(page.output)]);
  // What a row was refused for is not allowed by marking it.
  const refused = new Set(nst.ids.filter((_, pair) => textOf(pair, "status") === "manifest_invalid"));
  const read = rows.filter((row) => !refused.has(row.id));
  const named = new Set(read.flatMap((row) => [schemeOf(row.content), row.style.startsWith("[") ? "" : schemeOf(row.style)]).filter(Boolean));
  for (const match of read.flatMap((row) => [...row.style.matchAll(/"([a-z][a-z0-9+.-]*):\/\//gi)])) named.add(match[1].toLowerCase());
  if ([...named].some((one) => !usual.has(one))) words.push("--allow-schemes", [...new Set([...usual, ...named])].sort().join(","));
  if (allowsPrivateHosts()) words.push("--allow-private-hosts");
  // Rows have their own, but a run looks for those that it is told first.
  const weights = rows.map((row) => row["options.weights"]).find(Boolean);
  if (weights) words.push("--weights", weights.startsWith('"') ? JSON.parse(weights) : weights);
  return words.map(quoted).join(" ");
}

async function saveMarks() {
  const rows = await markedRows();
  const link = element("a", { href: URL.createObjectURL(new Blob([csvOf(rows)], { type: "text/csv" })), download: "marks.csv" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  control("then").hidden = false;
  control("then-command").textContent = runCommand(rows);
}

control("detail-marks").append(...Object.entries(MARK_KEYS).map(([key, mark]) => element("button", {
  type: "button", class: `mark ${mark}`, "aria-keyshortcuts": key, onclick: () => marks.toggle(nst.ids[opened.pair], mark),
}, mark)));
control("fill").append(element("option", { value: "" }, "nothing"), ...FILLED_IN.map((name) => element("option", { value: name }, name)));
control("save").addEventListener("click", saveMarks);
control("clear").addEventListener("click", () => {
  if (!window.confirm(`Forget ${marks.all.size} marks in this browser?`)) return;
  marks.all.clear();
  keepMarks();
  showCounts();
  refresh();
});
