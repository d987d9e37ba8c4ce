/** A cache of arrays that forgets the least recently used ones beyond its budget of bytes. */

/** @typedef {{ byteLength: number }} Sized */

/** @template {Sized} T */
export class ByteCache {
  /** @param {number} budget in bytes */
  constructor(budget) {
    this.budget = budget;
    this.bytes = 0;
    /** How many entries had to go. */
    this.forgotten = 0;
    /** @type {Map<string, T>} */
    this.entries = new Map();
  }

  /** @param {string} key */
  has(key) {
    return this.entries.has(key);
  }

  /** @param {string} key */
  get(key) {
    const value = this.entries.get(key);
    if (value !== undefined) {
      this.entries.delete(key);
      this.entries.set(key, value);
    }
    return value;
  }

  /**
   * @param {string} key
   * @param {T} value
   */
  set(key, value) {
    this.remove(key);
    this.entries.set(key, value);
    this.bytes += value.byteLength;
    for (const oldest of this.entries.keys()) {
      if (this.bytes <= this.budget || oldest === key) break;
      this.remove(oldest);
      this.forgotten += 1;
    }
  }

  /** @param {string} key */
  remove(key) {
    const value = this.entries.get(key);
    if (value === undefined) return;
    this.bytes -= value.byteLength;
    this.entries.delete(key);
  }

  /**
   * Forget everything whose key begins so.
   * @param {string} prefix
   */
  clear(prefix) {
    for (const key of [...this.entries.keys()]) if (key.startsWith(prefix)) this.remove(key);
  }
}
