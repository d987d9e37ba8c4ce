/** Colour tables. A colour is a number as ImageData has it in little-endian memory: 0xAABBGGRR. */

/** Colours at even distances, which a table interpolates. @type {Record<string, string>} */
const KNOTS = {
  gray: "000000 ffffff",
  "gray inverted": "ffffff 000000",
  viridis: "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725",
  magma: "000004 1d1147 51127c 832681 b73779 e75263 fc8961 fec488 fcfdbf",
  inferno: "000004 210c4a 57106e 8a226a bc3754 e45a31 f98e09 f9cb35 fcffa4",
  red: "000000 ff0000",
  green: "000000 00ff00",
  blue: "000000 3050ff",
  cyan: "000000 00ffff",
  magenta: "000000 ff00ff",
  yellow: "000000 ffff00",
};

export const COLORMAP_NAMES = Object.keys(KNOTS);
const LABEL_COLORS = 4096; // Labels whose hashes agree modulo this number share a colour.
/** Colours of channels that have none. */
export const CHANNEL_COLORS = ["magenta", "green", "cyan", "yellow", "red", "blue"];

/**
 * @param {number} red
 * @param {number} green
 * @param {number} blue 0 to 255
 */
const pack = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/**
 * Take "#rrggbb" colours, or names, apart.
 * @param {string} name
 * @returns {number[] | null} the colours, 0xrrggbb
 */
function knotsOf(name) {
  const hex = Object.hasOwn(KNOTS, name)
    ? KNOTS[name]
    : /^(#[0-9a-f]{6}[ ]?)+$/i.test(name)
      ? name.replaceAll("#", "")
      : "";
  const knots = hex
    .split(" ")
    .filter(Boolean)
    .map((text) => Number.parseInt(text, 16));
  return knots.length === 1 ? [0, knots[0]] : knots.length ? knots : null;
}

/**
 * Whether a table can be made of this name.
 * @param {unknown} name
 */
export const isColormap = (name) => typeof name === "string" && knotsOf(name) !== null;

/**
 * The 256 colours of a colormap; of a name that is not known, gray.
 * @param {string} name
 */
export function colorTable(name) {
  const knots = knotsOf(name) ?? [0, 0xffffff];
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (knots.length - 1);
    const knot = Math.min(Math.floor(place), knots.length - 2);
    const part = place - knot;
    const mix = (/** @type {number} */ shift) => {
      const from = (knots[knot] >> shift) & 255;
      return Math.round(from + (((knots[knot + 1] >> shift) & 255) - from) * part);
    };
    return pack(mix(16), mix(8), mix(0));
  });
}

/**
 * Spread the bits of an integer, the same on every machine.
 * @param {number} label
 */
export function hashLabel(label) {
  let hash = Math.imul((label | 0) ^ ((label | 0) >>> 16), 0x45d9f3b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Colours of labels by their hash: hues by the golden ratio, a few steps of lightness and saturation. */
export function labelTable() {
  return Uint32Array.from({ length: LABEL_COLORS }, (_, i) => {
    const hue = (i * 0.618033988749895) % 1;
    const light = 0.45 + 0.09 * (i % 4);
    const saturation = 0.55 + 0.2 * ((i >> 2) % 3);
    const part = (/** @type {number} */ k) => {
      const at = (k + hue * 12) % 12;
      return Math.round(
        255 * (light - saturation * Math.min(light, 1 - light) * Math.max(-1, Math.min(at - 3, 9 - at, 1))),
      );
    };
    return pack(part(0), part(8), part(4));
  });
}

/**
 * Colours of labels that have one, by the label.
 * @param {Record<string, unknown[]>} names  name and "#rrggbb" by the label
 */
export function colorsOfLabels(names) {
  /** @type {Map<number, number>} */
  const colors = new Map();
  for (const [label, parts] of Object.entries(names)) {
    const color = Array.isArray(parts) ? parts[1] : undefined;
    if (typeof color === "string" && isColormap(color)) colors.set(Number(label), colorTable(color)[255]);
  }
  return colors;
}

/**
 * CSS text of a packed colour.
 * @param {number} color
 * @param {number} [alpha]
 */
export const cssColor = (color, alpha = 1) =>
  `rgb(${color & 255} ${(color >> 8) & 255} ${(color >> 16) & 255} / ${alpha})`;

/** @type {Map<string, Uint32Array>} */
const knownTables = new Map();

/**
 * Colours of a colormap, made once.
 * @param {string} name
 */
export function tableOf(name) {
  const table = knownTables.get(name) ?? colorTable(name);
  knownTables.set(name, table);
  return table;
}
