// How good scores are: softmax, cross entropy, errors.

import type { TypedArray } from "../src/index.ts";

/** Softmax of row `i` of scores (n, classes). */
export function probabilities(scores: TypedArray, classes: number, i = 0): Float64Array {
  const row = Float64Array.from({ length: classes }, (_, c) => Number(scores[i * classes + c]));
  const top = Math.max(...row);
  const powers = row.map((score) => Math.exp(score - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

export interface Score {
  /** Mean cross entropy. */
  readonly loss: number;
  /** Share of samples whose highest score is a wrong class's, in %. */
  readonly error: number;
}

/** Of scores (n, classes) beside the right classes (n). */
export function score(scores: TypedArray, right: ArrayLike<number>): Score {
  const n = right.length;
  const classes = scores.length / n;
  let loss = 0;
  let errors = 0;
  for (let i = 0; i < n; i++) {
    const p = probabilities(scores, classes, i);
    const wanted = right[i] as number;
    loss -= Math.log(Math.max(p[wanted] as number, 1e-300)) / n;
    errors += p.some((other, c) => c !== wanted && !(other < (p[wanted] as number))) ? 1 : 0;
  }
  return { loss, error: (100 * errors) / n };
}
