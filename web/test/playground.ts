// What the tests of the playground share: the browser, where the page is, what went wrong in it.
//
//   PLAYGROUND_URL   where the page is; tests/web/test_playground.py serves it
//   OUT              a folder for numbers and screenshots
//   CHROMIUM         the browser (default: /usr/bin/chromium)

import { mkdtempSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";

export const url = process.env["PLAYGROUND_URL"] ?? "http://127.0.0.1:8462/";
export const out = process.env["OUT"] ?? mkdtempSync(join(tmpdir(), "playground-"));

/** What went wrong in the pages that are listened to, and what they asked of anybody but their server. */
export const wrong: string[] = [];

export function listen(page: Page): void {
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob|about):/.test(request.url())) wrong.push(`asked for ${request.url()}`);
  });
}

export const ready = (page: Page): Promise<unknown> => page.waitForSelector("html[data-ready]", { timeout: 30_000 });
export const percent = async (page: Page, id: string): Promise<number> => Number.parseFloat(await page.locator(id).innerText());
export const shoot = (page: Page, name: string): Promise<Buffer> => page.screenshot({ path: join(out, `${name}.png`), fullPage: true });

/** Wait until the text of the element of this id is as `pattern` says. */
export async function told(page: Page, id: string, pattern: RegExp): Promise<void> {
  await page.waitForFunction(
    ([id, source]) => new RegExp(source as string).test(document.getElementById(id as string)?.textContent ?? ""),
    [id, pattern.source],
  );
}

/** Train until the test error is at most `most` % and stays so when the button is pressed, or for `seconds`. */
export async function trainTo(page: Page, most: number, seconds: number): Promise<number> {
  await page.selectOption("#pace", "1000000");
  const until = Date.now() + 1000 * seconds;
  const reached = async (): Promise<boolean> => (await percent(page, "#test-error")) <= most;
  do {
    await page.click("#run");
    do await page.waitForTimeout(100);
    while (Date.now() < until && !(await reached()));
    await page.click("#run");
    await told(page, "speed", /^$/);
  } while (Date.now() < until && !(await reached())); // a few steps were taken after the last look
  return percent(page, "#test-error");
}

/** A server of its own before the playground's; `change`: what it makes of an answer, in place of sending it. */
export async function between(
  change?: (path: string, body: Buffer, response: ServerResponse) => Buffer | undefined,
): Promise<{ readonly url: string; readonly stop: () => void }> {
  const server: Server = createServer(async (request, response) => {
    const path = request.url ?? "/";
    const answer = await fetch(new URL(path, url));
    const body = Buffer.from(await answer.arrayBuffer());
    response.statusCode = answer.status;
    response.setHeader("content-type", answer.headers.get("content-type") ?? "");
    response.end(change ? change(path, body, response) : body);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const stop = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, stop };
}
