// The playground in headless Chromium: it trains. tests/web/test_playground.py compares the numbers that this leaves in OUT with
// those of onnxruntime in Python.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { writeSafetensors } from "../src/index.ts";
import { browser } from "./chromium.ts";
import { listen, out, percent, ready, shoot, told, trainTo, url, wrong } from "./playground.ts";

let chromium: Browser;
let context: BrowserContext;
let page: Page;
/** What docs/playground.md tells of it. */
const figures: Record<string, number> = {};

before(async () => {
  chromium = await browser("--disable-gpu");
  context = await chromium.newContext({ viewport: { width: 1360, height: 900 } });
  page = await context.newPage();
  listen(page);
});

after(async () => {
  await chromium.close();
  writeFileSync(join(out, "figures.json"), `${JSON.stringify(figures, undefined, 1)}\n`);
});

test("the page is usable within 3 seconds", async () => {
  await page.goto(url);
  await ready(page);
  const milliseconds = Number(await page.evaluate(() => document.documentElement.dataset["ready"]));
  figures["usable after, ms"] = milliseconds;
  assert.ok(milliseconds > 0 && milliseconds < 3000, `${milliseconds} ms`);
});

test("100 steps, for Python to compare", async () => {
  // In the page, over the page's own code: the batches it takes, the buttons a reader presses.
  const before = await page.evaluate(async () => {
    const { points } = globalThis.playground as NonNullable<typeof globalThis.playground>;
    const { inputs, classes } = points.data.train;
    return {
      inputs: [...inputs],
      classes: [...classes],
      batches: Array.from({ length: 100 }, (_, step) => [...points.batch(step)]),
      lr: Number((document.getElementById("lr-value") as HTMLOutputElement).value),
    };
  });
  for (let i = 0; i < 3; i++) await page.click("#step");
  await page.evaluate(async () => {
    for (let i = 3; i < 100; i++) await globalThis.playground?.points.step();
  });
  await told(page, "steps", /^100$/);
  const state = await page.evaluate(async () => {
    const state = await globalThis.playground?.points.trainer?.state();
    return [...(state ?? [])].map(([name, { data }]) => [name, Array.from(data as Float32Array, Number)]);
  });
  const layers = await page.locator("#layers canvas").count();
  assert.equal(layers, 16, "pictures of four weights, four biases and their gradients");
  writeFileSync(join(out, "steps.json"), JSON.stringify({ ...before, state: Object.fromEntries(state) }));
});

test("it learns the disc to at most 3 % test error", async () => {
  await page.click("#reset");
  await told(page, "steps", /^0$/);
  const error = await trainTo(page, 2, 20);
  figures["disc, test error, %"] = error;
  assert.ok(error <= 3, `${error} %`);
  await shoot(page, "points-light");
});

test("while it runs all is drawn live, and the learning rate is as the slider says", async () => {
  await page.click("#reset");
  await told(page, "steps", /^0$/);
  const drawn = (): Promise<Record<string, string>> =>
    page.evaluate(() => {
      const canvases = [...document.querySelectorAll<HTMLCanvasElement>("#surface, #loss-chart, #error-chart, #layers canvas")];
      return Object.fromEntries(canvases.map((canvas, i) => [canvas.id || `layer ${i}`, canvas.toDataURL()]));
    });
  await page.evaluate(() => {
    const trainer = globalThis.playground?.points.trainer as never as { step(...args: unknown[]): unknown };
    const step = trainer.step.bind(trainer);
    trainer.step = (x, y, lr) => {
      document.documentElement.dataset["lr"] = String(lr);
      return step(x, y, lr);
    };
  });
  const before = await drawn();
  await page.click("#run");
  await page.waitForFunction(() => Number(document.getElementById("speed")?.textContent?.replace(/\D/g, "")) > 0);
  const during = await drawn();
  for (const [name, picture] of Object.entries(before)) assert.notEqual(during[name], picture, `${name} is not drawn anew`);
  for (const exponent of ["-3", "-2"]) {
    await page.fill("#lr", exponent);
    await page.waitForFunction((lr) => document.documentElement.dataset["lr"] === lr, String(10 ** Number(exponent)));
  }
  assert.equal(await page.innerText("#run"), "Pause");
  await page.waitForTimeout(1500); // for a speed that is not that of the start
  figures["steps of 100 points a second"] = Number((await page.innerText("#speed")).replace(/\D/g, ""));
  await page.click("#run");
  await told(page, "speed", /^$/);
});

for (const [data, model, optimizer, most] of [
  ["moons", "tanh", "sgd", 3],
  ["circles", "batchnorm", "adamw", 3],
  ["spirals", "wide", "adam", 5],
  ["moons", "dropout", "adam", 3],
] as const) {
  test(`it learns ${data} with ${model} and ${optimizer}`, async () => {
    await page.check(`input[value=${data}]`);
    await page.selectOption("#model", model);
    await page.selectOption("#optimizer", optimizer);
    await told(page, "steps", /^0$/);
    const error = await trainTo(page, most, 20);
    figures[`${data}, ${model}, ${optimizer}, test error, %`] = error;
    assert.ok(error <= most, `${error} %`);
  });
}

