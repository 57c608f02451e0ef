// Builds the playground into modgrad/playground/page/: the scripts, the page, onnxruntime's WebAssembly. The exported
// steps in page/models/ are Python's part: python -m modgrad.playground.models.

import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
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
  // modgrad-web.js is the package by itself, for another page beside this one.
  entryPoints: { main: source("main.ts"), "modgrad-web": source("../src/index.ts") },
  splitting: true,
  chunkNames: "[name]-[hash]",
  // The playground runs on WebAssembly alone: its models are too small to gain from WebGPU, whose build is twice as large.
  plugins: [{
    name: "wasm-only",
    setup: ({ onResolve, resolve }) =>
      onResolve({ filter: /^onnxruntime-web$/ }, ({ kind, resolveDir }) => resolve("onnxruntime-web/wasm", { kind, resolveDir })),
  }],
  // The WebAssembly is named by the page, not found by the bundle.
  external: ["node:*", "module", "worker_threads", "fs", "fs/promises", "path", "url"],
});
const files = (await readdir(page)).filter((name) => name !== "models" && name !== "sw.js").sort();
const hash = createHash("sha256");
for (const name of files) hash.update(name).update(await readFile(join(page, name)));
await build({
  ...common,
  format: "iife",
  entryPoints: { sw: source("sw.ts") },
  define: { FILES: JSON.stringify(files), VERSION: JSON.stringify(hash.digest("hex").slice(0, 12)) },
});

for (const name of [...files, "sw.js"]) {
  const bytes = await readFile(join(page, name));
  const kilo = (n) => `${(n / 1000).toFixed(1)} kB`.padStart(12);
  console.log(`${name.padEnd(32)}${kilo((await stat(join(page, name))).size)}${kilo(gzipSync(bytes).length)} compressed`);
}
