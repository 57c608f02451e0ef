import assert from "node:assert/strict";
import { test } from "node:test";
import { fill, type Batch, type Sizes } from "../src/batch.ts";

const SPEC = { shape: ["batch", 2], dtype: "float32" } as const;
const STACKED = { shape: ["steps", "batch", 2], dtype: "float32" } as const;
const known = (sizes: Record<string, number>): Sizes =>
  new Map(Object.entries(sizes).map(([name, size]) => [name, { size, from: "x" }]));

for (const [spec, given, sizes, shape] of [
  [SPEC, [1, 2, 3, 4], {}, [2, 2]],
  [SPEC, [], {}, [0, 2]],
  [SPEC, [[1, 2]], {}, [1, 2]],
  [SPEC, new Float32Array(6), { batch: 3 }, [3, 2]],
  [STACKED, { data: new Float32Array(24), shape: [3, 4, 2] }, {}, [3, 4, 2]],
  [STACKED, new Float32Array(24), { steps: 3 }, [3, 4, 2]],
  [{ shape: [], dtype: "float64" }, 0.1, {}, []],
  [{ shape: ["batch"], dtype: "bool" }, [true, false], {}, [2]],
] as [Parameters<typeof fill>[0], Batch, Record<string, number>, number[]][]) {
  test(`[${spec.shape}] of ${JSON.stringify(given).slice(0, 40)}`, () => {
    const all = known(sizes);
    assert.deepEqual(fill(spec, given, "y", all).shape, shape);
    spec.shape.forEach((name, i) => typeof name === "string" && assert.equal(all.get(name)?.size, shape[i]));
  });
}

for (const [why, spec, given, sizes] of [
  [/y has 3 numbers, the step takes \[batch, 2\]/, SPEC, [1, 2, 3], {}],
  [/and batch is 4 in x/, SPEC, [1, 2], { batch: 4 }],
  [/and batch is 4 in x/, SPEC, [[1, 2]], { batch: 4 }],
  [/which is steps and which batch cannot be told, give \{data, shape\}/, STACKED, new Float32Array(24), {}],
  [/y is no batch/, SPEC, { x: 1 } as never, {}],
  [/y holds 300, which is not of its dtype uint8/, { shape: ["batch"], dtype: "uint8" }, [300], {}],
  [/y holds 2, which is not of its dtype bool/, { shape: ["batch"], dtype: "bool" }, [2], {}],
  [/y holds NaN, and is of whole numbers/, { shape: ["batch"], dtype: "int64" }, [NaN], {}],
  [/y has the dtype bfloat16, which modgrad-web does not have/, { shape: ["batch"], dtype: "bfloat16" }, [1], {}],
] as [RegExp, Parameters<typeof fill>[0], Batch, Record<string, number>][]) {
  test(`refused: ${why.source}`, () => assert.throws(() => fill(spec, given, "y", known(sizes)), why));
}
