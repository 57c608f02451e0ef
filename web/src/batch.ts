// What a caller gives as a batch, as a tensor of the shape and dtype that the graph takes.

import { asDtype, cast, count, type TypedArray } from "./dtypes.ts";
import type { Dimension, Spec } from "./manifest.ts";

/** Numbers within arrays within arrays. */
export type Nested = number | bigint | boolean | TypedArray | readonly Nested[];

/** A batch: numbers flat in row-major order, in arrays within arrays, or flat with their shape. */
export type Batch = Nested | { readonly data: ArrayLike<number> | ArrayLike<bigint>; readonly shape: readonly number[] };

/** What has been learned of the free dimensions in one call, so that all of its inputs agree. */
export type Sizes = Map<string, { size: number; from: string }>;

export interface Filled {
  readonly dtype: ReturnType<typeof asDtype>;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

/** `given` as the tensor that `spec` asks for under the name `of`. */
export function fill(spec: Spec, given: Batch, of: string, sizes: Sizes): Filled {
  if (given === undefined || given === null) {
    throw new TypeError(`${of} is missing: give numbers of shape ${shown(spec.shape)}`);
  }
  const dtype = asDtype(spec.dtype, of);
  const { flat, shape: own } = laidOut(given, of);
  const shape = own ?? inferred(spec.shape, flat.length, sizes);
  if (!shape || count(shape) !== flat.length) {
    const what = own ? `shape [${own}]` : `${flat.length} numbers`;
    throw new TypeError(`${of} has ${what}, the step takes ${shown(spec.shape)}${own ? "" : hint(spec.shape, sizes)}`);
  }
  match(spec.shape, shape, of, sizes);
  return { dtype, shape, data: cast(dtype, flat, of) };
}

/** The numbers of `given` in one array; and its shape, where it says it. */
function laidOut(given: Batch, of: string): { flat: ArrayLike<number | bigint | boolean>; shape?: readonly number[] } {
  if (typeof given === "number" || typeof given === "bigint" || typeof given === "boolean") {
    return { flat: [given], shape: [] };
  }
  if (ArrayBuffer.isView(given)) return { flat: given as TypedArray };
  if (!Array.isArray(given)) {
    const { data, shape } = given as { data?: ArrayLike<number>; shape?: readonly number[] };
    if (!data || !shape) throw new TypeError(`${of} is no batch: give numbers, or arrays of them, or {data, shape}`);
    return { flat: data, shape };
  }
  const nested = given as readonly Nested[];
  if (nested.every((item) => !Array.isArray(item) && !ArrayBuffer.isView(item))) {
    return { flat: nested as readonly number[] };
  }
  const flat: (number | bigint | boolean)[] = [];
  return { shape: gather(nested, flat, of), flat };
}

/** Put the numbers of `item` behind those of `flat`; its shape. */
function gather(item: Nested, flat: (number | bigint | boolean)[], of: string): number[] {
  if (!Array.isArray(item) && !ArrayBuffer.isView(item)) {
    flat.push(item as number);
    return [];
  }
  const items = item as readonly Nested[];
  let inner: number[] = [];
  for (let i = 0; i < items.length; i++) {
    const shape = gather(items[i] as Nested, flat, of);
    if (i && String(shape) !== String(inner)) {
      throw new TypeError(`${of} is ragged: beside shape [${inner}] it holds [${shape}]`);
    }
    inner = shape;
  }
  return [items.length, ...inner];
}

/** The shape of `length` numbers, if at most one dimension is not known yet. */
function inferred(wanted: readonly Dimension[], length: number, sizes: Sizes): number[] | undefined {
  const known = wanted.map((d) => (typeof d === "number" ? d : sizes.get(d)?.size));
  const free = known.filter((d) => d === undefined).length;
  const rest = known.reduce<number>((product, d) => product * (d ?? 1), 1);
  if (free > 1 || (free === 1 && (rest === 0 || length % rest))) return undefined;
  return known.map((d) => d ?? length / rest);
}

function hint(wanted: readonly Dimension[], sizes: Sizes): string {
  const names = wanted.filter((d) => typeof d === "string");
  const free = names.filter((d) => !sizes.has(d));
  if (free.length > 1) return `: which is ${free.join(" and which ")} cannot be told, give {data, shape}`;
  return names.map((d) => sizes.get(d)).map((d, i) => (d ? `, and ${names[i]} is ${d.size} in ${d.from}` : "")).join("");
}

/** Hold `shape` against what the graph takes, and note its free dimensions. */
function match(wanted: readonly Dimension[], shape: readonly number[], of: string, sizes: Sizes): void {
  const refuse = (why: string): never => {
    throw new TypeError(`${of} has shape [${shape}], the step takes ${shown(wanted)}${why}`);
  };
  if (wanted.length !== shape.length) refuse("");
  wanted.forEach((d, i) => {
    const size = shape[i] as number;
    if (typeof d === "number") return d === size || refuse("");
    const other = sizes.get(d);
    if (other && other.size !== size) refuse(`, and ${d} is ${other.size} in ${other.from}`);
    return sizes.set(d, other ?? { size, from: of });
  });
}

function shown(shape: readonly Dimension[]): string {
  return `[${shape.join(", ")}]`;
}
