// The playground without its server, with a newer one, and with files missing.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { browser } from "./chromium.ts";
import { between, ready, told } from "./playground.ts";

let chromium: Browser;
let page: Page;

before(async () => {
  chromium = await browser("--disable-gpu");
});

beforeEach(async () => {
  page = await (await chromium.newContext()).newPage();
});

after(() => chromium.close());

/** Wait until the page is kept. */
const kept = (): Promise<unknown> => page.evaluate(async () => void (await navigator.serviceWorker.ready));

test("it works without its server, once loaded", async () => {
  const server = await between();
  await page.goto(server.url);
  await ready(page);
  await kept();
  server.stop();
  await page.reload();
  await ready(page);
  await page.click("#step");
  await told(page, "steps", /^1$/);
  await page.selectOption("#model", "tanh"); // was not looked at before
  await told(page, "about-model", /tanh/);
  await page.click("nav a[href='#digits']");
  await told(page, "digit-error", /%/);
});

test("a newer page takes the place of the one that is kept", async () => {
  let newer = false;
  const server = await between((path, body) => {
    if (newer && path === "/") return Buffer.from(String(body).replace(/<title>.*<\/title>/, "<title>newer</title>"));
    if (newer && path === "/sw.js") return Buffer.from(String(body).replaceAll(/[0-9a-f]{12}/g, "0123456789ab"));
    return body;
  });
  await page.goto(server.url);
  await ready(page);
  await kept();
  const caches = (): Promise<string[]> => page.evaluate(() => globalThis.caches.keys());
  const [old] = await caches();
  newer = true;
  await page.reload(); // at once, though the older one is kept
  assert.equal(await page.title(), "newer");
  await ready(page);
  await page.waitForFunction(
    async (old) => {
      const names = await globalThis.caches.keys();
      return names.length === 1 && names[0] !== old;
    },
    old,
    { timeout: 20_000 },
  );
  server.stop();
  await page.reload();
  assert.equal(await page.title(), "newer");
  await ready(page);
});

test("a model that cannot be loaded is told, and the one before stays", async () => {
  let missing = true;
  const server = await between((path, body, response) => {
    if (!missing || !/tanh-adam\.onnx|digits-data/.test(path)) return body;
    response.statusCode = 404;
    return undefined;
  });
  await page.addInitScript(() => Object.defineProperty(navigator, "serviceWorker", { value: { register: () => new Promise(() => undefined) } }));
  await page.goto(server.url);
  await ready(page);
  await page.selectOption("#model", "tanh");
  await told(page, "status", /tanh-adam\.onnx could not be read: 404/);
  assert.equal(await page.inputValue("#model"), "relu");
  await page.click("#step");
  await told(page, "steps", /^1$/);
  await page.click("nav a[href='#digits']");
  await told(page, "status", /digits-data\.safetensors could not be read: 404/);
  missing = false;
  await page.click("nav a[href='#points']");
  await page.selectOption("#model", "tanh");
  await told(page, "about-model", /tanh/);
  await told(page, "status", /^$/);
  await page.click("nav a[href='#digits']");
  await told(page, "digit-error", /%/);
  server.stop();
  await page.click("nav a[href='#points']");
  await page.selectOption("#model", "wide");
  await told(page, "status", /wide-adam\.json could not be read: /);
  assert.equal(await page.inputValue("#model"), "tanh");
});

for (const [file, pattern] of [
  ["index.json", /models\/index\.json could not be read: 404/],
  ["relu-adam.json", /relu-adam\.json could not be read: 404/],
  ["ort-wasm-simd-threaded.wasm", /onnxruntime-web did not start: .*ort-wasm-simd-threaded\.wasm; when it is there, load the page again/],
] as const) {
  test(`without ${file} the page says so`, async () => {
    const server = await between((path, body, response) => {
      if (!path.endsWith(`/${file}`)) return body;
      response.statusCode = 404;
      return undefined;
    });
    await page.goto(server.url);
    await told(page, "status", pattern);
    assert.ok(await page.locator("#status.wrong").isVisible());
    assert.equal(await page.getAttribute("html", "data-ready"), null);
    server.stop();
  });
}
