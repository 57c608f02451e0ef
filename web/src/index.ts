// modgrad-web: trains a modgrad step that was exported to ONNX, over onnxruntime-web.

export type { Batch, Nested } from "./batch.ts";
export type { Dtype, TypedArray, Value } from "./dtypes.ts";
export type { Dimension, Manifest } from "./manifest.ts";
export { hasWebGPU, type Device, type Runtime, type RuntimeOptions } from "./runtime.ts";
export { readSafetensors, writeSafetensors } from "./safetensors.ts";
export { Trainer, type Files, type Inputs, type LoadOptions, type Rates } from "./trainer.ts";
