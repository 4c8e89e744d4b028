// What is known of every pair: numbers in lists, texts once each; details come when they are wanted.
"use strict";

const page = document.documentElement.dataset;
const MEASURES = ["total", "content_loss", "style_loss", "ssim", "gram_error", "seconds"];
const NAMED = ["content", "style", "run", "preset", "status", "error", "extension", "content_image", "style_image"];

const nst = {
  count: 0,
  ids: [],
  numbers: { date: [], deviation: [] },
  named: {}, // by name: texts, and for each pair its place among them
  columns: new Map(), // the manifest's other columns, in the same form
  details: new Map(),
};
for (const name of MEASURES) nst.numbers[name] = [];
for (const name of NAMED) nst.named[name] = newTable();

function newTable() {
  return { texts: [], places: [], known: new Map() };
}

function placeOf(table, text) {
  let place = table.known.get(text);
  if (place === undefined) {
    place = table.texts.push(text) - 1;
    table.known.set(text, place);
  }
  return place;
}

function append(table, added, start) {
  const places = added.texts.map((text) => placeOf(table, text));
  if (table.places.length < start) fillUp(table, start);
  for (const place of added.places) table.places.push(places[place]);
}

function fillUp(table, count) {
  const empty = placeOf(table, "");
  while (table.places.length < count) table.places.push(empty);
}

// The data's scripts call these three.
nst.index = (number, shard) => {
  const start = nst.count;
  nst.count += shard.id.length;
  for (const id of shard.id) nst.ids.push(id);
  for (const value of shard.date) nst.numbers.date.push(value);
  for (const name of MEASURES) for (const value of shard[name]) nst.numbers[name].push(value);
  for (const name of NAMED) append(nst.named[name], shard.named[name], start);
  for (const [name, table] of shard.columns) {
    if (!nst.columns.has(name)) nst.columns.set(name, newTable());
    append(nst.columns.get(name), table, start);
  }
  for (const table of nst.columns.values()) fillUp(table, nst.count);
};
nst.deviation = (values) => { nst.numbers.deviation = values; };
nst.detail = (number, pairs) => nst.details.set(number, pairs);

function loadScript(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${page.folder}/${name}.js`;
    script.async = false; // In this order.
    script.onload = () => { script.remove(); resolve(); };
    script.onerror = () => reject(new Error(`${script.src} cannot be loaded; make the report anew.`));
    document.head.append(script);
  });
}

function numbered(kind, number) {
  return `${kind}-${String(number).padStart(5, "0")}`;
}

function loadIndex() {
  const names = [];
  for (let number = 0; number < Number(page.indexFiles); number++) names.push(numbered("index", number));
  return Promise.all([...names, "deviation"].map(loadScript));
}

const DETAILS_KEPT = 40;

async function detailOf(pair) {
  const size = Number(page.detailPairs);
  const number = Math.floor(pair / size);
  if (!nst.details.has(number)) {
    await loadScript(numbered("detail", number));
    if (nst.details.size > DETAILS_KEPT) nst.details.delete(nst.details.keys().next().value);
  }
  return nst.details.get(number)[pair % size];
}

function textOf(pair, name) {
  const table = nst.named[name];
  return table.texts[table.places[pair]];
}

function fileName(uri) {
  return uri.split(" + ").map((one) => one.slice(one.lastIndexOf("/") + 1)).join(" + ");
}

// Marks that turn the direction of the text around them, or hide in it, are written out.
function visible(text) {
  return String(text).replace(/[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g,
    (one) => `⟨U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

function encodedPath(path) {
  return path.split("/").map(encodeURIComponent).join("/");
}

// The picture of a result: its thumbnail, or where there is none, or large ones are wanted, itself.
function resultImage(pair) {
  const id = encodedPath(nst.ids[pair]);
  const extension = textOf(pair, "extension");
  if (!nst.numbers.date[pair]) return "";
  const path = extension ? `images/${id}.${extension}` : `thumbnails/${id}@240.webp`;
  return `../${path}?${nst.numbers.date[pair]}`;
}

function short(number) {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  if (number !== 0 && (Math.abs(number) >= 1e5 || Math.abs(number) < 1e-3)) return number.toExponential(2);
  return String(Number(number.toPrecision(4)));
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Text that somebody else wrote.
function foreign(text) {
  return element("bdi", {}, visible(text));
}
