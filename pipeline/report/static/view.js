// Which pairs are shown, and in which order.
"use strict";

const DESCENDING = new Set(["deviation", "date", "total", "content_loss", "style_loss", "gram_error", "seconds"]);
const FILTERS = ["style", "status", "run", "preset"];

const view = { pairs: [], lines: null };

function control(id) {
  return document.getElementById(id);
}

function choices(select, texts, shown = visible) {
  const before = select.value;
  select.replaceChildren(element("option", { value: "" }, "all"));
  texts.forEach((text, place) => {
    if (text) select.append(element("option", { value: String(place) }, shown(text)));
  });
  select.value = before;
}

function fillChoices() {
  for (const name of FILTERS) {
    choices(control(name), nst.named[name].texts, name === "style" ? styleNames() : visible);
  }
  const columns = [...nst.columns.keys()];
  choices(control("column"), columns);
  control("column").firstChild.textContent = columns.length ? "any" : "none";
}

// A style's file name, or where several have that, all of its URI.
function styleNames() {
  const count = new Map();
  for (const uri of nst.named.style.texts) count.set(fileName(uri), (count.get(fileName(uri)) || 0) + 1);
  return (uri) => visible(count.get(fileName(uri)) > 1 ? uri : fileName(uri));
}

const VALUES_OFFERED = 500;

function fillValues() {
  const table = chosenColumn();
  control("value-label").hidden = !table;
  const offered = table ? table.texts.filter(Boolean).slice(0, VALUES_OFFERED) : [];
  control("values").replaceChildren(...offered.map((text) => element("option", { value: text })));
  control("value").value = "";
}

function chosenColumn() {
  const place = control("column").value;
  return place === "" ? null : [...nst.columns.values()][Number(place)];
}

function searched(words) {
  const tables = [nst.named.content, nst.named.style, ...nst.columns.values()];
  const found = tables.map((table) => table.texts.map((text) => text.toLowerCase()));
  return (pair) => words.every((word) => nst.ids[pair].toLowerCase().includes(word)
    || tables.some((table, which) => found[which][table.places[pair]].includes(word)));
}

function conditions() {
  const found = [];
  for (const name of FILTERS) {
    const chosen = control(name).value;
    if (chosen !== "") found.push((pair) => nst.named[name].places[pair] === Number(chosen));
  }
  const column = chosenColumn(), value = control("value").value.trim().toLowerCase();
  if (column && value) {
    const fits = column.texts.map((text) => text.toLowerCase() === value);
    found.push((pair) => fits[column.places[pair]]);
  }
  const marked = control("marked").value;
  if (marked) found.push((pair) => (marks.of(nst.ids[pair]) || "none") === marked);
  const words = control("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) found.push(searched(words));
  return found;
}

function compareBy(key, reversed) {
  const sign = (DESCENDING.has(key) ? -1 : 1) * (reversed ? -1 : 1);
  if (key === "id") return (a, b) => sign * (nst.ids[a] < nst.ids[b] ? -1 : 1);
  const compare = compareNumbers(nst.numbers[key], sign);
  // Of too few alike nobody knows what is usual.
  const otherwise = key === "deviation" ? compareNumbers(nst.numbers.gram_error, sign) : () => 0;
  return (a, b) => compare(a, b) || otherwise(a, b) || a - b;
}

// What has no number comes last.
function compareNumbers(numbers, sign) {
  return (a, b) => {
    const one = numbers[a] ?? null, other = numbers[b] ?? null;
    if (one === null || other === null) return (one === null) - (other === null);
    return sign * (one - other);
  };
}

// Every change of a filter, an order or a size comes through here.
function refresh() {
  const wanted = conditions(), pairs = [];
  for (let pair = 0; pair < nst.count; pair++) {
    if (wanted.every((fits) => fits(pair))) pairs.push(pair);
  }
  pairs.sort(compareBy(control("sort").value, control("reverse").checked));
  view.pairs = control("grouped").checked ? byContent(pairs) : pairs;
  control("shown").textContent = pairs.length === nst.count
    ? `${nst.count.toLocaleString("en")} pairs`
    : `${pairs.length.toLocaleString("en")} of ${nst.count.toLocaleString("en")} pairs`;
  control("none").hidden = pairs.length > 0;
  layOut();
}

// Contents in the order of their first pair; the pairs of each stay in theirs.
function byContent(pairs) {
  const groups = new Map();
  for (const pair of pairs) {
    const content = nst.named.content.places[pair];
    if (groups.has(content)) groups.get(content).push(pair);
    else groups.set(content, [pair]);
  }
  return [...groups.values()].flat();
}
