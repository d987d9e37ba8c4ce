/**
 * Puts the page together: views, panel, files, keys; draws a frame when something changed; tells a test what is
 * shown.
 */

import { addressInput, askedFor, attachDrop, embeddedInput, filesInputs } from "./files.js";
import { VIEW_PLANES } from "./geometry.js";
import { pressKey } from "./keyboard.js";
import { byId, setText } from "./page.js";
import { Panel } from "./panel.js";
import { matchSize, PlaneView } from "./plane-view.js";
import { attachPointer } from "./pointer.js";
import { Projection } from "./projection.js";
import { Viewer } from "./viewer.js";
import { sizeText, valueText } from "./words.js";

/** @typedef {import('./files.js').Input} Input */

const AXES = ["z", "y", "x"];
const LONGEST_SHOWN = 80; // Longer addresses are cut in messages.
const SPEAK_MS = 400; // A screen reader says the position once it did not change for so long.
const STALE_PROJECTION_MS = 300; // While bricks arrive, the projection at rest is drawn again after so long.

const viewer = new Viewer(askedFor("gpu"));
const sections = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".view[data-plane]")]);
const planeViews = sections.map(
  (section, i) => new PlaneView(viewer, i, /** @type {HTMLCanvasElement} */ (section.querySelector("canvas"))),
);
const projection = new Projection(viewer, byId("projection", HTMLCanvasElement));
const panel = new Panel(viewer);
const statusLine = byId("status", HTMLElement);
const chooser = byId("chooser", HTMLInputElement);
const facts = { read: { bytes: 0 }, frames: 0, error: "", openedAt: 0, drawnAt: 0, firstPlanesAt: 0 };
let drawWanted = true;
let sizeChanged = true;
let besideWanted = false;
let opening = 0;
let hovered = /** @type {{ plane: number, at: number[] } | null} */ (null);

/**
 * Tell the user one line.
 * @param {string} text
 * @param {boolean} [bad]
 */
function say(text, bad = false) {
  statusLine.classList.toggle("bad", bad);
  setText(statusLine, text);
  facts.error = bad ? text : "";
}

/**
 * Open a file; if it is bad, say what is wrong and leave everything as it is.
 * @param {Promise<Input> | Input} input
 * @param {boolean} beside
 * @param {{ bytes: number }} [read]  what was read of it from a server
 * @param {string} [name]  of an input that is not there yet
 */
async function openInput(input, beside, read = { bytes: 0 }, name = "") {
  opening += 1;
  const mine = opening;
  const start = performance.now();
  say("Opening…");
  let what = name;
  try {
    const ready = await input;
    if (mine !== opening) return; // Another file was chosen meanwhile.
    what = ready.name;
    if (!(await viewer.open(ready, beside))) return;
    if (!viewer.second) facts.read = read; // That of the first file.
    showProgress();
    if (mine !== opening) return;
    const bad = [viewer.first, viewer.second].find((dataset) => dataset?.trouble);
    say(
      bad ? `${bad.name}: ${bad.trouble}` : `${ready.name} ${ready.parts.length > 1 ? "are" : "is"} open.`,
      bad !== undefined,
    );
    if (!beside) [facts.openedAt, facts.firstPlanesAt] = [start, 0];
  } catch (error) {
    if (mine === opening) say(`${what}: ${error instanceof Error ? error.message : String(error)}`, true);
  }
}

/**
 * Open one file, or two that are to lie beside each other.
 * @param {Input[]} inputs
 * @param {boolean} beside  whether the first goes beside the one that is open
 */
async function openInputs([input, other], beside) {
  await openInput(input, beside && !other);
  if (other && !facts.error) await openInput(other, true);
}

/**
 * @param {string} address
 * @param {boolean} [beside]
 */
function openAddress(address, beside = false) {
  const read = { bytes: 0 };
  const input = addressInput(address, (bytes) => {
    read.bytes += bytes;
  });
  return openInput(input, beside, read, address.slice(0, LONGEST_SHOWN));
}

/**
 * Let the user choose a file.
 * @param {boolean} beside
 */
function choose(beside) {
  besideWanted = beside && viewer.first !== null;
  chooser.value = "";
  chooser.click();
}

/**
 * Switch between light and dark; without a choice take what the system has.
 * @param {string} [theme]
 */
