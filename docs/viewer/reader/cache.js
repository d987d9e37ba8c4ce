/**
 * Keeps what was used last, within a budget of bytes.
 * @template T
 */
export class LeastRecentlyUsed {
  /** @param {number} most bytes */
  constructor(most) {
    this.most = most;
    this.bytes = 0;
    /** @type {Map<string, {value: T, bytes: number}>} Oldest first. */
    this.items = new Map();
  }

  /**
   * @param {string} key
   * @returns {T | undefined}
   */
  get(key) {
    const item = this.items.get(key);
    if (!item) return undefined;
    this.items.delete(key);
    this.items.set(key, item);
    return item.value;
  }

  /**
   * @param {string} key
   * @param {T} value
   * @param {number} bytes
   */
  put(key, value, bytes) {
    this.drop(key);
    this.items.set(key, { value, bytes });
    this.bytes += bytes;
    for (const [oldest, item] of this.items) {
      if (this.bytes <= this.most || oldest === key) break;
      this.items.delete(oldest);
      this.bytes -= item.bytes;
    }
  }

  /** @param {string} key */
  drop(key) {
    this.bytes -= this.items.get(key)?.bytes ?? 0;
    this.items.delete(key);
  }
}
