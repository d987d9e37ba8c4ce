/** Finds the elements of the page, and makes new ones. Text goes in as text, never as HTML. */

/**
 * The element of this id, which has to be of this kind.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} Kind
 * @returns {T}
 */
export function byId(id, Kind) {
  const element = document.getElementById(id);
  if (!(element instanceof Kind)) throw new Error(`the page has no ${Kind.name} #${id}`);
  return element;
}

/**
 * A new element with its text and attributes.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} [text]
 * @param {Record<string, string>} [attributes]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/**
 * Set the text of an element where it differs, so that a screen reader is not told twice.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