function setTheme(theme) {
  const now = theme ?? (document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  document.documentElement.dataset.theme = now;
  panel.refresh();
}

/**
 * Show or hide the panel.
 * @param {boolean} [shown]
 */
function togglePanel(shown = document.body.classList.contains("no-panel")) {
  document.body.classList.toggle("no-panel", !shown);
  byId("panel-button", HTMLElement).setAttribute("aria-expanded", String(shown));
  panel.refresh();
}

/** Show the state of the controls around the views. */
function showControls() {
  const { first, solo, tool } = viewer;
  setText(byId("title", HTMLElement), first ? first.meta.details?.name || first.name : "tinc viewer");
  document.title = first ? `${first.name} · tinc viewer` : "tinc viewer";
  byId("welcome", HTMLElement).hidden = first !== null;
  const views = byId("views", HTMLElement);
  document.body.classList.toggle("empty", !first);
  views.dataset.solo = String(solo);
  views.dataset.tool = tool;
  for (const button of document.querySelectorAll(".tools button")) {
    button.setAttribute("aria-pressed", String(button instanceof HTMLElement && button.dataset.tool === tool));
  }
  sections.forEach((section, i) => {
    section.querySelector(".large")?.setAttribute("aria-pressed", String(solo === i));
  });
}

/** Show the position on the sliders and in the status line. */
function showPosition() {
  const { first, at } = viewer;
  if (!first) return;
  sections.forEach((section, i) => {
    const axis = VIEW_PLANES[i].normal;
    const slider = /** @type {HTMLInputElement} */ (section.querySelector("input"));
    slider.max = String(first.shape[axis] - 1);
    slider.value = String(at[axis]);
    setText(/** @type {Element} */ (section.querySelector("output")), `${at[axis]} / ${first.shape[axis] - 1}`);
  });
  showReadout();
}

/** Show the values at the pointer, or else at the crosshair. */
function showReadout() {
  const { first } = viewer;
  const { plane, at } = hovered ?? { plane: viewer.plane, at: [...viewer.at] };
  const inside = first && at.every((position, axis) => position >= 0 && position < first.shape[axis]);
  if (!inside) return setText(byId("readout", HTMLElement), "");
  const values = viewer.sides().map(({ dataset, volumes, calibrated }) => {
    const numbers = volumes.map((volume) =>
      dataset.valueAt(dataset.prefix(volume, calibrated), VIEW_PLANES[plane], at),
    );
    return numbers.map((value) => (value === null ? "…" : valueText(value, first.meta))).join(", ");
  });
  const place = at
    .map((position, axis) => `${AXES[axis]} ${position}`)
    .reverse()
    .join("  ");
  setText(byId("readout", HTMLElement), `${place}  =  ${values.join("  |  ")}`);
}

/** Show how much of the volume is decoded. */
function showProgress() {
  const { first, cache } = viewer;
  const read = first && !first.eager ? `${sizeText(facts.read.bytes)} of ${sizeText(first.meta.nbytes)} read` : "";
  setText(byId("progress", HTMLElement), first ? read || `${sizeText(cache.bytes)} decoded` : "");
}

/** Fit the volume into the views where the user has not zoomed. */
function fitViews() {
  if (sizeChanged) for (const view of planeViews) view.size = matchSize(view.canvas);
  sizeChanged = false;
  const fitting = Math.min(...planeViews.map((view) => view.fitting));
  if (viewer.fitted && Number.isFinite(fitting)) viewer.scale = fitting;
}

/** Slices on the screen, that of the plane in use first. */
function slicesSeen() {
  const order = [viewer.plane, 0, 1, 2].filter((number, i, all) => all.indexOf(number) === i);
  return order.map((number) => planeViews[number].look()).filter((look) => look !== null);
}
viewer.seen = slicesSeen;

/**
 * Draw what changed.
 * @param {number} now
 */
function frame(now) {
  requestAnimationFrame(frame);
  if (drawWanted) {
    drawWanted = false;
    fitViews();
    for (const view of planeViews) view.draw();
    facts.frames += 1;
    facts.drawnAt = now;
    if (!facts.firstPlanesAt && viewer.first && planeViews.some(({ facts: { quality } }) => quality !== "empty"))
      facts.firstPlanesAt = now;
    showReadout();
    viewer.pool.pump();
  }
  if (
    !projection.turning &&
    now - projection.last > STALE_PROJECTION_MS &&
    projectionVersion !== viewer.first?.version
  ) {
    projectionVersion = viewer.first?.version ?? 0;
    projection.stale = true;
  }
  projection.tick(now, facts.drawnAt);
}
let projectionVersion = 0;
let speaking = 0;

const draw = () => {
  drawWanted = true;
};
viewer.addEventListener("draw", draw);
viewer.addEventListener("looks", () => {
  projection.stale = true;
  showControls();
});
viewer.addEventListener("moved", () => {
  showPosition();
  speak();
});

/** Say the position and its value to a screen reader, once both are known and rest. */
function speak() {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const text = byId("readout", HTMLElement).textContent ?? "";
    if (text.includes("…") && viewer.pool.running.size) speak();
    else setText(byId("spoken", HTMLElement), text);
  }, SPEAK_MS);
}
viewer.addEventListener("progress", showProgress);
viewer.addEventListener("removed", () => say(""));
viewer.addEventListener("trouble", (event) => say(String(/** @type {CustomEvent} */ (event).detail), true));
viewer.addEventListener("turning", () =>
  byId("turn", HTMLElement).setAttribute("aria-pressed", String(projection.turning)),
);
viewer.addEventListener("opened", () => {
  for (const view of planeViews) view.reset();
  showControls();
  showPosition();
  showProgress();
});
const resizes = new ResizeObserver(() => {
  sizeChanged = true;
  draw();
  panel.refresh();
});
for (const view of planeViews) resizes.observe(view.canvas);

