// The playground in headless Chromium. tests/web/test_playground.py serves it, runs this, and compares the numbers that it
// leaves in OUT with those of onnxruntime in Python.
//
//   PLAYGROUND_URL   where the page is
//   OUT              a folder for numbers and screenshots
//   CHROMIUM         the browser (default: /usr/bin/chromium)

import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { browser } from "./chromium.ts";

const url = process.env["PLAYGROUND_URL"] ?? "http://127.0.0.1:8462/";
const out = process.env["OUT"] ?? mkdtempSync(join(tmpdir(), "playground-"));
let chromium: Browser;
let context: BrowserContext;
let page: Page;
const wrong: string[] = [];

before(async () => {
  chromium = await browser("--disable-gpu");
  context = await chromium.newContext({ viewport: { width: 1360, height: 900 } });
  page = await context.newPage();
  listen(page);
});

after(() => chromium.close());

/** Note what goes wrong in a page, and what it asks of anybody but its server. */
function listen(page: Page): void {
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) wrong.push(`asked for ${request.url()}`);
  });
}

const ready = (page: Page): Promise<unknown> => page.waitForSelector("html[data-ready]", { timeout: 30_000 });
const percent = async (page: Page, id: string): Promise<number> => Number.parseFloat(await page.locator(id).innerText());
const shoot = (page: Page, name: string): Promise<Buffer> => page.screenshot({ path: join(out, `${name}.png`), fullPage: true });

/** Train until the test error is at most `most` % and stays so when the button is pressed, or for `seconds`. */
async function trainTo(page: Page, most: number, seconds: number): Promise<number> {
  await page.selectOption("#pace", "1000000");
  const until = Date.now() + 1000 * seconds;
  const reached = async (): Promise<boolean> => (await percent(page, "#test-error")) <= most;
  do {
    await page.click("#run");
    do await page.waitForTimeout(100);
    while (Date.now() < until && !(await reached()));
    await page.click("#run");
    await page.waitForFunction(() => document.getElementById("speed")?.textContent === "");
  } while (Date.now() < until && !(await reached())); // a few steps were taken after the last look
  return percent(page, "#test-error");
}

test("the page is usable within 3 seconds", async () => {
  await page.goto(url);
  await ready(page);
  const milliseconds = Number(await page.evaluate(() => document.documentElement.dataset["ready"]));
  console.log(`usable after ${milliseconds} ms`);
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
  await page.waitForFunction(() => document.getElementById("steps")?.textContent === "100");
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
  await page.waitForFunction(() => document.getElementById("steps")?.textContent === "0");
  const error = await trainTo(page, 2, 20);
  console.log(`disc: ${error} % test error after ${await page.innerText("#steps")} steps`);
  assert.ok(error <= 3, `${error} %`);
  await shoot(page, "points-light");
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
    await page.waitForFunction(() => document.getElementById("steps")?.textContent === "0");
    const error = await trainTo(page, most, 20);
    console.log(`${data}, ${model}, ${optimizer}: ${error} % test error after ${await page.innerText("#steps")} steps`);
    assert.ok(error <= most, `${error} %`);
  });
}

test("dark", async () => {
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForTimeout(200);
  await shoot(page, "points-dark");
  await page.emulateMedia({ colorScheme: "light" });
});

test("a learning rate that is too high is told, and Reset mends it", async () => {
  await page.selectOption("#model", "relu");
  await page.selectOption("#optimizer", "sgd");
  await page.waitForFunction(() => document.getElementById("steps")?.textContent === "0");
  await page.evaluate(() => {
    const points = globalThis.playground?.points;
    points?.data.train.inputs.fill(1e30, 0, 400); // numbers beyond what float32 can square
  });
  await page.click("#run");
  await page.waitForFunction(() => /learning rate is too high/.test(document.getElementById("status")?.textContent ?? ""));
  assert.equal(await page.innerText("#run"), "Run");
  await page.check("input[value=circles]");
  await page.waitForFunction(() => document.getElementById("status")?.textContent === "");
  assert.ok(Number.isFinite(await percent(page, "#test-error")));
});

