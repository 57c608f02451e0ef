// The package as it is built and packed: that its types hold is what `npm run check` says of this file.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Trainer, type Device, type Manifest, type Value } from "modgrad-web";
import * as source from "../src/index.ts";

const folder = process.env["FIXTURES"];
if (!folder) throw new Error("FIXTURES is not set: these tests are run by make web-test");

test("what is built trains", async () => {
  const read = (ending: string): Uint8Array => readFileSync(join(folder, `mlp${ending}`));
  const manifest: unknown = JSON.parse(String(readFileSync(join(folder, "mlp.json"))));
  const trainer = await Trainer.load({ manifest, step: read(".onnx"), predict: read(".predict.onnx"), state: read(".safetensors") });
  const { x, y, lr, losses } = JSON.parse(String(readFileSync(join(folder, "expected.json")))).mlp;
  const loss: number = await trainer.step(x[0], y[0], lr);
  assert.ok(Math.abs(loss - losses[0]) < 1e-5);
  const { shape }: Value = await trainer.predict([1, 2, 3]);
  assert.deepEqual(shape, [1, 4]);
  const [device, { optimizer }]: [Device, Manifest] = [trainer.device, trainer.manifest];
  assert.deepEqual([device, optimizer], ["wasm", "Adam"]);
  // @ts-expect-error: a text is no batch
  await assert.rejects(trainer.step("text", y[0]), /x is no batch/);
  assert.deepEqual(Object.keys(await import("modgrad-web")).sort(), Object.keys(source).sort());
});

test("what is packed", () => {
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { encoding: "utf8" }));
  const names: string[] = packed.files.map(({ path }: { path: string }) => path);
  for (const name of ["README.md", "package.json", "dist/index.js", "dist/index.d.ts"]) assert.ok(names.includes(name), name);
  assert.deepEqual(names.filter((name) => !/^(dist\/\w+\.(js|d\.ts)|README\.md|package\.json)$/.test(name)), []);
});
