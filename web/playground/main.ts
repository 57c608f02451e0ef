// The page: two tabs, each loaded when it is looked at; kept for when there is no network.

import { catalogue } from "./catalogue.ts";
import { complain } from "./controls.ts";
import { DigitsPage } from "./digits.ts";
import { PointsPage } from "./points.ts";

const TABS = ["points", "digits"] as const;
type Tab = (typeof TABS)[number];

declare global {
  /** What the tests, and the curious in the console, take hold of. */
  var playground: { points: PointsPage; digits: DigitsPage; ready: Promise<void> } | undefined;
}

function wanted(): Tab {
  return TABS.find((tab) => location.hash === `#${tab}`) ?? "points";
}

try {
  const known = await catalogue();
  const [points, digits] = [new PointsPage(known), new DigitsPage(known)];
  const turn = async (): Promise<void> => {
    const tab = wanted();
    for (const each of TABS) {
      document.getElementById(`${each}-page`)?.toggleAttribute("hidden", each !== tab);
      const link = document.querySelector(`nav a[href="#${each}"]`);
      if (each === tab) link?.setAttribute("aria-current", "page");
      else link?.removeAttribute("aria-current");
    }
    if (tab === "digits") points.pause();
    await (tab === "digits" ? digits.load() : points.trainer ? undefined : points.load());
  };
  addEventListener("hashchange", () => void turn());
  globalThis.playground = { points, digits, ready: turn() };
  await globalThis.playground.ready;
  document.documentElement.dataset.ready = String(Math.round(performance.now())); // milliseconds since it was asked for
} catch (error) {
  complain(error);
}

// After the page is usable, so that it waits for nothing.
if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register(new URL("sw.js", import.meta.url)).catch(() => {
    // Without one, as over plain http to another machine, the page works as long as its server does.
  });
}
