// Runs the tests with Node's own runner: `node test/run.mjs [name ...]`, all that need no browser if none is named.

import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const built = join(here, "../build/test");
const IN_A_BROWSER = new Set(["access", "browser", "example", "offline", "webgpu"]);
const all = readdirSync(here).filter((name) => name.endsWith(".test.ts")).map((name) => name.slice(0, -".test.ts".length));
const wanted = process.argv.slice(2);
const names = wanted.length ? wanted : all.filter((name) => !IN_A_BROWSER.has(name));
rmSync(built, { recursive: true, force: true });
await build({
  entryPoints: names.map((name) => join(here, `${name}.test.ts`)),
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  sourcemap: "inline",
  outdir: built,
  outExtension: { ".js": ".mjs" },
  logLevel: "warning",
});
const files = names.map((name) => join(built, `${name}.test.mjs`));
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=spec", ...files], {
  stdio: "inherit",
});
process.exit(status ?? 1);
