// The service worker: keeps the page's files, and answers with them when its server is not there.

/// <reference lib="webworker" />
export {};
declare const self: ServiceWorkerGlobalScope;
/** The page's own files and a name that changes with them; both put in by build.mjs. */
declare const FILES: readonly string[];
declare const VERSION: string;

const CACHE = `modgrad-playground-${VERSION}`;

async function keep(): Promise<void> {
  const cache = await caches.open(CACHE);
  const index = new Request("models/index.json", { cache: "no-cache" });
  const { files } = (await (await fetch(index)).json()) as { files: readonly string[] };
  const models = files.map((file) => `models/${file}`);
  await cache.addAll(["./", ...FILES, "models/index.json", ...models].map((url) => new Request(url, { cache: "no-cache" })));
}

async function clean(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith("modgrad-playground-") && name !== CACHE) await caches.delete(name);
  }
  await self.clients.claim();
}

/** From the server, which may have a newer one; else what is kept. */
async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(clean()));
self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});
