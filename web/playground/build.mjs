// Builds the playground into modgrad/playground/page/: the scripts, the page, onnxruntime's WebAssembly; and the service
// worker, which names all that is there. The exported steps in page/models/ are Python's part, and come before:
// python -m modgrad.playground.models.

import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const page = join(here, "../../modgrad/playground/page");
const wasm = createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");

await mkdir(page, { recursive: true });
for (const name of await readdir(page)) if (name !== "models") await rm(join(page, name), { recursive: true });
for (const name of ["index.html", "style.css", "icon.svg"]) await cp(join(here, name), join(page, name));
await cp(wasm, join(page, "ort-wasm-simd-threaded.wasm"));

const common = { bundle: true, minify: true, format: "esm", target: "es2022", outdir: page, logLevel: "warning" };
const source = (name) => join(here, name);
await build({
  ...common,
  // modgrad-web.js is the package by itself, for another page beside this one. onnxruntime's scripts for WebGPU are a chunk that
  // the playground never loads: its models are too small to gain from it, and its WebAssembly is twice as large.
  entryPoints: { main: source("main.ts"), "modgrad-web": source("../src/index.ts") },
  splitting: true,
  chunkNames: "[name]-[hash]",
  // The WebAssembly is named by the page, not found by the bundle.
  external: ["node:*", "module", "worker_threads", "fs", "fs/promises", "path", "url"],
});
const found = await readdir(page, { recursive: true });
const files = found.filter((name) => name !== "models").map((name) => name.replaceAll("\\", "/")).sort();
const hash = createHash("sha256");
for (const name of files) hash.update(name).update(await readFile(join(page, name)));
await build({
  ...common,
  format: "iife",
  entryPoints: { sw: source("sw.ts") },
  define: { FILES: JSON.stringify(files), VERSION: JSON.stringify(hash.digest("hex").slice(0, 12)) },
});
