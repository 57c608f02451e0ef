// The manifest that `step.export_onnx` writes beside its graphs: what goes in, what comes out, what feeds what.

/** A dimension is a number, or the name of one that is free, as "batch" and "steps". */
export type Dimension = number | string;

/** What a graph takes or gives: a tensor's shape and its dtype, numpy's name. */
export interface Spec {
  readonly shape: readonly Dimension[];
  readonly dtype: string;
}

export interface InputSpec extends Spec {
  readonly input: string;
}

export interface OutputSpec extends Spec {
  readonly output: string;
}

export type StateKind = "parameter" | "buffer" | "optimizer" | "randomness" | "gradient" | "count";

/** A named tensor of the state. */
export interface StateSpec {
  readonly name: string;
  readonly kind: StateKind;
  readonly shape: readonly number[];
  readonly dtype: string;
}

/** A tensor of the graph that carries state: which output feeds which input, and the named tensors within it. */
export interface CarriedSpec {
  readonly input: string;
  /** null where no step changes it. */
  readonly output: string | null;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly holds: readonly { readonly name: string; readonly offset: number }[];
}

/** A number that each step may be given anew, as the learning rate, and its value at export. */
export interface NumberSpec extends InputSpec {
  readonly name: string;
  readonly value: number;
}

export interface GradientSpec extends OutputSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

export interface Manifest {
  readonly format: "modgrad-training-step";
  readonly version: 1;
  readonly modgrad: string;
  readonly opset: number;
  readonly ir_version: number;
  readonly model: string;
  readonly criterion: string;
  readonly optimizer: string;
  /** 1: a call is one step; "scan": a call is as many as its batches are stacked. */
  readonly steps: 1 | "scan";
  readonly files: { readonly step: string; readonly predict: string; readonly state: string };
  readonly state: readonly StateSpec[];
  readonly tensors: readonly CarriedSpec[];
  readonly numbers: readonly NumberSpec[];
  readonly batch: readonly InputSpec[];
  readonly loss: OutputSpec;
  readonly gradients: readonly GradientSpec[];
  readonly predict: {
    readonly state: readonly string[];
    readonly batch: readonly InputSpec[];
    readonly outputs: readonly OutputSpec[];
  };
}

const LISTS = ["state", "tensors", "numbers", "batch", "gradients"] as const;

/** `value`, if it is a manifest of the version that this package reads. */
export function asManifest(value: unknown): Manifest {
  const given = value as Partial<Record<keyof Manifest, unknown>> | null;
  if (typeof given !== "object" || given === null || given.format !== "modgrad-training-step") {
    throw new TypeError(
      "this is not the manifest of an exported training step: give the .json that step.export_onnx wrote beside the graph",
    );
  }
  if (given.version !== 1) {
    throw new TypeError(
      `the manifest has version ${String(given.version)}, and this modgrad-web reads version 1: export again with the modgrad of its release`,
    );
  }
  const missing = LISTS.filter((key) => !Array.isArray(given[key]));
  if (missing.length || !given.loss || !given.predict || !given.files) {
    throw new TypeError(`the manifest is damaged: ${missing[0] ?? "loss, predict or files"} is missing`);
  }
  return given as Manifest;
}
