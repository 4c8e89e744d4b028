// One pair in full: pictures, curves, numbers, settings, files, the command that makes it again.
"use strict";

const dialog = document.getElementById("detail");
const opened = { place: -1, pair: -1 };
const TERMS = ["total", "content", "style", "tv"];

async function openDetail(place) {
  const pair = view.pairs[place];
  Object.assign(opened, { place, pair });
  const found = await detailOf(pair).catch((error) => ({ error: error.message, styles: [], columns: {} }));
  if (opened.pair !== pair) return;
  fillDetail(pair, found);
  if (!dialog.open) dialog.showModal();
}

function move(steps) {
  const place = opened.place + steps;
  if (place >= 0 && place < view.pairs.length) openDetail(place);
}

function fillDetail(pair, found) {
  const id = nst.ids[pair], facts = found.facts || {};
  control("detail-title").replaceChildren(foreign(id));
  control("detail-place").textContent = `${(opened.place + 1).toLocaleString("en")} of ${view.pairs.length.toLocaleString("en")}`;
  control("previous").disabled = opened.place === 0;
  control("next").disabled = opened.place === view.pairs.length - 1;
  control("detail-error").hidden = !found.error;
  control("detail-error").textContent = found.error ? visible(`${textOf(pair, "status")}: ${found.error}`) : "";
  const content = found.content || {};
  const shape = facts.width ? `${facts.width} / ${facts.height}` : "";
  const image = found.image ? `${found.image}?${nst.numbers.date[pair]}` : "";
  compare(content.link, content.thumbnail, image, resultImage(pair), shape);
  control("sources").replaceChildren(
    source("Content", content), ...found.styles.map((style, number) => source(found.styles.length > 1 ? `Style ${number + 1}` : "Style", style)),
  );
  showSnapshots(found);
  showMarkButtons(id);
  control("tell").replaceChildren(
    numbers(found), curves(found.curve), table("Settings other than the defaults", found.settings, "All are the defaults."),
    files(found), again(pair, found), table("Columns of the manifest", found.columns), table("How it was made", facts),
  );
  control("tell").scrollTop = 0;
}

function source(title, named) {
  const shown = named.thumbnail || named.link;
  const extra = [named.weight !== undefined && named.weight !== 1 ? `weight ${named.weight}` : "", named.mask ? "with a mask" : ""].filter(Boolean);
  const name = foreign(fileName(named.uri || ""));
  return element("figure", { title: visible(named.uri || "") },
    element("img", { src: shown || null, alt: "", hidden: !shown }),
    element("figcaption", {}, element("b", {}, title), named.link ? element("a", { href: named.link }, name) : name,
      extra.length ? element("small", {}, extra.join(", ")) : null));
}

function showSnapshots(found) {
  const all = found.snapshots || [];
  control("snapshots-section").hidden = !all.length && !found.animation;
  control("snapshots").replaceChildren(...all.map((one) => element("a", { href: one.link },
    element("img", { src: one.link, alt: `After ${one.step} steps`, loading: "lazy" }), element("small", {}, one.step))));
  if (found.animation) control("snapshots").append(element("a", { href: found.animation }, "Animation"));
}

function numbers(found) {
  if (!found.terms) return "";
  const final = found.terms.final, errors = Object.entries(found.quality.gram_errors || {});
  const tiles = [["Loss", final.total], ["Content term", final.content], ["Style term", final.style],
    ["Variation term", final.tv], ["SSIM", found.quality.ssim], ["Seconds", (found.facts.seconds || {}).optimize]];
  return element("section", {}, element("dl", { class: "tiles small" },
    ...tiles.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, short(value))))),
  errors.length ? element("p", { class: "note" }, `Gram errors: ${errors.map(([layer, value]) => `${layer} ${short(value)}`).join(", ")}`) : "");
}

