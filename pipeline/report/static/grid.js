// The grid: of ten thousand pairs only those lines exist that can be seen.
"use strict";

const SIZES = { s: [150, 168], m: [232, 256], l: [430, 424] }; // least width and height of a card, px
const HEADING = 44; // px
const GAP = 12;
const BESIDE = 240; // px above and below the window
const TALLEST = 12e6; // px that a browser can scroll

const grid = document.getElementById("grid");
const layout = { columns: 1, width: 0, lines: [], tops: [], height: 0, there: new Map(), printing: false };

function chosenSize() {
  return document.querySelector("input[name=size]:checked").value;
}

// Lines of cards, and headings between them where contents are compared.
function layOut() {
  if (layout.printing) return;
  const [least, height] = SIZES[chosenSize()];
  layout.columns = Math.max(1, Math.floor((grid.clientWidth + GAP) / (least + GAP)));
  layout.width = (grid.clientWidth - GAP * (layout.columns - 1)) / layout.columns;
  layout.lines = linesOf(view.pairs);
  layout.tops = [];
  let top = 0;
  for (const line of layout.lines) {
    layout.tops.push(top);
    top += (line.heading === undefined ? height : HEADING) + GAP;
  }
  layout.height = top;
  grid.style.height = `${Math.min(top, TALLEST)}px`;
  grid.dataset.size = chosenSize();
  for (const one of layout.there.values()) one.remove();
  layout.there.clear();
  show();
}

function linesOf(pairs) {
  const grouped = control("grouped").checked, lines = [];
  let content = null, line = null;
  pairs.forEach((pair, place) => {
    const own = nst.named.content.places[pair];
    if (grouped && own !== content) {
      content = own;
      lines.push({ heading: nst.named.content.texts[own] });
      line = null;
    }
    if (!line || line.count === layout.columns) {
      line = { first: place, count: 0 };
      lines.push(line);
    }
    line.count++;
  });
  return lines;
}

// Where the window is in the whole; taller than a browser can scroll, the whole passes faster.
function offset() {
  const scrolled = Math.max(0, window.scrollY - grid.offsetTop);
  if (layout.height <= TALLEST) return scrolled;
  const real = layout.height - window.innerHeight, shown = grid.offsetHeight - window.innerHeight;
  const within = Math.min(scrolled, shown); // What is below the grid passes as it is.
  return within * (real / shown) + scrolled - within;
}

function show() {
  if (layout.printing) return; // Paper moves the page.
  const from = offset(), shift = Math.max(0, window.scrollY - grid.offsetTop) - from;
  const first = lineAt(from - BESIDE), end = from + window.innerHeight + BESIDE;
  const wanted = new Set();
  for (let number = first; number < layout.lines.length && layout.tops[number] < end; number++) {
    wanted.add(number);
    if (!layout.there.has(number)) {
      const made = lineElement(layout.lines[number]);
      layout.there.set(number, made);
      grid.append(made);
    }
    layout.there.get(number).style.transform = `translateY(${layout.tops[number] + shift}px)`;
  }
  for (const [number, one] of layout.there) {
    if (!wanted.has(number) && !one.contains(document.activeElement)) {
      one.remove();
      layout.there.delete(number);
    }
  }
}

// On paper nothing scrolls: all lines one below the other, of so many pairs.
const PRINTED = 500;

function showForPrint() {
  layout.printing = true;
  for (const one of layout.there.values()) one.remove();
  layout.there.clear();
  let printed = 0;
  for (const [number, line] of layout.lines.entries()) {
    if (printed >= PRINTED) break;
    const made = lineElement(line);
    layout.there.set(number, made);
    grid.append(made);
    printed += line.count || 0;
  }
  const first = printed < view.pairs.length ? `The first ${printed.toLocaleString("en")} of ` : "";
  control("printed").textContent = `${first}${control("shown").textContent}.`;
  control("printed").hidden = false;
}

function endPrint() {
  layout.printing = false;
  control("printed").hidden = true;
  layOut();
}

function lineAt(top) {
  let low = 0, high = layout.tops.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (layout.tops[middle] <= top) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}

function lineElement(line) {
  const made = element("div", { class: "line", role: "presentation" });
  if (line.heading !== undefined) {
    made.append(element("div", { class: "heading", role: "listitem" }, foreign(fileName(line.heading))));
    return made;
  }
  made.style.gridTemplateColumns = `repeat(${layout.columns}, ${layout.width}px)`;
  for (let place = line.first; place < line.first + line.count; place++) made.append(card(place));
  return made;
}

