// The service worker: keeps the page's files, and answers with them when its server is not there.

/// <reference lib="webworker" />
export {};
declare const self: ServiceWorkerGlobalScope;
/** The page's files, the exported steps' too, and a name that changes with them; both put in by build.mjs. */
declare const FILES: readonly string[];
declare const VERSION: string;

const CACHE = `modgrad-playground-${VERSION}`;
const OURS = new Set(["./", ...FILES].map((file) => new URL(file, self.registration.scope).href));

async function keep(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll([...OURS].map((url) => new Request(url, { cache: "no-cache" })));
}

async function clean(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith("modgrad-playground-") && name !== CACHE) await caches.delete(name);
  }
  await self.clients.claim();
}

/** From the server, which may have a newer one; else what is kept. */
async function answer(event: FetchEvent): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(event.request);
    // Kept meanwhile. Where there is no room for it, the page works all the same, as long as its server does.
    if (response.ok) event.waitUntil(cache.put(event.request, response.clone()).catch(() => undefined));
    return response;
  } catch (error) {
    const kept = await cache.match(event.request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(clean()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && OURS.has(url.replace(/[?#].*$/, ""))) event.respondWith(answer(event));
});
