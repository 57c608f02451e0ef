// The playground for everybody: by the keyboard alone, in dark and light, on a phone, with little motion, by name.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { browser } from "./chromium.ts";
import { listen, percent, ready, shoot, told, trainTo, url, wrong } from "./playground.ts";

const TABS = ["points", "digits"] as const;
let chromium: Browser;
let page: Page;

before(async () => {
  chromium = await browser("--disable-gpu");
  page = await chromium.newPage({ viewport: { width: 1280, height: 800 } });
  listen(page);
});

after(() => chromium.close());

afterEach(() => assert.deepEqual(wrong.splice(0), []));

async function open(tab: (typeof TABS)[number]): Promise<void> {
  await page.goto("about:blank");
  await page.goto(`${url}#${tab}`);
  await ready(page);
}

/** The names of all that Tab goes through, each with a ring around it that is seen; `at`: what else is done there. */
async function walk(at: Readonly<Record<string, () => Promise<void>>>): Promise<string[]> {
  const seen: string[] = [];
  for (;;) {
    await page.keyboard.press("Tab");
    const { name, ring } = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element.closest("label:has(:focus-visible)") ?? element);
      const name = element.id || element.getAttribute("name") || element.getAttribute("href") || element.tagName;
      return { name, ring: outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2 };
    });
    if (name === "BODY" || seen.includes(name)) return seen;
    assert.ok(ring, `focus is not seen on ${name}`);
    seen.push(name);
    await at[name]?.();
  }
}

test("points by the keyboard", async () => {
  await open("points");
  const seen = await walk({
    data: async () => {
      await page.keyboard.press("ArrowRight");
      assert.ok(await page.isChecked("input[value=moons]"));
      await page.keyboard.press("Enter"); // sends no form
    },
    lr: async () => {
      const before = await page.innerText("#lr-value");
      await page.keyboard.press("ArrowRight");
      assert.notEqual(await page.innerText("#lr-value"), before);
    },
    run: async () => {
      await page.keyboard.press("Space");
      await told(page, "run", /^Pause$/);
      await page.keyboard.press("Space");
      await told(page, "run", /^Run$/);
    },
    step: async () => {
      const before = await page.innerText("#steps");
      await page.keyboard.press("Enter");
      await page.waitForFunction((before) => document.getElementById("steps")?.textContent !== before, before);
    },
    reset: async () => {
      await page.keyboard.press("Enter");
      await told(page, "steps", /^0$/);
    },
  });
  const all = ["#main", "#points", "#digits", "data", "model", "optimizer", "lr", "batch", "pace", "run", "step", "reset", "shown"];
  assert.deepEqual(seen, [...all, "points-save", "points-load"]);
  assert.equal(new URL(page.url()).search, "");
});

test("digits by the keyboard: drawn, labelled, learnt", async () => {
  await open("digits");
  await told(page, "digit-error", /%/);
  const seen = await walk({
    pad: async () => {
      await page.keyboard.press("Space");
      for (let i = 0; i < 12; i++) await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Space");
      await told(page, "verdict", /^1$/);
      await page.keyboard.press("Delete");
      await told(page, "verdict", /^–$/);
    },
    sample: async () => {
      await page.keyboard.press("Enter");
      await told(page, "verdict", /^\d$/);
    },
    label: async () => {
      await page.keyboard.press("ArrowRight");
      assert.equal(await page.locator("#labels input:checked").count(), 1);
    },
    learn: async () => {
      await page.keyboard.press("Enter");
      await told(page, "status", /Learnt/);
    },
  });
  const all = ["#main", "#points", "#digits", "pad", "clear", "sample", "label", "digit-lr", "learn", "forget"];
  assert.deepEqual(seen, [...all, "digits-save", "digits-load"]);
});

test("the link past the navigation leads into the page that is shown", async () => {
  await open("digits");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement?.id === "main");
  assert.ok(await page.isVisible("#digits-page"));
  assert.ok(await page.isHidden("#points-page"));
});

test("everything has a name, and the headings are in order", async () => {
  for (const tab of TABS) {
    await open(tab);
    const { nameless, headings } = await page.evaluate(() => ({
      nameless: [...document.querySelectorAll<HTMLElement>("input:not([hidden]), select, button, canvas[role], section, form, nav")]
        .filter((element) => {
          const labels = (element as HTMLInputElement).labels;
          const text = element.getAttribute("aria-label") ?? (labels?.length ? labels[0]?.textContent : element.textContent);
          return element.checkVisibility() && !text?.trim();
        })
        .map((element) => element.outerHTML.slice(0, 80)),
      headings: [...document.querySelectorAll("h1, h2, h3, h4")].filter((one) => one.checkVisibility()).map((one) => Number(one.tagName[1])),
    }));
    assert.deepEqual(nameless, []);
    assert.equal(headings.filter((level) => level === 1).length, 1);
    headings.forEach((level, i) => assert.ok(i ? level <= (headings[i - 1] as number) + 1 : level === 1, `${headings}`));
  }
});

