/** How the channels of a file look at first. */

import { CHANNEL_COLORS, isColormap } from "./colors.js";

/**
 * A channel, or the only volume of a file that has none. `touched` is set once its window is, `guessed` if by means.
 * @typedef {{ name: string, colormap: string, low: number, high: number, visible: boolean, touched: boolean,
 *   guessed: boolean }} Channel
 */

/**
 * How a channel looks at first: as the file says, or else in a colour by its number.
 * @param {import('./words.js').Meta} meta
 * @param {number} i
 * @param {number} count of channels
 * @returns {Channel}
 */
export function firstChannel(meta, i, count) {
  const window = meta.channels?.window?.[i] ?? meta.details?.contrastLimits;
  const byNumber = count > 1 ? CHANNEL_COLORS[i % CHANNEL_COLORS.length] : meta.details?.colormap;
  const color = meta.channels?.color?.[i] ?? byNumber;
  const [low, high] = meta.bool ? [0, 1] : (window ?? [meta.lo ?? 0, meta.hi ?? 255]);
  return {
    name: meta.channels?.name?.[i] || `channel ${i}`,
    colormap: color !== undefined && isColormap(color) ? color : "gray",
    low,
    high,
    visible: true,
    touched: Boolean(window) || Boolean(meta.bool),
    guessed: false,
  };
}