function picture(source, kind) {
  const image = element("img", { src: source || null, alt: "", class: kind, decoding: "async", draggable: "false" });
  image.addEventListener("error", () => image.classList.add("missing"));
  if (!source) image.classList.add("missing");
  return image;
}

function card(place) {
  const pair = view.pairs[place], id = nst.ids[pair], status = textOf(pair, "status");
  const failed = status !== "ok", image = resultImage(pair);
  const style = fileName(textOf(pair, "style"));
  const label = `${visible(id)}, style ${visible(style)}${failed ? `, ${status}: ${visible(textOf(pair, "error"))}` : ""}`;
  const open = element("button", {
    type: "button", class: "open", "data-place": place, "aria-label": label, tabindex: place === grid.roving ? "0" : "-1",
    onclick: () => openDetail(place), onfocus: () => { grid.roving = place; },
  }, failed && !image ? element("span", { class: "reason" }, foreign(textOf(pair, "error"))) : picture(image, "result"));
  const sources = element("span", { class: "pair" }, picture(textOf(pair, "content_image"), "source"), picture(textOf(pair, "style_image"), "source"));
  const made = element("div", {
    class: `card${failed ? " failed" : ""}`, role: "listitem", "aria-posinset": place + 1, "aria-setsize": view.pairs.length,
  }, open, element("div", { class: "caption" }, sources,
    element("span", { class: "words" }, element("b", {}, foreign(id)), element("small", {}, visible(captionOf(pair, failed, style))))),
  badge(id));
  return made;
}

function captionOf(pair, failed, style) {
  if (failed) return textOf(pair, "status");
  const key = control("sort").value;
  if (key === "id" || key === "date") return style;
  return `${sortedBy(key, pair)} · ${style}`; // A long name is cut off at its end.
}

function sortedBy(key, pair) {
  const value = nst.numbers[key][pair];
  if (key !== "deviation") return short(value);
  if (value === null || value === undefined) return `Gram error ${short(nst.numbers.gram_error[pair])}`;
  return `${value > 0 ? "+" : ""}${value.toFixed(1)} σ`;
}

function badge(id) {
  const mark = marks.of(id);
  return element("span", { class: "badge", "data-mark": mark || null, hidden: !mark }, mark || "");
}

grid.roving = 0;

// Focus goes to a card that may not exist yet.
function focusCard(place) {
  const target = Math.max(0, Math.min(view.pairs.length - 1, place));
  grid.roving = target;
  const number = layout.lines.findIndex((line) => line.heading === undefined && target < line.first + line.count);
  if (number < 0) return;
  const top = layout.tops[number], from = offset(), [, height] = SIZES[chosenSize()];
  const tools = control("tools"), covered = getComputedStyle(tools).position === "sticky" ? tools.offsetHeight : 0;
  const above = Math.max(0, grid.offsetTop - window.scrollY), end = from + window.innerHeight - above;
  if (top < from + covered || top + height > end - control("marks").offsetHeight - GAP) {
    const scale = layout.height > TALLEST ? (grid.offsetHeight - window.innerHeight) / (layout.height - window.innerHeight) : 1;
    window.scrollTo(0, grid.offsetTop + (top - covered - GAP) * scale);
  }
  show();
  const found = grid.querySelector(`[data-place="${target}"]`);
  if (found) {
    found.tabIndex = 0;
    found.focus({ preventScroll: true });
  }
}

function showMark(id) {
  for (const open of grid.querySelectorAll(".open")) {
    const pair = view.pairs[Number(open.dataset.place)];
    if (nst.ids[pair] === id) open.parentElement.querySelector(".badge").replaceWith(badge(id));
  }
}

grid.addEventListener("keydown", (event) => {
  const open = event.target.closest(".open");
  if (!open || event.ctrlKey || event.metaKey || event.altKey) return;
  const place = Number(open.dataset.place);
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -layout.columns, ArrowDown: layout.columns };
  if (event.key in steps) focusCard(place + steps[event.key]);
  else if (event.key === "Home") focusCard(0);
  else if (event.key === "End") focusCard(view.pairs.length - 1);
  else if (event.key in MARK_KEYS) marks.toggle(nst.ids[view.pairs[place]], MARK_KEYS[event.key]);
  else return;
  event.preventDefault();
});