test("digits: what is drawn is read, taught, learnt, forgotten", async () => {
  await page.click("nav a[href='#digits']");
  await page.waitForFunction(() => /%/.test(document.getElementById("digit-error")?.textContent ?? ""));
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
  await page.waitForFunction(() => document.getElementById("verdict")?.textContent === "1");
  await page.click("#clear");
  await page.waitForFunction(() => document.getElementById("verdict")?.textContent === "–");
  const ring = Array.from({ length: 25 }, (_, i) => [0.5 + 0.26 * Math.sin(i / 3.8), 0.5 - 0.38 * Math.cos(i / 3.8)] as const);
  await stroke(ring);
  await page.waitForFunction(() => document.getElementById("verdict")?.textContent === "0");
  await page.click("#clear");
  // A 7 with a bar that the model has rarely seen, called 4: whatever the reader says is learnt.
  await stroke([[0.25, 0.15], [0.75, 0.15], [0.4, 0.9]]);
  await stroke([[0.3, 0.5], [0.7, 0.5]]);
  await page.locator("#labels label", { hasText: "4" }).click();
  for (let i = 0; i < 3; i++) {
    await page.click("#learn");
    await page.waitForFunction((steps) => document.getElementById("digit-steps")?.textContent === String(steps), 25 * (i + 1));
  }
  await page.waitForFunction(() => /Learnt/.test(document.getElementById("status")?.textContent ?? ""));
  assert.equal(await page.innerText("#verdict"), "4");
  assert.equal(await page.locator("#taught li").count(), 3);
  const after = await percent(page, "#digit-error");
  console.log(`digits: ${before} % test error before, ${after} % after three times Learn`);
  assert.ok(after <= before + 4, `${after} %`);
  await shoot(page, "digits-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForTimeout(200);
  await shoot(page, "digits-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.click("#forget");
  await page.waitForFunction((error) => document.getElementById("digit-error")?.textContent === `${error} %`, before.toFixed(1));
  assert.equal(await page.locator("#taught li").count(), 0);
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
  await page.waitForFunction(() => /was taken from/.test(document.getElementById("status")?.textContent ?? ""));
  assert.equal(await page.innerText("#test-error"), error);
});

test("all of it by the keyboard", async () => {
  await page.goto(`${url}#points`);
  await page.reload();
  await ready(page);
  const seen: string[] = [];
  for (let i = 0; i < 30; i++) {
    await page.keyboard.press("Tab");
    const now = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const ringed = element.closest("label:has(:focus-visible)") ?? element;
      const { outlineStyle, outlineWidth } = getComputedStyle(ringed);
      const name = element.id || element.getAttribute("name") || element.getAttribute("href") || element.tagName;
      return { name, ring: element.tagName === "BODY" || (outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2) };
    });
    if (now.name === "BODY" || seen.includes(now.name)) break;
    assert.ok(now.ring, `focus is not seen on ${now.name}`);
    seen.push(now.name);
    if (now.name === "data") {
      await page.keyboard.press("ArrowRight");
      assert.ok(await page.isChecked("input[value=moons]"));
    }
    if (now.name === "lr") {
      const before = await page.innerText("#lr-value");
      await page.keyboard.press("ArrowRight");
      assert.notEqual(await page.innerText("#lr-value"), before);
    }
    if (now.name === "step") {
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.getElementById("steps")?.textContent === "1");
    }
  }
  const all = ["#main", "#points", "#digits", "data", "model", "optimizer", "lr", "batch", "pace", "run", "step", "reset"];
  for (const name of [...all, "shown", "points-save", "points-load"]) assert.ok(seen.includes(name), `${name} is not reached`);
  await page.goto(`${url}#digits`);
  await page.waitForFunction(() => /%/.test(document.getElementById("digit-error")?.textContent ?? ""));
  await page.focus("#pad");
  await page.keyboard.press("Space");
  for (let i = 0; i < 12; i++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Space");
  await page.waitForFunction(() => document.getElementById("verdict")?.textContent === "1");
});

test("every control has a name", async () => {
  for (const tab of ["points", "digits"]) {
    await page.goto(`${url}#${tab}`);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("input:not([hidden]), select, button, canvas[role]")]
        .filter((element) => {
          const labels = (element as HTMLInputElement).labels;
          const text = element.getAttribute("aria-label") ?? (labels?.length ? labels[0]?.textContent : element.textContent);
          return element.checkVisibility() && !text?.trim();
        })
        .map((element) => element.outerHTML.slice(0, 80)),
    );
    assert.deepEqual(nameless, []);
  }
});

test("on a phone nothing is wider than the screen", async () => {
  const phone = await context.newPage();
  listen(phone);
  await phone.setViewportSize({ width: 360, height: 740 });
  for (const tab of ["points", "digits"]) {
    await phone.goto(`${url}#${tab}`);
    await ready(phone);
    await phone.waitForTimeout(300);
    if (tab === "points") await trainTo(phone, 4, 10);
    const { wide, over } = await phone.evaluate(() => ({
      wide: document.documentElement.scrollWidth,
      over: [...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && element.checkVisibility())
        .map((element) => element.outerHTML.slice(0, 80)),
    }));
    await shoot(phone, `${tab}-phone`);
    assert.equal(wide, 360, over.join("\n"));
  }
  await phone.close();
});

test("it works without its server, once loaded", async () => {
  // A server of its own, between here and the other one, which then stops.
  const between = createServer(async (request, response) => {
    const answer = await fetch(new URL(request.url ?? "", url));
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
    response.end(Buffer.from(await answer.arrayBuffer()));
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => between.once("listening", resolve));
  const alone = await context.newPage();
  await alone.goto(`http://127.0.0.1:${(between.address() as AddressInfo).port}/`);
  await ready(alone);
  await alone.evaluate(async () => void (await navigator.serviceWorker.ready));
  between.close();
  between.closeAllConnections();
  await alone.reload();
  await ready(alone);
  await alone.click("#step");
  await alone.waitForFunction(() => document.getElementById("steps")?.textContent === "1");
  await alone.selectOption("#model", "tanh"); // was not looked at before
  await alone.waitForFunction(() => /tanh/.test(document.getElementById("about-model")?.textContent ?? ""));
  await alone.click("nav a[href='#digits']");
  await alone.waitForFunction(() => /%/.test(document.getElementById("digit-error")?.textContent ?? ""));
  await alone.close();
});

test("nothing went wrong on the way", () => {
  assert.deepEqual(wrong, []);
});
