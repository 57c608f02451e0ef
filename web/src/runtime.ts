// onnxruntime-web: which of its builds, and where it runs.

import type * as Ort from "onnxruntime-web";

/** onnxruntime-web's module, whichever build of it. */
export type Runtime = typeof Ort;

export type Device = "wasm" | "webgpu";

export interface RuntimeOptions {
  /** Where the step runs: "wasm", on the processor, which is faster for small models; or "webgpu". */
  readonly device?: Device;
  /** An onnxruntime-web that is loaded already. Without it, the build for the device is imported. */
  readonly ort?: Runtime;
  /** Where the .wasm file of onnxruntime-web is, if not beside the script. */
  readonly wasm?: string | URL;
  /** Threads of "wasm". More than one needs a page that is cross-origin isolated, and helps large models only. */
  readonly threads?: number;
}

/** The dtypes that onnxruntime-web keeps in the memory of a GPU. A tensor of another comes back after each step. */
export const ON_GPU: ReadonlySet<string> = new Set(["float32", "int64", "int32", "uint32", "uint8", "bool"]);

/** Whether this browser has WebGPU, and a device for it. */
export async function hasWebGPU(): Promise<boolean> {
  const gpu = (globalThis.navigator as { gpu?: { requestAdapter(): Promise<unknown> } } | undefined)?.gpu;
  try {
    return Boolean(await gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/** onnxruntime-web for the device, set up. */
export async function runtime(options: RuntimeOptions): Promise<Runtime> {
  const device = options.device ?? "wasm";
  if (device !== "wasm" && device !== "webgpu") {
    throw new TypeError(`device is ${JSON.stringify(device)}: write "wasm" or "webgpu"`);
  }
  if (device === "webgpu" && !(await hasWebGPU())) {
    throw new Error('there is no WebGPU here: leave device out, or write device: (await hasWebGPU()) ? "webgpu" : "wasm"');
  }
  // For WebGPU the build that bears the package's own name. Those of onnxruntime-web/webgpu and /jspi 1.30 have no kernel for
  // float64, not even on the processor, and the learning rate is one ("Provider type for Cast node is not set").
  const ort = options.ort ?? (await (device === "webgpu" ? import("onnxruntime-web") : import("onnxruntime-web/wasm")));
  ort.env.wasm.numThreads = options.threads ?? 1;
  if (options.wasm !== undefined) ort.env.wasm.wasmPaths = { wasm: options.wasm };
  return ort;
}

/** Why onnxruntime-web did not take a graph, and what to do. */
export function notTaken(graph: string, error: unknown, { device, ort, wasm }: RuntimeOptions): string {
  const why = error instanceof Error ? error.message : String(error);
  if (why.includes("no available backend")) {
    const where = wasm === undefined ? "beside the script" : `at ${wasm}`;
    return `onnxruntime-web did not start: ${why}. Its .wasm file is looked for ${where}; when it is there, load the page again`;
  }
  const mend =
    ort ? "; its builds /webgpu and /jspi have no float64, in which the learning rate is: leave ort out"
    : device === "webgpu" ? '; write device: "wasm"'
    : "";
  return `onnxruntime-web does not take the ${graph}'s graph: ${why}${mend}`;
}