sections.forEach((section, i) => {
  attachPointer(viewer, planeViews[i], (at) => {
    hovered = at && { plane: i, at };
    showReadout();
  });
  const slider = /** @type {HTMLInputElement} */ (section.querySelector("input"));
  slider.addEventListener("input", () => {
    viewer.plane = i;
    viewer.step(VIEW_PLANES[i].normal, Number(slider.value) - viewer.at[VIEW_PLANES[i].normal]);
  });
  section
    .querySelector(".large")
    ?.addEventListener("click", () => viewer.set({ solo: viewer.solo === i ? -1 : i, plane: i }));
});
for (const button of document.querySelectorAll(".tools button")) {
  button.addEventListener("click", () => button instanceof HTMLElement && viewer.set({ tool: button.dataset.tool }));
}

const help = byId("help", HTMLDialogElement);
const toggleTurning = () => projection.setTurning(!projection.turning);
/** @type {[string, () => void][]} */
const buttons = [
  ["open", () => choose(false)],
  ["choose", () => choose(false)],
  ["open-second", () => choose(true)],
  ["fit", () => viewer.fit()],
  ["theme", () => setTheme()],
  ["panel-button", () => togglePanel()],
  ["help-button", () => help.showModal()],
  ["turn", toggleTurning],
];
for (const [id, act] of buttons) byId(id, HTMLButtonElement).addEventListener("click", act);
chooser.addEventListener("change", () => {
  if (chooser.files?.length) openInputs(filesInputs(chooser.files), besideWanted);
});
byId("address-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  openAddress(byId("address", HTMLInputElement).value.trim());
});
attachDrop(
  () => viewer.first !== null,
  openInputs,
  (text) => say(text, true),
);
const keyActs = {
  o: () => choose(false),
  b: () => choose(true),
  t: () => setTheme(),
  p: () => togglePanel(),
  r: toggleTurning,
  "?": () => help.showModal(),
};
addEventListener("keydown", (event) => {
  if (pressKey(viewer, event, keyActs)) event.preventDefault();
});
addEventListener("hashchange", () => askedFor("url") && openAtStart());

const darkQuery = matchMedia("(prefers-color-scheme: dark)");
darkQuery.addEventListener("change", () => setTheme(darkQuery.matches ? "dark" : "light"));
setTheme(darkQuery.matches ? "dark" : "light");
togglePanel(!matchMedia("(max-width: 980px)").matches);
showControls();
byId("turn", HTMLElement).setAttribute("aria-pressed", String(projection.turning));
requestAnimationFrame(frame);

/** Open what the page holds, or what its address names. */
async function openAtStart() {
  const embedded = embeddedInput();
  if (embedded) return openInput(embedded, false);
  const plane = VIEW_PLANES.findIndex(({ name }) => name === askedFor("view"));
  if (plane >= 0) viewer.set({ solo: plane, plane });
  if (askedFor("url")) await openAddress(askedFor("url"));
  if (askedFor("beside") && !facts.error) await openAddress(askedFor("beside"), true);
}
openAtStart();

/** Facts for a test, which may wait for them rather than for time. */
function state() {
  const { first, second, at, index, scale, tool, solo, leaves, calibrated, curtain, cache, pool } = viewer;
  return {
    open: first !== null,
    name: first?.name ?? "",
    second: second?.name ?? "",
    shape: first?.shape ?? [],
    at: [...at],
    index: [...index],
    scale,
    tool,
    solo,
    overlay: leaves,
    leavesKnown: Boolean(first?.leaves.get(viewer.volume)),
    calibration: calibrated,
    curtain,
    theme: document.documentElement.dataset.theme,
    status: statusLine.textContent,
    error: facts.error,
    frames: facts.frames,
    planes: Object.fromEntries(
      planeViews.map((view) => [
        view.plane.name,
        { ...view.facts, slicesDrawn: view.slices.size, slicesFine: view.fineSlices.size },
      ]),
    ),
    coarse: first ? first.coarse.size : 0,
    whole: Boolean(first?.isWhole(viewer.volume, calibrated)),
    projectionFrames: projection.frames,
    turning: projection.turning,
    bytesRead: facts.read.bytes,
    cacheBytes: cache.bytes,
    jobsDone: pool.jobsDone,
    jobsRunning: pool.running.size,
    gpu: pool.gpu,
    msToPlanes: facts.firstPlanesAt ? facts.firstPlanesAt - facts.openedAt : null,
    window: viewer.channel ? [viewer.channel.low, viewer.channel.high] : [],
    channels: viewer.channels.map(({ name, visible }) => ({ name, visible })),
  };
}
Object.defineProperty(globalThis, "tincViewer", { value: Object.freeze({ state }) });
