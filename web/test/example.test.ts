// The page of examples/page, put together as its README says, in headless Chromium.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { readSafetensors } from "../src/index.ts";
import { browser } from "./chromium.ts";
import { between, listen, told, url, wrong } from "./playground.ts";

let chromium: Browser;
let page: Page;

before(async () => {
  chromium = await browser("--disable-gpu");
  page = await chromium.newPage({ viewport: { width: 360, height: 740 } });
});

after(() => chromium.close());

test("it learns, and saves the weights", async () => {
  listen(page);
  await page.goto(url);
  await page.waitForFunction(
    () => Number(/([\d.]+) % wrong/.exec(document.getElementById("told")?.textContent ?? "")?.[1] ?? 100) <= 5,
    undefined,
    { timeout: 60_000 },
  );
  const saving = page.waitForEvent("download");
  await page.click("#save");
  const saved = readSafetensors(readFileSync(await (await saving).path()));
  assert.deepEqual(saved.get("inner.weight")?.shape, [25, 2]);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  assert.deepEqual(wrong.filter((text) => !text.includes("404")), []); // the browser asks for an icon
});

test("it says what is missing", async () => {
  const server = await between((path, body, response) => {
    if (!path.endsWith("own.onnx")) return body;
    response.statusCode = 404;
    return undefined;
  });
  await page.goto(server.url);
  await told(page, "told", /own\.onnx could not be read: 404/);
  server.stop();
});
