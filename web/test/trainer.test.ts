// Trainer over onnxruntime-web's WebAssembly: numbers beside those of onnxruntime in Python, and what it refuses.
// tests/web/test_package.py writes the exports into FIXTURES.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { readSafetensors, Trainer, writeSafetensors, type Files, type Rates } from "../src/index.ts";

const folder = process.env["FIXTURES"];
if (!folder) throw new Error("FIXTURES is not set: these tests are run by make web-test");

interface Expected {
  readonly x: number[][][];
  readonly y: number[][];
  readonly lr: number | null;
  readonly losses: number[];
  readonly prediction: number[][];
  readonly gradients: Record<string, number[]>;
  readonly state: Record<string, number[]>;
}

const expected = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as Record<string, Expected>;
const TOLERANCE = 1e-5; // float32, in another order of additions, after twenty steps

function files(name: string): Files {
  const read = (ending: string): Uint8Array => readFileSync(join(folder as string, `${name}${ending}`));
  const manifest: unknown = JSON.parse(readFileSync(join(folder as string, `${name}.json`), "utf8"));
  return { manifest, step: read(".onnx"), predict: read(".predict.onnx"), state: read(".safetensors") };
}

function near(found: ArrayLike<number | bigint>, wanted: readonly number[], what: string): void {
  assert.equal(found.length, wanted.length, what);
  wanted.forEach((value, i) => assert.ok(Math.abs(Number(found[i]) - value) <= TOLERANCE, `${what}[${i}]: ${found[i]}, not ${value}`));
}

for (const [name, { x, y, lr, losses, prediction, gradients, state }] of Object.entries(expected)) {
  test(`${name}: the numbers of onnxruntime in Python`, async () => {
    const trainer = await Trainer.load(files(name));
    const rate = lr ?? undefined;
    if (trainer.manifest.steps === "scan") {
      near((await trainer.scan(x, y, rate)) as Float32Array, losses, "losses");
    } else {
      const found: number[] = [];
      for (const [i, batch] of x.entries()) found.push(await trainer.step(batch, y[i] as number[], rate));
      near(found, losses, "losses");
    }
    assert.equal(trainer.steps, x.length);
    const said = await trainer.predict(x[0] as number[][]);
    assert.deepEqual(said.shape, [x[0]?.length, 4]);
    near(said.data, prediction.flat(), "prediction");
    const now = await trainer.state();
    assert.deepEqual([...now.keys()], Object.keys(state));
    for (const [key, value] of now) near(value.data, state[key] as number[], key);
    if (trainer.manifest.gradients.length) {
      assert.deepEqual([...trainer.gradients().keys()], Object.keys(gradients));
      for (const [key, value] of trainer.gradients()) near(value.data, gradients[key] as number[], `gradient of ${key}`);
    } else {
      assert.throws(() => trainer.gradients(), /export with gradients=True/);
    }
    if (name === "mlp") writeFileSync(join(folder as string, "saved.safetensors"), await trainer.save());
    await trainer.dispose();
    await assert.rejects(trainer.predict(x[0] as number[][]), /it was disposed of: load it again/);
  });
}

