/** Where files come from: a chooser, a drop, an address, or the page itself. */

import { urlSource } from "../reader/sources.js";
import { byId } from "./page.js";
import { sharedSource } from "./workers.js";

/**
 * @typedef {import('./workers.js').Part} Part
 * @typedef {import('./array-file.js').Source} Source
 * @typedef {{ name: string, parts: Part[], source?: Source }} Input
 */

/**
 * Files of this machine: one, the slices of a TIFF stack in the order of their names, two .tinc files, or one and its
 * original, which are to lie beside each other, the .tinc first.
 * @param {FileList | File[]} files
 * @returns {Input[]}
 */
export function filesInputs(files) {
  const list = [...files].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const tinc = list.filter(({ name }) => /\.tinc$/i.test(name));
  const others = list.filter((one) => !tinc.includes(one));
  if (tinc.length === 1 && others.length) return [input(tinc), input(others)];
  if (tinc.length === 2 && !others.length) return tinc.map((one) => input([one]));
  return [input(list)];
}

/**
 * @param {File[]} list
 * @returns {Input}
 */
function input(list) {
  const [first] = list;
  const name = list.length > 1 ? `${first.name} and ${list.length - 1} more` : first.name;
  return { name, parts: list.map((blob) => ({ blob })) };
}

/**
 * A file on a server, read where it is needed.
 * @param {string} address
 * @param {(bytes: number) => void} count
 * @returns {Promise<Input>}
 */
export async function addressInput(address, count) {
  if (!address || !URL.canParse(address, location.href))
    throw new Error("this is no address of a file; expected one such as https://example.org/volume.tinc");
  const url = new URL(address, location.href);
  if (!/^https?:$/.test(url.protocol))
    throw new Error(`the address begins with ${url.protocol}; expected https: or http:`);
  const opening = urlSource(url.href).catch((error) => {
    if (!(error instanceof TypeError)) throw error; // What fetch throws where no answer may be read.
    throw new Error(
      `${url.host || "the address"} cannot be reached, or does not let other pages read its files (CORS)`,
    );
  });
  const source = sharedSource(await opening, count);
  const name = decoded(url.pathname.split("/").pop() || "") || url.host;
  return { name, parts: [{ size: source.size }], source };
}

/**
 * Text of an address; as it is where a % begins no letter.
 * @param {string} text
 */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

/**
 * The file that a self-contained page holds; null if it holds none.
 * @returns {Input | null}
 */
export function embeddedInput() {
  const element = document.getElementById("tinc-file");
  if (!element) return null;
  const text = atob((element.textContent ?? "").trim());
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return { name: element.dataset.name || "volume.tinc", parts: [{ blob: new Blob([bytes]) }] };
}

/**
 * What the page was called with: `?url=` or `#url=` and the like; "" if it was not.
 * @param {string} key
 */
export function askedFor(key) {
  return new URLSearchParams(location.hash.slice(1)).get(key) ?? new URLSearchParams(location.search).get(key) ?? "";
}

/**
 * Let files be dropped on the page. While one is above it, the halves tell where it would go.
 * @param {() => boolean} canBeside
 * @param {(inputs: Input[], beside: boolean) => void} take
 * @param {(text: string) => void} refuse
 */
export function attachDrop(canBeside, take, refuse) {
  const zone = byId("drop", HTMLElement);
  const [, right] = /** @type {HTMLElement[]} */ ([...zone.children]);
  const isBeside = (/** @type {DragEvent} */ event) => canBeside() && event.clientX > innerWidth / 2;
  addEventListener("dragover", (event) => {
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
    zone.hidden = false;
    right.hidden = !canBeside();
    [...zone.children].forEach((half, i) => {
      half.classList.toggle("over", isBeside(event) === (i === 1));
    });
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    zone.hidden = true;
    const { files, items = [] } = event.dataTransfer ?? {};
    if ([...items].some((item) => item.webkitGetAsEntry()?.isDirectory))
      refuse("a folder was dropped; expected a file");
    else if (files?.length) take(filesInputs(files), isBeside(event));
  });
}