function table(title, values, otherwise = null) {
  const entries = Object.entries(values || {});
  if (!entries.length && !(otherwise && values)) return "";
  const rows = entries.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, foreign(name)),
    element("td", {}, foreign(typeof value === "string" ? value : JSON.stringify(value)))));
  return element("section", {}, element("h3", {}, title), rows.length ? element("table", {}, element("tbody", {}, ...rows)) : element("p", { class: "note" }, otherwise));
}

function files(found) {
  const all = [["Image", found.image], ["Loss log", found.losses], ["Record", found.record], ["Animation", found.animation]];
  const links = all.filter(([, link]) => link).map(([name, link]) => element("a", { href: link }, name));
  return links.length ? element("section", {}, element("h3", {}, "Files"), element("p", { class: "files" }, ...links)) : "";
}

function again(pair, found) {
  if (!found.row) return "";
  if (!found.command) {
    const reason = "Mark it redo, save the marks and run them.";
    return element("section", {}, element("h3", {}, "Make it again"), element("p", { class: "note" }, reason));
  }
  return element("section", {}, element("h3", {}, "Make it again"), element("p", { class: "command" },
    element("code", { id: "again" }, found.command), element("button", { type: "button", class: "copy", "data-copy": "again" }, "Copy")));
}

function drawn(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Terms by steps, on a logarithmic axis with a line for each power of ten.
function curves(curve) {
  if (!curve || curve.step.length < 2) return "";
  const values = TERMS.flatMap((term) => curve[term]).filter((value) => value > 0);
  if (!values.length) return "";
  const width = 440, height = 190, left = 54, bottom = 24, right = 8, top = 8;
  let low = Math.log10(Math.min(...values)), high = Math.log10(Math.max(...values));
  low = Math.max(low, high - 6);
  if (high - low < 0.2) { low -= 0.2; high += 0.2; }
  const first = curve.step[0], last = curve.step[curve.step.length - 1];
  const x = (step) => left + ((step - first) / (last - first || 1)) * (width - left - right);
  const y = (value) => top + ((high - Math.max(low, Math.log10(value))) / (high - low)) * (height - top - bottom);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, class: "curves", role: "img",
    "aria-label": TERMS.map((term) => `${term} from ${short(curve[term][0])} to ${short(curve[term].at(-1))}`).join("; ") });
  for (const tick of ticks(low, high)) {
    svg.append(drawn("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "rule" }),
      drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  for (const [step, anchor] of [[first, "start"], [last, "end"]]) {
    svg.append(drawn("text", { x: x(step), y: height - 6, "text-anchor": anchor }, `step ${step}`));
  }
  for (const term of TERMS) {
    const points = curve.step.map((step, place) => [step, curve[term][place]]).filter(([, value]) => value > 0);
    svg.append(drawn("polyline", { class: `term ${term}`, points: points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }));
  }
  const legend = element("p", { class: "legend" }, ...TERMS.map((term) => element("span", { class: term }, term)));
  return element("section", {}, element("h3", {}, "Weighted terms by step"), svg, legend);
}

function ticks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const factor of high - low > 2 ? [1] : [1, 2, 5]) {
      const at = Math.log10(factor) + power;
      if (at >= low && at <= high) found.push(factor * 10 ** power);
    }
  }
  return found;
}

document.addEventListener("keydown", (event) => {
  if (!dialog.open) return;
  const isText = event.target.matches("input:not([type=range]), select, textarea");
  if (isText || event.ctrlKey || event.metaKey || event.altKey) return;
  const slides = event.target.id === "cut";
  const id = nst.ids[opened.pair];
  if (event.key === "ArrowLeft" && !slides) move(-1);
  else if (event.key === "ArrowRight" && !slides) move(1);
  else if (event.key === "+" || event.key === "=") zoomTo(look.factor * 1.5);
  else if (event.key === "-") zoomTo(look.factor / 1.5);
  else if (event.key === "0") fit();
  else if (event.key in MARK_KEYS) marks.toggle(id, MARK_KEYS[event.key]);
  else return;
  event.preventDefault();
});
control("previous").addEventListener("click", () => move(-1));
control("next").addEventListener("click", () => move(1));
control("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => focusCard(opened.place));
