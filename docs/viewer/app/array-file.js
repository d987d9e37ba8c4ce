/** A plain array in a file (.npy, TIFF) with the methods of a TincFile that a view needs. */

/**
 * @typedef {import('./elements.js').Values} Values
 * @typedef {{ size: number, read(start: number, end: number): Promise<Uint8Array> }} Source
 * @typedef {{ flavour: string, shape: number[], leading: number[], axes: string[], dtype: string, nbytes: number,
 *   rows: (volume: number, z: number, y0: number, y1: number) => Promise<Values> }} ArrayFacts
 *   rows gives whole rows of a plane, in C order
 */

export class ArrayFile {
  /** @param {ArrayFacts} facts */
  constructor(facts) {
    this.facts = facts;
    this.volumes = facts.leading.reduce((product, n) => product * n, 1);
  }

  /** What a page has to know, as plain data: the same fields as of a .tinc file. */
  describe() {
    const { flavour, shape, leading, axes, dtype, nbytes } = this.facts;
    return { flavour, shape, leading, axes, dtype, nbytes, volumes: this.volumes };
  }

  /**
   * @param {number} volume
   * @param {number[]} box
   * @returns {Promise<Values>}
   */
  async decode(volume, [z0, y0, x0, z1, y1, x1]) {
    const columns = this.facts.shape[2];
    const [height, width] = [y1 - y0, x1 - x0];
    let values = /** @type {Values | null} */ (null);
    for (let z = z0; z < z1; z++) {
      const rows = await this.facts.rows(volume, z, y0, y1);
      values ??= /** @type {Values} */ (
        new /** @type {new (n: number) => Values} */ (rows.constructor)((z1 - z0) * height * width)
      );
      for (let y = 0; y < height; y++) {
        const from = y * columns + x0;
        values.set(rows.subarray(from, from + width), ((z - z0) * height + y) * width);
      }
    }
    return values ?? new Uint8Array(0);
  }

  /**
   * Every `factor`-th voxel, those in the middle of their cells.
   * @param {number} volume
   * @param {number} factor
   * @returns {Promise<{ shape: number[], values: Float32Array }>}
   */
  async coarse(volume, factor) {
    const counts = this.facts.shape.map((n) => Math.ceil(n / factor));
    const places = this.facts.shape.map((n, axis) =>
      Array.from({ length: counts[axis] }, (_, i) => Math.min(n - 1, Math.floor((i + 0.5) * factor))),
    );
    const values = new Float32Array(counts[0] * counts[1] * counts[2]);
    let at = 0;
    for (const z of places[0]) {
      const plane = await this.facts.rows(volume, z, 0, this.facts.shape[1]);
      for (const y of places[1]) for (const x of places[2]) values[at++] = plane[y * this.facts.shape[2] + x];
    }
    return { shape: counts, values };
  }
}