/** Texts that stand out too little from what is behind them: a ratio of 4.5 is wanted, of 3 where they are large. */
function faint(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
    const luminance = (colours: readonly string[]): number => {
      for (const colour of ["white", ...colours]) {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
      }
      const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((v) => (v <= 10 ? v / 3295 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * (r as number) + 0.7152 * (g as number) + 0.0722 * (b as number);
    };
    const ratio = (text: string, behind: readonly string[]): number => {
      const [a, b] = [luminance([...behind, text]), luminance(behind)];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const found: string[] = [];
    for (const element of document.querySelectorAll<HTMLElement>("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim());
      if (!own || !element.checkVisibility() || element.closest(".unseen, noscript")) continue;
      const { color, fontSize, fontWeight } = getComputedStyle(element);
      const behind: string[] = [];
      for (let one: Element | null = element; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
      const size = Number.parseFloat(fontSize);
      const wanted = size >= 24 || (size >= 18.66 && Number(fontWeight) >= 700) ? 3 : 4.5;
      const is = ratio(color, behind);
      if (is < wanted) found.push(`${is.toFixed(2)}: ${element.outerHTML.slice(0, 80)}`);
    }
    // What is drawn on a canvas: texts, and the lines of the curves.
    const variable = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name);
    for (const [text, behind, wanted] of [["--soft", "--card", 4.5], ["--soft", "--field", 4.5], ["--low", "--card", 3], ["--high", "--card", 3]] as const) {
      const is = ratio(variable(text), [variable(behind)]);
      if (is < wanted) found.push(`${is.toFixed(2)}: ${text} on ${behind}`);
    }
    return found;
  });
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`all texts can be read in ${colorScheme}`, async () => {
    await page.emulateMedia({ colorScheme });
    for (const tab of TABS) {
      await open(tab);
      if (tab === "points") await trainTo(page, 4, 10);
      else await page.click("#sample");
      if (tab === "digits") await told(page, "verdict", /^\d$/);
      for (const status of ["", "wrong"]) {
        await page.evaluate((status) => {
          const element = document.getElementById("status") as HTMLElement;
          [element.textContent, element.className] = ["something is told", status];
        }, status);
        assert.deepEqual(await faint(page), [], tab);
      }
      await page.evaluate(() => ((document.getElementById("status") as HTMLElement).textContent = ""));
      await shoot(page, `${tab}-1280-${colorScheme}`);
    }
    await page.emulateMedia({ colorScheme: "light" });
  });
}

test("who wants little motion gets none that nobody asked for", async () => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  for (const tab of TABS) {
    await open(tab);
    const moving = await page.evaluate(() =>
      [...document.querySelectorAll("body *")]
        .filter((element) => {
          const { transitionDuration, animationName } = getComputedStyle(element);
          return animationName !== "none" || transitionDuration.split(",").some((duration) => Number.parseFloat(duration) > 0);
        })
        .map((element) => element.outerHTML.slice(0, 80)),
    );
    assert.deepEqual(moving, []);
  }
  await open("points");
  await page.waitForTimeout(300);
  assert.equal(await page.innerText("#steps"), "0"); // it runs when Run is pressed
  await page.emulateMedia({ reducedMotion: "no-preference" });
});

for (const [width, height] of [[360, 740], [390, 844]] as const) {
  test(`on a phone, ${width} wide, nothing is wider than the screen`, async () => {
    await page.setViewportSize({ width, height });
    for (const tab of TABS) {
      await open(tab);
      if (tab === "points") assert.ok((await trainTo(page, 4, 10)) <= 4);
      else assert.ok((await percent(page, "#digit-error")) < 10);
      const { wide, over, small } = await page.evaluate(() => ({
        wide: document.documentElement.scrollWidth,
        over: [...document.querySelectorAll("body *")]
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && element.checkVisibility())
          .map((element) => element.outerHTML.slice(0, 80)),
        small: [...document.querySelectorAll<HTMLElement>("button, select, nav a, label:has(input[type=radio])")]
          .filter((element) => element.checkVisibility() && Math.min(element.offsetWidth, element.offsetHeight) < 24)
          .map((element) => element.outerHTML.slice(0, 80)),
      }));
      await shoot(page, `${tab}-${width}`);
      assert.deepEqual(over, []);
      assert.equal(wide, width);
      assert.deepEqual(small, [], "too small for a finger");
    }
    await page.setViewportSize({ width: 1280, height: 800 });
  });
}
