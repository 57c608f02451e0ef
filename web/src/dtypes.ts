// The dtypes of state and batches, under numpy's names: what each is to onnxruntime, to safetensors and to JavaScript.

/** An array of numbers as JavaScript keeps it. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

const TABLE = {
  float32: { file: "F32", make: Float32Array },
  float64: { file: "F64", make: Float64Array },
  int64: { file: "I64", make: BigInt64Array },
  uint64: { file: "U64", make: BigUint64Array },
  int32: { file: "I32", make: Int32Array },
  uint32: { file: "U32", make: Uint32Array },
  int16: { file: "I16", make: Int16Array },
  uint16: { file: "U16", make: Uint16Array },
  int8: { file: "I8", make: Int8Array },
  uint8: { file: "U8", make: Uint8Array },
  bool: { file: "BOOL", make: Uint8Array },
} as const;

/** A dtype that onnxruntime-web, safetensors and JavaScript all have; numpy's name, which is onnxruntime's too. */
export type Dtype = keyof typeof TABLE;

/** A tensor out of onnxruntime's hands: its numbers in row-major order. */
export interface Value {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

/** `name`, if it is a dtype that all three have. */
export function asDtype(name: string, of: string): Dtype {
  if (Object.hasOwn(TABLE, name)) return name as Dtype;
  const known = Object.keys(TABLE).join(", ");
  throw new TypeError(`${of} has the dtype ${name}, which modgrad-web does not have: it has ${known}`);
}

/** The dtype of safetensors' name, as "F32". */
export function fromFile(name: string, of: string): Dtype {
  for (const [dtype, row] of Object.entries(TABLE)) if (row.file === name) return dtype as Dtype;
  throw new TypeError(`${of} has safetensors' dtype ${name}, which modgrad-web does not have`);
}

/** safetensors' name of a dtype. */
export function toFile(dtype: Dtype): string {
  return TABLE[dtype].file;
}

/** The bytes of one element. */
export function itemSize(dtype: Dtype): number {
  return TABLE[dtype].make.BYTES_PER_ELEMENT;
}

/** How many elements a shape has. */
export function count(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** An array of `length` zeros. */
export function zeros(dtype: Dtype, length: number): TypedArray {
  return new TABLE[dtype].make(length);
}

/** The elements in `bytes`, which are copied: they may lie at any offset. */
export function fromBytes(dtype: Dtype, bytes: Uint8Array): TypedArray {
  const copy = new Uint8Array(bytes); // not slice(), which on Node's Buffer does not copy
  return new TABLE[dtype].make(copy.buffer, 0, copy.byteLength / itemSize(dtype));
}

/** The bytes of an array, not copied. */
export function toBytes(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * Numbers as an array of `dtype`; the very array where it is one already.
 *
 * A number that the dtype cannot hold is refused: a fraction, or one too large, among integers.
 */
export function cast(dtype: Dtype, values: ArrayLike<number | bigint | boolean>, of: string): TypedArray {
  const make = TABLE[dtype].make;
  if (values instanceof make && dtype !== "bool") return values;
  const floating = dtype === "float32" || dtype === "float64";
  const out = zeros(dtype, values.length);
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    out[i] = (dtype === "int64" || dtype === "uint64" ? whole(values[i], of) : value) as never;
    const kept = dtype === "bool" ? value === 0 || value === 1 : floating || Number(out[i]) === value;
    if (!kept) throw new TypeError(`${of} holds ${String(values[i])}, which is not of its dtype ${dtype}`);
  }
  return out;
}

function whole(value: number | bigint | boolean | undefined, of: string): bigint {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new TypeError(`${of} holds ${value}, and is of whole numbers`);
  }
  return BigInt(value ?? 0);
}
