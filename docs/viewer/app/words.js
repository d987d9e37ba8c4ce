/** What a file says of itself, in words. Texts only: the page puts them in as text, never as HTML. */

/**
 * What the worker tells of a file, plain data. The fields behind `volumes` are those of a .tinc file.
 * @typedef {{ flavour: string, shape: number[], leading: number[], axes: string[], dtype: string, nbytes: number,
 *   volumes: number,
 *   lo?: number, hi?: number, spacing?: number[] | null, unit?: string | null, errorBound?: number | null, kind?: string,
 *   lossless?: boolean, labels?: boolean, bool?: boolean, fill?: number[], calibrated?: boolean, overviewCell?: number,
 *   channels?: { name?: string[], color?: string[], window?: [number, number][] },
 *   provenance?: Record<string, unknown> | null,
 *   details?: { contrastLimits?: [number, number], colormap?: string, name?: string, labelNames?: Record<string, string[]>,
 *     affine?: number[][], space?: string,
 *     timeStep?: { step: number, unit: string } | null }, regions?: { voxels: number, bound: number } | null }} Meta
 */

const NO_ERROR_PSNR = 9999; // Is stored where nothing differs.
const AXIS_NAMES = /** @type {Record<string, string>} */ ({ t: "time", c: "channel", q: "axis q" });
const AXIS_COUNTS = /** @type {Record<string, string>} */ ({ t: "points in time", c: "channels" });
const DTYPE_NAMES = /** @type {Record<string, string>} */ ({ u: "uint", i: "int", f: "float" });

/**
 * Name of an axis.
 * @param {string} letter
 */
export const axisName = (letter) => AXIS_NAMES[letter] ?? `axis ${letter}`;

/**
 * Bytes with three digits: 32.6 kB.
 * @param {number} bytes
 */
export function sizeText(bytes) {
  let count = bytes;
  for (const unit of ["bytes", "kB", "MB", "GB"]) {
    if (count < 999.5)
      return unit === "bytes"
        ? `${count} ${count === 1 ? "byte" : "bytes"}`
        : `${count.toFixed(count < 99.95 ? 1 : 0)} ${unit}`;
    count /= 1000;
  }
  return `${count.toFixed(1)} TB`;
}

/**
 * An integer as it is, another number in up to five digits.
 * @param {number} value
 */
export function numberText(value) {
  if (Number.isInteger(value))
    return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? String(value) : value.toExponential(4);
  const short = Number(value.toPrecision(5));
  return String(Number.isFinite(short) ? short : value);
}

/**
 * A value, with its name if it is a label that has one.
 * @param {number} value
 * @param {Meta} meta
 */
export function valueText(value, { labels, details }) {
  const names = labels ? (details?.labelNames ?? {}) : {};
  const name = Object.hasOwn(names, String(value)) ? names[String(value)][0] : "";
  return name ? `${numberText(value)} (${name})` : numberText(value);
}

/**
 * Many things, with separators: 2,097,152.
 * @param {number} count
 */
export const countText = (count) => count.toLocaleString("en");

/**
 * NumPy's name of a dtype.
 * @param {string} code
 */
export const dtypeText = (code) => `${DTYPE_NAMES[code[0]] ?? code[0]}${8 * Number(code.slice(1))}`;

/**
 * A number that was stored as text; null if it is none.
 * @param {unknown} value
 */
function storedNumber(value) {
  const number = typeof value === "string" || typeof value === "number" ? Number(value) : Number.NaN;
  return Number.isFinite(number) && number < NO_ERROR_PSNR ? number : null;
}

/**
 * What a file promises of every voxel.
 * @param {Meta} meta
 */