test("from an address", async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    try {
      response.end(readFileSync(join(folder as string, request.url ?? "")));
    } catch {
      response.writeHead(404).end();
    }
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const trainer = await Trainer.load(`${base}/mlp.json`);
    assert.deepEqual(asked.sort(), ["/mlp.json", "/mlp.onnx", "/mlp.predict.onnx", "/mlp.safetensors"]);
    assert.equal(trainer.manifest.optimizer, "Adam");
    await assert.rejects(Trainer.load(`${base}/nothing.json`), /nothing\.json could not be read: 404/);
    await assert.rejects(Trainer.load(`${base}/mlp.onnx`), /mlp\.onnx: this is not JSON/);
    await assert.rejects(Trainer.load("http://127.0.0.1:1/mlp.json"), /1\/mlp\.json could not be read: /);
    await assert.rejects(Trainer.load(`${base}/expected.json`), /not the manifest of an exported training step/);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("batches in every form are the same batch", async () => {
  const { x, y } = expected["mlp"] as Expected;
  const [inputs, targets] = [x[0] as number[][], y[0] as number[]];
  const flat = inputs.flat();
  const forms: [never, never][] = [
    [inputs, targets],
    [flat, targets],
    [Float32Array.from(flat), BigInt64Array.from(targets, BigInt)],
    [Float64Array.from(flat), Int32Array.from(targets)],
    [inputs.map((row) => Float32Array.from(row)), Uint8Array.from(targets)],
    [{ data: flat, shape: [inputs.length, 3] }, { data: targets, shape: [inputs.length] }],
  ] as never;
  const losses = new Set<number>();
  const trainer = await Trainer.load(files("mlp"));
  const start = await trainer.save();
  for (const [a, b] of forms) {
    await trainer.restore(start);
    losses.add(await trainer.step(a, b));
  }
  assert.equal(losses.size, 1);
});

test("calls that are not waited for are taken in turn", async () => {
  const { x, y, lr, losses } = expected["mlp"] as Expected;
  const trainer = await Trainer.load(files("mlp"));
  const all = x.map((batch, i) => trainer.step(batch, y[i] as number[], lr as number));
  near(await Promise.all(all), losses, "losses");
});

test("learning rates: at export, of one step, of each group", async () => {
  const { x, y } = expected["groups"] as Expected;
  const [a, b] = [x[0] as number[][], y[0] as number[]];
  const trainer = await Trainer.load(files("groups"));
  const start = await trainer.save();
  const after = async (lr?: Rates): Promise<string> => {
    await trainer.restore(start);
    await trainer.step(a, b, lr);
    return Buffer.from(await trainer.save()).toString("base64");
  };
  const usual = await after();
  assert.equal(await after([0.1, 0.01]), usual);
  assert.equal(await after({ "0.lr": 0.1 }), usual);
  assert.equal(await after({ "0.lr": 0.1, "1.lr": 0.01 }), usual);
  assert.notEqual(await after({ "1.lr": 0.02 }), usual);
  await assert.rejects(after(0.1), /2 rates: write \{"0.lr": \.\.\., "1.lr": \.\.\.\}/);
  await assert.rejects(after({ lr: 0.1 }), /there is no lr among the step's numbers/);
});

test("what is wrong is refused, and changes nothing", async () => {
  const { x, y } = expected["mlp"] as Expected;
  const [a, b] = [x[0] as number[][], y[0] as number[]];
  const trainer = await Trainer.load(files("mlp"));
  const before = await trainer.save();
  const tensors = readSafetensors(before);
  const without = new Map([...tensors].filter(([name]) => name !== "0.weight"));
  const strange = new Map([...tensors, ["another", tensors.get("1.bias") as never]]);
  const misshapen = new Map([...tensors, ["1.bias", { ...tensors.get("1.bias"), shape: [4, 2] } as never]]);
  const cases: [RegExp, () => Promise<unknown>][] = [
    [/x has shape \[12,3,1\], the step takes \[batch, 3\]/, () => trainer.step(a.map((row) => row.map((v) => [v])), b)],
    [/y has 3 numbers, the step takes \[batch\], and batch is 12 in x/, () => trainer.step(a, [1, 2, 3])],
    [/y is missing/, () => trainer.step(a, undefined as never)],
    [/y holds 0.5, and is of whole numbers/, () => trainer.step(a, b.map(() => 0.5))],
    [/x is ragged/, () => trainer.step([[1, 2, 3], [1, 2]], [0, 1])],
    [/write trainer\.step\(x, y\)/, () => trainer.scan(a, b)],
    [/the file lacks 0\.weight/, () => trainer.restore(writeSafetensors(without))],
    [/the file has another, which the state has not/, () => trainer.restore(writeSafetensors(strange))],
    [/1\.bias is float32 of shape \[4,2\] in the file/, () => trainer.restore(writeSafetensors(misshapen))],
    [/no safetensors file/, () => trainer.restore(new Uint8Array(3))],
    [/there is no WebGPU here/, () => Trainer.load(files("mlp"), { device: "webgpu" })],
    [/device is "gpu": write "wasm" or "webgpu"/, () => Trainer.load(files("mlp"), { device: "gpu" as never })],
    [/does not take the step's graph: /, () => Trainer.load({ ...files("mlp"), step: files("mlp").state })],
    [/version 2/, () => Trainer.load({ ...files("mlp"), manifest: { ...(files("mlp").manifest as object), version: 2 } })],
  ];
  for (const [why, call] of cases) await assert.rejects(call, (error: Error) => why.test(error.message) || assert.fail(error));
  assert.deepEqual(await trainer.save(), before);
});

test("the model's weights alone leave the optimizer's state as it is", async () => {
  const { x, y } = expected["mlp"] as Expected;
  const trainer = await Trainer.load(files("mlp"));
  const kinds = new Map(trainer.manifest.state.map(({ name, kind }) => [name, kind]));
  const start = readSafetensors(await trainer.save());
  await trainer.step(x[0] as number[][], y[0] as number[]);
  const trained = await trainer.state();
  await trainer.restore(writeSafetensors(new Map([...start].filter(([name]) => kinds.get(name) === "parameter"))));
  for (const [name, { data }] of await trainer.state()) {
    assert.deepEqual(data, (kinds.get(name) === "parameter" ? start : trained).get(name)?.data, name);
  }
  const one = new Map([["3.bias", start.get("3.bias") as never]]);
  await assert.rejects(trainer.restore(writeSafetensors(one)), /lacks 0\.weight, 1\.weight, 1\.bias/);
  await trainer.restore(writeSafetensors(one), { strict: false });
});
