/** Entropy coding in WebAssembly, which has whole numbers of 64 bits: what `Stack` of stream.js does in halves. */

import {
  constant,
  constant64,
  F,
  get,
  I,
  I32,
  I64,
  increase,
  L,
  load16,
  load32,
  loop,
  set,
  store16,
  store32,
  when,
} from "./assembler.js";

/** @typedef {import("./assembler.js").Definition} Definition */

// The head of a stream in the memory: u64 state, u32 words that are left.
const LEFT = 8;

/** @param {number} head @param {number} state @param {number} left */
const begin = (head, state, left) => [
  [...get(head), ...L.load, ...set(state)],
  [...get(head), ...load32(LEFT), ...set(left)],
];

/** @param {number} head @param {number} state @param {number} left */
const finish = (head, state, left) => [
  [...get(head), ...get(state), ...L.store],
  [...get(head), ...constant(LEFT), ...I.add, ...get(left), ...store32],
];

/**
 * If the state is below 2^32 and a word is left, take it.
 * @param {number} state
 * @param {number} left
 * @param {number} words
 */
const refill = (state, left, words) =>
  when(
    [...get(state), ...constant64(32), ...L.shiftRight, ...L.isZero],
    [
      when(get(left), [
        increase(left, constant(-1)),
        [...get(state), ...constant64(32), ...L.shiftLeft],
        [...get(words), ...get(left), ...constant(2), ...I.shiftLeft, ...I.add, ...load32(), ...I.extend],
        [...L.or, ...set(state)],
      ]),
    ],
  );

/** @param {number} order @param {number} end another of the places to come */
const isBefore = (order, end) => [...get(order), ...get(end), 0x49];

/**
 * Read symbols under a model, each to its place in `out`, of u16; there is at least one.
 * @returns {Definition}
 */
export function symbolsCode() {
  const [head, words, c, lookup, order, end, out] = [0, 1, 2, 3, 4, 5, 6];
  const [state, left, q, i, low, high] = [7, 8, 9, 10, 11, 12];
  const bound = [...get(c), ...get(i), ...constant(2), ...I.shiftLeft, ...I.add];
  return {
    name: "symbols",
    parameters: new Array(7).fill(I32),
    results: [],
    locals: [I64, I32, I32, I32, I32, I32],
    body: [
      ...begin(head, state, left),
      loop([
        [...get(state), ...L.wrap, ...constant(0xffffff), ...I.and, ...set(q)],
        [...get(lookup), ...get(q), ...constant(14), ...I.shiftRight, ...constant(1), ...I.shiftLeft, ...I.add],
        [...load16, ...constant(-1), ...I.add, ...set(i)],
        loop([
          increase(i, constant(1)),
          [...bound, ...load32(4), ...set(high)],
          [...get(high), ...get(q), ...I.notAbove],
        ]),
        [...bound, ...load32(), ...set(low)],
        [...get(out), ...get(order), ...load32(), ...constant(1), ...I.shiftLeft, ...I.add, ...get(i), ...store16],
        [...get(state), ...constant64(24), ...L.shiftRight, ...get(high), ...get(low), ...I.sub, ...I.extend, ...L.mul],
        [...get(q), ...get(low), ...I.sub, ...I.extend, ...L.add, ...set(state)],
        refill(state, left, words),
        increase(order, constant(4)),
        isBefore(order, end),
      ]),
      ...finish(head, state, left),
    ],
  };
}

/**
 * Read the further bits of tokens of one octave, 3 to 17, and put the numbers in their places; there is at least one.
 * @returns {Definition}
 */
export function furtherCode() {
  const [head, words, octave, order, end, tokens, numbers] = [0, 1, 2, 3, 4, 5, 6];
  const [state, left, q, shift, mask, r, size, place] = [7, 8, 9, 10, 11, 12, 13, 14];
  const first = [...constant(15), ...get(octave), ...constant(3), ...I.sub, ...constant(2), ...I.shiftLeft, ...I.add];
  return {
    name: "further",
    parameters: new Array(7).fill(I32),
    results: [],
    locals: [I64, ...new Array(7).fill(I32)],
    body: [
      ...begin(head, state, left),
      [...constant(25), ...get(octave), ...I.sub, ...set(shift)],
      [...constant(1), ...get(shift), ...I.shiftLeft, ...constant(1), ...I.sub, ...set(mask)],
      loop([
        [...get(state), ...L.wrap, ...constant(0xffffff), ...I.and, ...set(q)],
        [...get(q), ...get(shift), ...I.shiftRight, ...set(r)],
        [...get(state), ...constant64(24), ...L.shiftRight, ...get(shift), ...I.extend, ...L.shiftLeft],
        [...get(q), ...get(mask), ...I.and, ...I.extend, ...L.add, ...set(state)],
        refill(state, left, words),
        [...get(order), ...load32(), ...set(place)],
        [...constant(1), ...get(octave), ...I.shiftLeft],
        [...get(tokens), ...get(place), ...constant(1), ...I.shiftLeft, ...I.add, ...load16, ...first, ...I.sub],
        [...get(octave), ...constant(2), ...I.sub, ...I.shiftLeft, ...I.add],
        [...get(r), ...constant(1), ...I.shiftRight, ...I.add, ...set(size)],
        [...get(numbers), ...get(place), ...constant(3), ...I.shiftLeft, ...I.add, ...set(q)],
        [...get(q), ...get(size), ...I.toF64, ...F.store],
        when([...get(r), ...constant(1), ...I.and], [[...get(q), ...get(size), ...I.toF64, ...F.negate, ...F.store]]),
        increase(order, constant(4)),
        isBefore(order, end),
      ]),
      ...finish(head, state, left),
    ],
  };
}
