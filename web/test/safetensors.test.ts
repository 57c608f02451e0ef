import assert from "node:assert/strict";
import { test } from "node:test";
import { readSafetensors, writeSafetensors, type Value } from "../src/index.ts";

const TENSORS = new Map<string, Value>([
  ["flags", { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) }],
  ["weight", { dtype: "float32", shape: [2, 2], data: Float32Array.of(1, -2, 3.5, 1e-38) }],
  ["count", { dtype: "int64", shape: [], data: BigInt64Array.of(-(2n ** 62n)) }],
  ["lr", { dtype: "float64", shape: [1], data: Float64Array.of(0.1) }],
  ["empty", { dtype: "float32", shape: [0, 4], data: new Float32Array(0) }],
]);

test("what is written is read", () => {
  const file = writeSafetensors(TENSORS, { format: "pt" });
  const read = readSafetensors(file);
  assert.equal(read.size, TENSORS.size);
  for (const [name, value] of TENSORS) assert.deepEqual(read.get(name), value, name);
});

test("it is read wherever it lies in memory, as in Node's buffers", () => {
  const file = writeSafetensors(TENSORS);
  const larger = Buffer.alloc(file.length + 10);
  larger.set(file, 3);
  const read = readSafetensors(larger.subarray(3, 3 + file.length));
  for (const [name, value] of TENSORS) assert.deepEqual(read.get(name), value, name);
});

test("each tensor begins at a multiple of its size", () => {
  const file = writeSafetensors(TENSORS);
  const length = Number(new DataView(file.buffer).getBigUint64(0, true));
  assert.equal(length % 8, 0);
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as Record<string, { data_offsets: number[] }>;
  for (const [name, { data }] of TENSORS) assert.equal((header[name]?.data_offsets[0] ?? 1) % data.BYTES_PER_ELEMENT, 0, name);
});

const broken = (header: unknown, numbers = 4): Uint8Array => {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + numbers);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
};

for (const [why, file] of [
  [/it has 3 bytes/, new Uint8Array(3)],
  [/its header is to have/, broken({}).subarray(0, 9)],
  [/not JSON/, broken("{")],
  [/no list of names/, broken("null")],
  [/no shape/, broken({ w: { dtype: "F32" } })],
  [/w has safetensors' dtype F8/, broken({ w: { dtype: "F8", shape: [1], data_offsets: [0, 4] } })],
  [/w of shape \[2\] lies at 0 to 4/, broken({ w: { dtype: "F32", shape: [2], data_offsets: [0, 4] } })],
  [/w of shape \[1\] lies at 4 to 8/, broken({ w: { dtype: "F32", shape: [1], data_offsets: [4, 8] } })],
] as const) {
  test(`a damaged file is refused: ${why.source}`, () => assert.throws(() => readSafetensors(file), why));
}
