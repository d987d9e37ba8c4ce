/** NumPy's .npy files. */

import { TincError } from "../reader/errors.js";
import { ArrayFile } from "./array-file.js";
import { elementSize, elementsOf } from "./elements.js";

const LARGEST_IN_MEMORY = 2 ** 25; // A file of at most so many bytes is read at once: many small reads are slow.
const LARGEST_NPY_HEADER = 65536; // A longer header is refused.

/**
 * Open a .npy file of 3 to 6 axes, the last three z, y, x.
 * @param {import('./array-file.js').Source} source
 */
export async function openNpy(source) {
  const start = await source.read(0, 12);
  const long = start[6] > 1;
  const begin = long ? 12 : 10;
  const length = start[8] + 256 * start[9] + (long ? 65536 * start[10] + 16777216 * start[11] : 0);
  if (length > LARGEST_NPY_HEADER || begin + length > source.size) {
    throw new TincError(`the .npy header has ${length} bytes; expected at most ${LARGEST_NPY_HEADER} within the file`);
  }
  const text = new TextDecoder("latin1").decode(await source.read(begin, begin + length));
  const kind = /'descr':\s*'([<>|=])([a-z]\d+)'/.exec(text);
  const order = /'fortran_order':\s*(True|False)/.exec(text);
  const sizes = /'shape':\s*\(([\d, ]*)\)/.exec(text);
  if (!kind || !order || !sizes)
    throw new TincError("the .npy header is not understood; expected descr, fortran_order and shape of plain numbers");
  if (order[1] === "True")
    throw new TincError("the .npy file is in Fortran order; expected C order (numpy.ascontiguousarray)");
  const all = sizes[1]
    .split(",")
    .filter((part) => part.trim())
    .map(Number);
  if (all.length < 3 || all.length > 6)
    throw new TincError(`the .npy file has ${all.length} axes; expected 3 to 6, the last three z, y, x`);
  const size = elementSize(kind[2], "the .npy file");
  const total = all.reduce((product, n) => product * n, size);
  const body = begin + length;
  if (!total) throw new TincError(`the .npy file holds no values: its shape is ${all.join(" x ")}`);
  if (body + total !== source.size) {
    throw new TincError(
      `the .npy file has ${source.size - body} bytes of values; expected ${total}: ${all.join(" x ")} ${kind[2]}`,
    );
  }
  const shape = all.slice(-3);
  const [, height, width] = shape;
  let whole = /** @type {Promise<Uint8Array> | null} */ (null);
  return new ArrayFile({
    flavour: "npy",
    shape,
    leading: all.slice(0, -3),
    axes: [..."qtczyx".slice(-Math.min(all.length, 6))],
    dtype: kind[2] === "b1" ? "u1" : kind[2],
    nbytes: source.size,
    rows: async (volume, z, y0, y1) => {
      const first = body + ((volume * shape[0] + z) * height + y0) * width * size;
      const last = first + (y1 - y0) * width * size;
      if (source.size <= LARGEST_IN_MEMORY) whole ??= source.read(0, source.size);
      const bytes = whole ? (await whole).subarray(first, last) : await source.read(first, last);
      return elementsOf(bytes, kind[2], kind[1] !== ">");
    },
  });
}
