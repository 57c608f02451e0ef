// The exported steps that the page offers: models/index.json, which modgrad/playground/models.py writes.

import { Trainer } from "../src/index.ts";
import type { Layer } from "./layers.ts";

export interface Optimizer {
  readonly id: string;
  readonly label: string;
  readonly manifest: string;
  /** The learning rate at export. */
  readonly lr: number;
}

export interface Model {
  readonly id: string;
  readonly label: string;
  /** What is special about it, in a sentence. */
  readonly about: string;
  readonly parameters: number;
  readonly layers: readonly Layer[];
  readonly optimizers: readonly Optimizer[];
}

export interface Catalogue {
  readonly points: readonly Model[];
  readonly digits: Model & { readonly data: string };
}

const MODELS = new URL("models/", import.meta.url);

export async function catalogue(): Promise<Catalogue> {
  return (await (await found("index.json")).json()) as Catalogue;
}

/** The bytes of a file beside the exported steps. */
export async function bytes(name: string): Promise<Uint8Array> {
  return new Uint8Array(await (await found(name)).arrayBuffer());
}

const loaded = new Map<string, Promise<Exported>>();

export interface Exported {
  readonly trainer: Trainer;
  /** Its state at export. */
  readonly start: Uint8Array;
}

/** The step of this manifest, loaded once. */
export function exported(manifest: string): Promise<Exported> {
  let known = loaded.get(manifest);
  if (!known) {
    known = load(manifest);
    known.catch(() => loaded.delete(manifest)); // so that it can be tried again
    loaded.set(manifest, known);
  }
  return known;
}

async function load(manifest: string): Promise<Exported> {
  const wasm = new URL("ort-wasm-simd-threaded.wasm", import.meta.url);
  const trainer = await Trainer.load(new URL(manifest, MODELS), { wasm });
  return { trainer, start: await trainer.save() };
}

async function found(name: string): Promise<Response> {
  const response = await fetch(new URL(name, MODELS)).catch((error: unknown) => {
    throw new Error(`models/${name} could not be read: ${(error as Error).message}`, { cause: error });
  });
  if (!response.ok) throw new Error(`models/${name} could not be read: ${response.status}`);
  return response;
}