export function promiseText(meta) {
  if (meta.flavour !== "tinc")
    return `Every voxel as the ${meta.flavour === "npy" ? ".npy" : "TIFF"} file has it: nothing is lossy.`;
  const regions = meta.regions;
  const kept = regions?.bound ? `within ${numberText(regions.bound)} of` : "bit for bit";
  const inside = regions && `${countText(regions.voxels)} voxels of chosen regions are ${kept} what they were`;
  const bound = meta.errorBound;
  let everywhere = "";
  if (meta.lossless || bound === 0) everywhere = "Lossless: every voxel is bit for bit what it was.";
  else if (bound !== null && bound !== undefined) everywhere = `No voxel is off by more than ${numberText(bound)}.`;
  if (inside && !meta.lossless && bound !== 0)
    return everywhere ? `${inside}. Elsewhere: ${everywhere}` : `${inside}. Elsewhere the file gives no bound.`;
  if (everywhere) return everywhere;
  const psnr = storedNumber(meta.provenance?.psnr);
  return `No bound on single voxels${psnr === null ? "" : `; in all, ${psnr.toFixed(1)} dB (PSNR) when written`}.`;
}

/**
 * Facts about a file, each a label and a value.
 * @param {Meta} meta
 * @returns {[string, string][]}
 */
export function factLines(meta) {
  /** @type {[string, string][]} */
  const lines = [];
  const voxels = meta.shape.reduce((product, n) => product * n, meta.volumes);
  const leading = meta.leading.map((n, axis) => `${n} ${AXIS_COUNTS[meta.axes[axis]] ?? `along ${meta.axes[axis]}`}`);
  lines.push(["Size", [...leading, meta.shape.join(" × ")].join(", ")]);
  lines.push(["Values", meta.bool ? "true or false" : `${dtypeText(meta.dtype)}${meta.labels ? ", labels" : ""}`]);
  if (meta.lo !== undefined && meta.hi !== undefined && !meta.labels && !meta.bool)
    lines.push(["Range", `${numberText(meta.lo)} to ${numberText(meta.hi)}`]);
  if (meta.spacing) lines.push(["Voxel", `${meta.spacing.map(numberText).join(" × ")} ${meta.unit ?? ""}`.trim()]);
  if (meta.details?.timeStep)
    lines.push(["Time step", `${numberText(meta.details.timeStep.step)} ${meta.details.timeStep.unit}`.trim()]);
  const raw = voxels * Number(meta.dtype.slice(1));
  lines.push(["File", sizeText(meta.nbytes)]);
  if (meta.flavour === "tinc") {
    lines.push(["Array", `${sizeText(raw)}, ${numberText(Number((raw / meta.nbytes).toPrecision(3)))} times the file`]);
    lines.push(["Method", meta.kind === "networks" ? "one octree of networks" : "blocks"]);
  }
  const written = meta.provenance ?? {};
  const psnr = storedNumber(written.psnr);
  const ssim = storedNumber(written.ssim);
  if (psnr !== null) lines.push(["PSNR", `${psnr.toFixed(2)} dB when written`]);
  if (ssim !== null && !meta.lossless) lines.push(["SSIM", `${ssim.toFixed(4)} when written`]);
  const inside = storedNumber(written.psnr_inside);
  if (inside !== null) lines.push(["PSNR in regions", `${inside.toFixed(2)} dB`]);
  if (meta.fill?.length) lines.push(["No measurement", meta.fill.map(numberText).join(", ")]);
  if (typeof written.encoder === "string") {
    lines.push([
      "Made by",
      `${written.encoder}${typeof written.preset === "string" ? `, preset ${written.preset}` : ""}`.slice(0, 120),
    ]);
  }
  return lines;
}

/**
 * What is said of a leaf.
 * @param {{ level: number, kind: string, bytes: number | null, rmse: number | null, maxError: number | null }} leaf
 */
export function leafText(leaf) {
  const parts = [`${leaf.kind} leaf, level ${leaf.level}`];
  if (leaf.bytes !== null) parts.push(sizeText(leaf.bytes));
  if (leaf.rmse !== null) parts.push(`typical error (RMSE) ${numberText(leaf.rmse)}`);
  if (leaf.maxError !== null) parts.push(`largest error ${numberText(leaf.maxError)}`);
  return parts.join(", ");
}
