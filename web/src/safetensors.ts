// Files of named tensors that hold no code: eight bytes of length, a header in JSON, the numbers.
// https://huggingface.co/docs/safetensors

import { count, fromBytes, fromFile, itemSize, toBytes, toFile, type Value } from "./dtypes.ts";

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** The tensors of a safetensors file, by name. A file that is damaged is refused, and says where. */
export function readSafetensors(file: Uint8Array): Map<string, Value> {
  const refuse = (why: string): never => {
    throw new TypeError(`this is no safetensors file, or it is damaged: ${why}`);
  };
  if (file.byteLength < 8) refuse(`it has ${file.byteLength} bytes`);
  const length = Number(new DataView(file.buffer, file.byteOffset, 8).getBigUint64(0, true));
  if (8 + length > file.byteLength) refuse(`its header is to have ${length} bytes, the file has ${file.byteLength}`);
  let header: Record<string, Entry> = {};
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(file.subarray(8, 8 + length)));
  } catch {
    refuse("its header is not JSON");
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) refuse("its header is no list of names");
  const numbers = file.subarray(8 + length);
  const tensors = new Map<string, Value>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (!Array.isArray(entry?.shape) || !Array.isArray(entry.data_offsets)) refuse(`${name} has no shape or no place`);
    const dtype = fromFile(entry.dtype, name);
    const [begin, end] = entry.data_offsets;
    const bytes = count(entry.shape) * itemSize(dtype);
    if (!(begin >= 0 && end - begin === bytes && end <= numbers.byteLength)) {
      refuse(`${name} of shape [${entry.shape}] lies at ${begin} to ${end} of ${numbers.byteLength} bytes`);
    }
    tensors.set(name, { dtype, shape: entry.shape, data: fromBytes(dtype, numbers.subarray(begin, end)) });
  }
  return tensors;
}

/** The bytes of a safetensors file that holds `tensors` under their names. */
export function writeSafetensors(tensors: ReadonlyMap<string, Value>, metadata: Record<string, string> = {}): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  // The widest first, so that each begins at a multiple of its size, as readers that do not copy want it.
  const ordered = [...tensors].sort(([, a], [, b]) => itemSize(b.dtype) - itemSize(a.dtype));
  for (const [name, { dtype, shape, data }] of ordered) {
    header[name] = { dtype: toFile(dtype), shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(text.length / 8) * 8;
  const file = new Uint8Array(8 + length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(length), true);
  file.fill(0x20, 8, 8 + length);
  file.set(text, 8);
  let at = 8 + length;
  for (const [, { data }] of ordered) {
    file.set(toBytes(data), at);
    at += data.byteLength;
  }
  return file;
}
