// Trainer over WebGPU, in headless Chromium with a GPU made of software (SwiftShader): the numbers of onnxruntime in Python. The
// script is modgrad-web.js, as it lies beside the playground.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type * as Package from "../src/index.ts";
import { browser } from "./chromium.ts";

const folder = process.env["FIXTURES"];
if (!folder) throw new Error("FIXTURES is not set: these tests are run by make web-test");
const PAGE = "../modgrad/playground/page";
const ORT = dirname(createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.jsep.wasm"));

test("on WebGPU the state stays there, and the numbers are the same", async () => {
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    const kind = /js$/.test(path) ? "text/javascript" : path.endsWith(".wasm") ? "application/wasm" : "text/html";
    response.setHeader("content-type", kind);
    if (path === "/" || path === "/favicon.ico") response.end("<!doctype html>");
    else if (/^\/ort.*(wasm|mjs)$/.test(path)) response.end(readFileSync(join(ORT, path)));
    else response.end(readFileSync(join(path.endsWith(".js") ? PAGE : folder, path)));
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const chromium = await browser("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan");
  try {
    const page = await chromium.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const found = await page.evaluate(async ([index, other]) => {
      const { Trainer, hasWebGPU } = (await import(index)) as typeof Package;
      if (!(await hasWebGPU())) return undefined;
      let pipelines = 0; // of the GPU, as a sign that it takes part
      const device = (globalThis as never as { GPUDevice: { prototype: { createComputePipeline(of: unknown): unknown } } }).GPUDevice;
      const create = device.prototype.createComputePipeline;
      device.prototype.createComputePipeline = function (of) {
        pipelines++;
        return create.call(this, of);
      };
      const expected = await (await fetch("/expected.json")).json();
      const results: Record<string, { losses: number[]; prediction: number[]; state: Record<string, number[]> }> = {};
      const refused: Record<string, string> = {};
      const train = async (name: string): Promise<void> => {
        const { x, y, lr } = expected[name];
        const trainer = await Trainer.load(`/${name}.json`, { device: "webgpu", wasm: new URL("/ort-wasm-simd-threaded.jsep.wasm", location.href) });
        const scan = trainer.manifest.steps === "scan";
        const losses: number[] = [];
        if (scan) losses.push(...Array.from((await trainer.scan(x, y, lr ?? undefined)) as Float32Array, Number));
        else for (const [i, batch] of x.entries()) losses.push(await trainer.step(batch, y[i], lr ?? undefined));
        const state = [...(await trainer.state())].map(([key, { data }]) => [key, Array.from(data as Float32Array, Number)]);
        const prediction = Array.from((await trainer.predict(x[0])).data as Float32Array, Number);
        await trainer.restore(await trainer.save());
        if (scan) await trainer.scan(x, y);
        else await trainer.step(x[0], y[0]);
        results[name] = { losses, prediction, state: Object.fromEntries(state) };
        await trainer.dispose();
      };
      for (const name of Object.keys(expected)) await train(name).catch((error) => (refused[name] = error.message));
      const ort = await import(other);
      const wasm = "/ort-wasm-simd-threaded.asyncify.wasm";
      refused["of another build"] = await Trainer.load("/mlp.json", { device: "webgpu", ort, wasm }).catch((error) => error.message);
      return { expected, results, pipelines, refused };
    }, ["/modgrad-web.js", "/ort.webgpu.bundle.min.mjs"] as const); // names, so that the bundler of this test does not look for them
    assert.ok(found, "Chromium has no WebGPU, not even of software");
    console.log(`${found.pipelines} pipelines`);
    assert.ok(found.pipelines > 10, `${found.pipelines} pipelines on the GPU`);
    const { "of another build": other, ...refused } = found.refused;
    assert.match(other ?? "", /does not take the step's graph: .*have no float64, .*: leave ort out/s);
    assert.equal(Object.keys(found.results).length + Object.keys(refused).length, Object.keys(found.expected).length);
    for (const [name, why] of Object.entries(refused)) {
      assert.ok(name === "strided" || name === "pooled", `${name}: ${why}`);
      assert.match(why, /on WebGPU: .*; write device: "wasm"$/s);
    }
    for (const [name, { losses, prediction, state }] of Object.entries(found.results)) {
      const wanted = found.expected[name];
      const near = (a: number[], b: number[], what: string): void =>
        b.forEach((value, i) => assert.ok(Math.abs((a[i] ?? NaN) - value) < 1e-5, `${name}, ${what}[${i}]: ${a[i]}, not ${value}`));
      near(losses, wanted.losses, "losses");
      near(prediction, wanted.prediction.flat(), "prediction");
      for (const [key, values] of Object.entries(wanted.state)) near(state[key] ?? [], values as number[], key);
    }
  } finally {
    await chromium.close();
    server.close();
    server.closeAllConnections();
  }
});
