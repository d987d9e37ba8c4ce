/** Thrown for everything that is wrong with a file: a plain sentence with what was found and what was expected. */
export class TincError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "TincError";
  }
}

/**
 * Throw TincError unless a number is in its range. NaN is out of any range.
 * @param {string} field name in the error
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function checkRange(field, value, low, high) {
  if (!(value >= low && value <= high)) {
    throw new TincError(`${field} is ${value}, expected ${low === high ? low : `${low} to ${high}`}`);
  }
}

/**
 * Throw TincError unless a condition holds.
 * @param {unknown} condition
 * @param {string} otherwise what was found and expected
 * @returns {asserts condition}
 */
export function require(condition, otherwise) {
  if (!condition) throw new TincError(otherwise);
}
