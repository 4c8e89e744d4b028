// Content and result on one another, with a cut between them that moves; enlarged and moved about.
"use strict";

const stage = document.getElementById("stage");
const look = { factor: 1, x: 0, y: 0, from: null };
const LARGEST = 16;

// The content is shown up to the cut, the result beyond it.
function cutAt(percent) {
  const cut = document.getElementById("cut");
  cut.value = percent;
  cut.setAttribute("aria-valuetext", `${cut.value} % content`);
  stage.style.setProperty("--cut", `${percent}%`);
}

document.getElementById("cut").addEventListener("input", (event) => cutAt(event.target.value));

function place() {
  const box = stage.getBoundingClientRect();
  const roomX = (box.width * (look.factor - 1)) / 2, roomY = (box.height * (look.factor - 1)) / 2;
  look.x = Math.max(-roomX, Math.min(roomX, look.x));
  look.y = Math.max(-roomY, Math.min(roomY, look.y));
  stage.style.setProperty("--zoom", `translate(${look.x}px, ${look.y}px) scale(${look.factor})`);
  stage.classList.toggle("moving", look.factor > 1);
  document.getElementById("factor").textContent = `${Math.round(look.factor * 100)} %`;
}

function zoomTo(factor) {
  const before = look.factor;
  look.factor = Math.max(1, Math.min(LARGEST, factor));
  look.x *= look.factor / before;
  look.y *= look.factor / before;
  place();
}

function fit() {
  Object.assign(look, { factor: 1, x: 0, y: 0 });
  place();
}

document.getElementById("in").addEventListener("click", () => zoomTo(look.factor * 1.5));
document.getElementById("out").addEventListener("click", () => zoomTo(look.factor / 1.5));
document.getElementById("fit").addEventListener("click", fit);
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomTo(look.factor * (event.deltaY < 0 ? 1.2 : 1 / 1.2));
}, { passive: false });
stage.addEventListener("pointerdown", (event) => {
  look.from = { x: event.clientX - look.x, y: event.clientY - look.y };
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  if (!look.from) return;
  if (look.factor > 1) {
    look.x = event.clientX - look.from.x;
    look.y = event.clientY - look.from.y;
    place();
  } else {
    const box = stage.getBoundingClientRect();
    cutAt(Math.max(0, Math.min(100, (100 * (event.clientX - box.left)) / box.width)));
  }
});
for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => { look.from = null; });

// The pictures of one pair; a source that is not to be had gives way to its thumbnail.
function compare(before, small, after, instead, shape) {
  // Of a pair that failed there is no result to compare; its content is below.
  stage.hidden = document.querySelector(".controls").hidden = !after && !instead;
  stage.style.aspectRatio = shape || "4 / 3";
  setPicture(document.getElementById("after"), after, instead, "Result");
  setPicture(document.getElementById("before"), before || small, small, "Content");
  cutAt(0);
  fit();
}

function setPicture(image, source, instead, name) {
  image.hidden = !source;
  image.alt = source ? name : "";
  image.onerror = () => {
    image.onerror = () => { image.hidden = true; };
    if (instead && instead !== source) image.src = instead;
    else image.hidden = true;
  };
  if (source) image.src = source;
  else image.removeAttribute("src");
}
