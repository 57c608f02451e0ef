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

/** What is looked at. Another address than a tab's, as that of the link past the navigation, changes nothing. */
let shown: Tab = "points";

try {
  const known = await catalogue();
  const [points, digits] = [new PointsPage(known), new DigitsPage(known)];
  const turn = async (): Promise<void> => {
    shown = TABS.find((tab) => location.hash === `#${tab}`) ?? shown;
    for (const each of TABS) {
      document.getElementById(`${each}-page`)?.toggleAttribute("hidden", each !== shown);
      const link = document.querySelector(`nav a[href="#${each}"]`);
      if (each === shown) link?.setAttribute("aria-current", "page");
      else link?.removeAttribute("aria-current");
    }
    if (shown === "digits") points.pause();
    await (shown === "digits" ? digits.load() : points.trainer ? undefined : points.load());
  };
  addEventListener("hashchange", () => void turn());
  globalThis.playground = { points, digits, ready: turn() };
  await globalThis.playground.ready;
  // Milliseconds since it was asked for; nothing where the model could not be loaded, which was told.
  if (points.trainer || digits.trainer) document.documentElement.dataset.ready = String(Math.round(performance.now()));
} catch (error) {
  complain(error);
}

// After the page is usable, so that it waits for nothing.
if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register(new URL("sw.js", import.meta.url)).catch(() => {
    // Without one, as over plain http to another machine, the page works as long as its server does.
  });
}