test("a learning rate that is too high is told, and Reset mends it", async () => {
  await page.selectOption("#model", "relu");
  await page.selectOption("#optimizer", "sgd");
  await told(page, "steps", /^0$/);
  await page.evaluate(() => {
    const points = globalThis.playground?.points;
    points?.data.train.inputs.fill(1e30, 0, 400); // numbers beyond what float32 can square
  });
  await page.click("#run");
  await told(page, "status", /learning rate is too high/);
  assert.equal(await page.innerText("#run"), "Run");
  await page.check("input[value=circles]");
  await told(page, "status", /^$/);
  assert.ok(Number.isFinite(await percent(page, "#test-error")));
});

test("digits: what is drawn is read, taught, learnt, forgotten", async () => {
  await page.click("nav a[href='#digits']");
  await told(page, "digit-error", /%/);
  const before = await percent(page, "#digit-error");
  assert.ok(before <= 5, `${before} %`);
  await page.locator("#pad").scrollIntoViewIfNeeded();
  const box = (await page.locator("#pad").boundingBox()) as NonNullable<Awaited<ReturnType<ReturnType<Page["locator"]>["boundingBox"]>>>;
  const stroke = async (points: readonly (readonly [number, number])[]): Promise<void> => {
    for (const [i, [x, y]] of points.entries()) {
      await page.mouse.move(box.x + x * box.width, box.y + y * box.height, { steps: 4 });
      if (i === 0) await page.mouse.down();
    }
    await page.mouse.up();
  };
  await stroke([[0.5, 0.12], [0.5, 0.88]]);
  await told(page, "verdict", /^1$/);
  await page.click("#clear");
  await told(page, "verdict", /^–$/);
  const ring = Array.from({ length: 25 }, (_, i) => [0.5 + 0.26 * Math.sin(i / 3.8), 0.5 - 0.38 * Math.cos(i / 3.8)] as const);
  await stroke(ring);
  await told(page, "verdict", /^0$/);
  await page.click("#clear");
  // A 7 with a bar that the model has rarely seen, called 4: whatever the reader says is learnt.
  await stroke([[0.25, 0.15], [0.75, 0.15], [0.4, 0.9]]);
  await stroke([[0.3, 0.5], [0.7, 0.5]]);
  await page.locator("#labels label", { hasText: "4" }).click();
  for (let i = 0; i < 3; i++) {
    await page.click("#learn");
    await told(page, "digit-steps", new RegExp(`^${25 * (i + 1)}$`));
  }
  await told(page, "status", /Learnt/);
  assert.equal(await page.innerText("#verdict"), "4");
  assert.equal(await page.locator("#taught li").count(), 3);
  const after = await percent(page, "#digit-error");
  [figures["digits, test error, %"], figures["digits, test error after Learn, %"]] = [before, after];
  assert.ok(after <= before + 4, `${after} %`);
  await shoot(page, "digits-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForTimeout(200);
  await shoot(page, "digits-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.click("#forget");
  await told(page, "digit-error", new RegExp(`^${before.toFixed(1)} %$`));
  assert.equal(await page.locator("#taught li").count(), 0);
});

test("digits: one of the test set, and a label only for what it was chosen for", async () => {
  const labels = page.locator("#labels input:checked");
  await page.click("#clear");
  await page.click("#learn");
  await told(page, "status", /Draw a digit first/);
  await page.click("#sample");
  await told(page, "verdict", /^\d$/);
  assert.equal(await labels.count(), 1, "a test digit has a label");
  await page.click("#learn");
  await told(page, "status", /Learnt in 25 steps that this is a/);
  await page.click("#pad"); // what is drawn now is another digit
  assert.equal(await labels.count(), 0);
  await page.click("#learn");
  await told(page, "status", /Say first which digit it is/);
  assert.equal(await page.locator("#taught li").count(), 1);
  await page.click("#forget");
  await told(page, "status", /Back to the model/);
});

test("the state goes to a file and back", async () => {
  await page.click("nav a[href='#points']");
  const saving = page.waitForEvent("download");
  await page.click("#step");
  await page.click("#points-save");
  const path = join(out, "saved.safetensors");
  await (await saving).saveAs(path);
  const error = await page.innerText("#test-error");
  await page.click("#reset");
  await page.setInputFiles("#points-file", path);
  await told(page, "status", /was taken from/);
  assert.equal(await page.innerText("#test-error"), error);
  await page.setInputFiles("#points-file", { name: "other.safetensors", mimeType: "", buffer: Buffer.from(writeSafetensors(new Map())) });
  await told(page, "status", /other\.safetensors has no 0\.weight: it is of another model/);
});

test("nothing went wrong on the way", () => {
  assert.deepEqual(wrong, []);
});
