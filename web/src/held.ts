// Numbers of WebGPU held against those of WebAssembly. Some operators of onnxruntime-web give wrong numbers on WebGPU and say
// nothing: 1.30's ConvTranspose with unequal pads does.

import type { Manifest } from "./manifest.ts";

/** A tensor as it came out, as it should have, and as it was before, if it is state. */
export interface Row {
  readonly name: string;
  /** Tensors of one group have one scale: a gradient that is rounding alone is nothing beside the others. */
  readonly group: string;
  readonly found: ArrayLike<number | bigint>;
  readonly wanted: ArrayLike<number | bigint>;
  readonly before?: ArrayLike<number | bigint> | undefined;
}

const SHARE = 0.01; // of the largest change in the group: far above float32's rounding, far below a wrong operator
const ROUNDING = 2e-6; // of the largest number in the group

/** The group of a graph's output, none if it is not held; and the input that it is the next value of. */
export function groupOf(output: string, { tensors, state }: Manifest): { group: string | undefined; input?: string } {
  const carried = tensors.find((one) => one.output === output);
  if (!carried) return { group: output.split(".", 1)[0] }; // the loss, gradients, predictions
  const held = state.find(({ name }) => name === carried.holds[0]?.name);
  const last = held?.kind === "parameter" ? "" : held?.name.slice(held.name.lastIndexOf("."));
  // Where an optimizer keeps averages of gradients these are held: it may make a whole step of a zero's rounding.
  const averages = state.some(({ kind, shape }) => kind === "optimizer" && shape.length);
  return { group: held?.kind === "parameter" && averages ? undefined : `${held?.kind}${last}`, input: carried.input };
}

/** The first tensor that is further from what it should be than rounding takes it. */
export function astray(rows: readonly Row[]): string | undefined {
  const largest = new Map<string, { change: number; number: number }>();
  for (const { group, wanted, before } of rows) {
    const most = largest.get(group) ?? { change: 0, number: 0 };
    largest.set(group, most);
    for (let i = 0; i < wanted.length; i++) {
      const value = Number(wanted[i]);
      if (!Number.isFinite(value)) continue;
      most.number = Math.max(most.number, Math.abs(value));
      most.change = Math.max(most.change, Math.abs(value - Number(before?.[i] ?? 0)));
    }
  }
  return rows.find(({ group, found, wanted }) => {
    const { change, number } = largest.get(group) as { change: number; number: number };
    const most = SHARE * change + ROUNDING * number;
    return found.length !== wanted.length || Array.prototype.some.call(wanted, (value: number | bigint, i: number) => {
      const [is, should] = [Number(found[i]), Number(value)];
      return !Object.is(is, should) && !(Math.abs(is - should) <= most);
    });
  })?.name;
}
