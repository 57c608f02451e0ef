// Trainer: an exported training step, its state, and the calls that train it.

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { fill, type Batch, type Sizes } from "./batch.ts";
import { asDtype, count, zeros, type TypedArray, type Value } from "./dtypes.ts";
import { astray, groupOf, type Row } from "./held.ts";
import { asManifest, type CarriedSpec, type InputSpec, type Manifest, type OutputSpec, type StateKind } from "./manifest.ts";
import { notTaken, ON_GPU, runtime, type Device, type Runtime, type RuntimeOptions } from "./runtime.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";

/** An export that is in memory already: the manifest and the bytes of its files. */
export interface Files {
  readonly manifest: unknown;
  readonly step: Uint8Array;
  readonly predict: Uint8Array;
  readonly state: Uint8Array;
}

export interface LoadOptions extends RuntimeOptions {
  /** Used instead of `fetch`. */
  readonly fetch?: typeof fetch;
}

/** One batch input, or several by their names in the manifest: "x0", "x1". */
export type Inputs = Batch | { readonly [name: string]: Batch };

/** The learning rate; with several groups of parameters one for each, in order or by name: {"0.lr": 0.1, "1.lr": 0.01}. */
export type Rates = Batch | { readonly [name: string]: Batch };

export class Trainer {
  /** What the export says of itself. */
  readonly manifest: Manifest;
  /** Where it runs. */
  readonly device: Device;

  readonly #ort: Runtime;
  readonly #step: InferenceSession;
  readonly #predict: InferenceSession;
  /** The state, by the names of the graph's inputs; on the device from step to step. */
  #state = new Map<string, Tensor>();
  #gradients: ReadonlyMap<string, Value> | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  /** On WebGPU, the graphs whose numbers were not held against WebAssembly's yet. */
  readonly #unheld = new Map<InferenceSession, Uint8Array>();
  #steps = 0;
  #disposed = false;

  private constructor(manifest: Manifest, ort: Runtime, device: Device, step: InferenceSession, predict: InferenceSession) {
    this.manifest = manifest;
    this.device = device;
    this.#ort = ort;
    this.#step = step;
    this.#predict = predict;
  }

  /**
   * The step whose manifest is at `source`, the other files beside it; or whose files are given.
   *
   * It starts from the state at export.
   */
  static async load(source: string | URL | Files, options: LoadOptions = {}): Promise<Trainer> {
    const here = typeof source === "string" || source instanceof URL;
    const [files, ort] = await Promise.all([here ? fetched(source, options.fetch ?? fetch) : source, runtime(options)]);
    const manifest = asManifest(files.manifest);
    for (const { name, dtype } of manifest.state) asDtype(dtype, name);
    const device = options.device ?? "wasm";
    const session = async (of: string, graph: Uint8Array, kept: readonly string[]): Promise<InferenceSession> => {
      try {
        return await ort.InferenceSession.create(graph, {
          executionProviders: device === "webgpu" ? ["webgpu", "wasm"] : ["wasm"],
          // On a GPU the new state stays where it is; what is read after each step comes back.
          ...(device === "webgpu" && {
            preferredOutputLocation: Object.fromEntries(kept.map((name) => [name, "gpu-buffer" as const])),
          }),
        });
      } catch (error) {
        throw new Error(notTaken(of, error, options), { cause: error });
      }
    };
    const kept = manifest.tensors.flatMap(({ output, dtype }) => (output !== null && ON_GPU.has(dtype) ? output : []));
    const step = await session("step", files.step, kept); // one after the other: onnxruntime-web starts up once
    const trainer = new Trainer(manifest, ort, device, step, await session("prediction", files.predict, []));
    if (device === "webgpu") trainer.#unheld.set(trainer.#step, files.step).set(trainer.#predict, files.predict);
    trainer.#put(readSafetensors(files.state));
    return trainer;
  }

  /** How many steps were taken since the state was loaded or restored. */
  get steps(): number {
    return this.#steps;
  }

  /**
   * Train on one batch: x (batch, ...), y (batch, ...), as the manifest has them. Returns the loss before the update.
   *
   * lr: the learning rate of this step; the one at export, if not given.
   */
  async step(x: Inputs, y: Batch, lr?: Rates): Promise<number> {
    this.#refuse(this.manifest.steps === "scan", "this export takes many batches a call: write trainer.scan(x, y)");
    const loss = await this.#train(x, y, lr);
    return Number(loss.data[0]);
  }

  /**
   * Train on stacked batches, one step for each, in an export with steps="scan": x (steps, batch, ...), y (steps, batch, ...).
   *
   * lr: one for all steps, or one for each. Returns the losses, (steps).
   */
  async scan(x: Inputs, y: Batch, lr?: Rates): Promise<TypedArray> {
    this.#refuse(this.manifest.steps !== "scan", "this export takes one batch a call: write trainer.step(x, y)");
    return (await this.#train(x, y, lr)).data as TypedArray;
  }

  /** What the model says of x (batch, ...), in evaluation mode, with the weights as they are now. */
  async predict(x: Inputs): Promise<Value> {
    const { outputs } = this.manifest.predict;
    this.#refuse(outputs.length !== 1, `the model has ${outputs.length} outputs: write trainer.predictions(x)`);
    return (await this.predictions(x))[(outputs[0] as OutputSpec).output] as Value;
  }

  /** As `predict`, all outputs by name. */
  predictions(x: Inputs): Promise<Record<string, Value>> {
    return this.#inTurn(async () => {
      const { batch, state } = this.manifest.predict;
      const feeds = this.#inputs(batch, x, new Map());
      for (const name of state) feeds[name] = this.#state.get(name) as Tensor;
      const results = await this.#run(this.#predict, feeds);
      const values = Object.entries(results).map(async ([name, tensor]) => [name, await taken(tensor)] as const);
      return Object.fromEntries(await Promise.all(values));
    });
  }

  /** The gradients of the latest step, by parameter, in an export with gradients=True; none before the first step. */
  gradients(): ReadonlyMap<string, Value> {
    this.#refuse(!this.manifest.gradients.length, "this export has no gradients: export with gradients=True");
    return this.#gradients ?? new Map();
  }

  /** All tensors of the state by name, copied: parameters, buffers, the optimizer's. */
  state(): Promise<Map<string, Value>> {
    return this.#inTurn(() => this.#now());
  }

  /** The state as the bytes of a safetensors file, which modgrad.load, the other clients and `restore` read. */
  async save(): Promise<Uint8Array> {
    return writeSafetensors(await this.state(), { format: "pt" });
  }

  /**
   * Take the state from the bytes of a safetensors file: one of `save`, of another client, of modgrad.save.
   *
   * All parameters must be there, and of every other kind of state all or nothing: so the weights of a model alone leave the
   * optimizer's state as it is. strict: false: what is missing stays as it is, and what has another name is passed over.
   * If anything is wrong, the state stays as it was.
   */
  restore(file: Uint8Array, { strict = true }: { readonly strict?: boolean } = {}): Promise<void> {
    return this.#inTurn(async () => {
      const tensors = readSafetensors(file);
      if (strict) this.#refuseNames(tensors);
      const now = await this.#now();
      for (const [name, value] of now) if (!tensors.has(name)) tensors.set(name, value);
      this.#put(tensors);
    });
  }

  /** Give back what the two graphs hold; after it, the trainer cannot be used. */
  dispose(): Promise<void> {
    return this.#inTurn(async () => {
      for (const tensor of this.#state.values()) tensor.dispose();
      this.#state = new Map();
      this.#disposed = true;
      await this.#step.release();
      await this.#predict.release();
    });
  }

  /** Run `work` when all calls before it are done, so that none sees half of a step. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(() => {
      this.#refuse(this.#disposed, "it was disposed of: load it again");
      return work();
    });
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  #train(x: Inputs, y: Batch, lr: Rates | undefined): Promise<Value> {
    return this.#inTurn(async () => {
      const { batch, loss, tensors, gradients } = this.manifest;
      const sizes: Sizes = new Map();
      const feeds = this.#inputs(batch.slice(0, -1), x, sizes);
      const target = batch.at(-1) as InputSpec;
      feeds[target.input] = this.#tensor(target, y, target.input, sizes);
      this.#numbers(feeds, lr, sizes);
      for (const [name, tensor] of this.#state) feeds[name] = tensor;
      const results = await this.#run(this.#step, feeds);
      for (const { input, output } of tensors) {
        if (output === null) continue;
        const old = this.#state.get(input) as Tensor;
        this.#state.set(input, results[output] as Tensor);
        if (old.location !== "cpu") old.dispose();
      }
      const value = await taken(results[loss.output] as Tensor);
      const entries = gradients.map(async ({ name, output }) => [name, await taken(results[output] as Tensor)] as const);
      this.#gradients = new Map(await Promise.all(entries));
      this.#steps += value.data.length;
      return value;
    });
  }

  async #run(session: InferenceSession, feeds: Record<string, Tensor>): Promise<Record<string, Tensor>> {
    if (this.device !== "webgpu") return (await session.run(feeds)) as Record<string, Tensor>;
    try {
      const results = (await session.run(feeds)) as Record<string, Tensor>;
      await this.#hold(session, feeds, results);
      return results;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`${this.#name()} on WebGPU: ${why.trim()}; write device: "wasm"`, { cause: error });
    }
  }

  /** Hold the first results of a graph against those of WebAssembly, so that no wrong number is trained on. */
  async #hold(session: InferenceSession, feeds: Record<string, Tensor>, results: Record<string, Tensor>): Promise<void> {
    const graph = this.#unheld.get(session);
    if (!graph) return;
    const inputs: Record<string, Tensor> = {};
    for (const [name, tensor] of Object.entries(feeds)) {
      const { dtype, data, shape } = await taken(tensor, false);
      inputs[name] = tensor.location === "cpu" ? tensor : new this.#ort.Tensor(dtype, data as never, shape);
    }
    const other = await this.#ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
    const wanted = (await other.run(inputs)) as Record<string, Tensor>;
    await other.release();
    const rows: Row[] = [];
    for (const [name, tensor] of Object.entries(results)) {
      const { group, input } = groupOf(name, this.manifest);
      if (group === undefined) continue;
      const before = input === undefined ? undefined : ((inputs[input] as Tensor).data as TypedArray);
      rows.push({ name, group, found: (await taken(tensor, false)).data, wanted: (wanted[name] as Tensor).data as TypedArray, before });
    }
    const wrong = astray(rows);
    if (wrong !== undefined) {
      for (const tensor of Object.values(results)) if (tensor.location !== "cpu") tensor.dispose();
      throw new Error(`onnxruntime-web makes another ${wrong} of it than on WebAssembly, and one of them is wrong`);
    }
    this.#unheld.delete(session);
  }

  /** The tensors of a batch's inputs, by their names in the graph. */
  #inputs(specs: readonly InputSpec[], x: Inputs, sizes: Sizes): Record<string, Tensor> {
    const [first] = specs;
    if (specs.length === 1 && first) return { [first.input]: this.#tensor(first, x as Batch, first.input, sizes) };
    const given = x as Record<string, Batch>;
    const names = specs.map(({ input }) => input);
    const wrong = Object.keys(Object(x)).filter((name) => !names.includes(name));
    const how = `{${names.map((name) => `${name}: ...`).join(", ")}}`;
    this.#refuse(wrong.length > 0, `the model takes ${some(names)}, not ${some(wrong)}: write ${how}`);
    return Object.fromEntries(specs.map((spec) => [spec.input, this.#tensor(spec, given[spec.input] as Batch, spec.input, sizes)]));
  }

  /** The numbers of a step: those given, the others as at export. */
  #numbers(feeds: Record<string, Tensor>, lr: Rates | undefined, sizes: Sizes): void {
    const { numbers } = this.manifest;
    const names = numbers.map(({ name }) => name);
    let given: Record<string, Batch> = {};
    if (lr !== undefined && lr !== null) {
      const one = typeof lr !== "object" || Array.isArray(lr) || ArrayBuffer.isView(lr);
      const how = names.map((name) => `"${name}": ...`).join(", ");
      const each = Array.isArray(lr) && lr.length === names.length ? (lr as readonly Batch[]) : undefined;
      this.#refuse(one && !each && names.length !== 1, `the optimizer has ${names.length} rates: write {${how}}`);
      if (!one) given = lr as Record<string, Batch>;
      else if (names.length === 1) given = { [names[0] as string]: lr as Batch };
      else names.forEach((name, i) => (given[name] = each?.[i] as Batch));
      const wrong = Object.keys(given).filter((name) => !names.includes(name));
      this.#refuse(wrong.length > 0, `there is no ${some(wrong)} among the step's numbers: write {${how}}`);
    }
    for (const spec of numbers) {
      const value = given[spec.name] ?? spec.value;
      const length = spec.shape.length ? (sizes.get(spec.shape[0] as string)?.size ?? 1) : 1;
      const all = spec.shape.length && typeof value === "number" ? new Array<number>(length).fill(value) : value;
      feeds[spec.input] = this.#tensor(spec, all, spec.name, sizes);
    }
  }

  #tensor(spec: InputSpec, given: Batch, of: string, sizes: Sizes): Tensor {
    const { dtype, data, shape } = fill(spec, given, of, sizes);
    return new this.#ort.Tensor(dtype, data as never, shape);
  }

  async #now(): Promise<Map<string, Value>> {
    const named = new Map<string, Value>();
    for (const { input, holds } of this.manifest.tensors) {
      const { data } = await taken(this.#state.get(input) as Tensor, false);
      for (const { name, offset } of holds) {
        const { shape, dtype } = this.#spec(name);
        named.set(name, { shape, dtype: asDtype(dtype, name), data: data.slice(offset, offset + count(shape)) });
      }
    }
    return new Map(this.manifest.state.map(({ name }) => [name, named.get(name) as Value]));
  }

  /** Raise unless all parameters are there, of each other kind all or none, and nothing else. */
  #refuseNames(tensors: ReadonlyMap<string, Value>): void {
    const known = new Map(this.manifest.state.map(({ name, kind }) => [name, kind]));
    const kinds = new Set<StateKind>(["parameter"]);
    for (const name of tensors.keys()) kinds.add(known.get(name) ?? "parameter");
    const missing = this.manifest.state.filter(({ name, kind }) => kinds.has(kind) && !tensors.has(name));
    const strange = [...tensors.keys()].filter((name) => !known.has(name));
    const parts = [
      ...(missing.length ? [`lacks ${some(missing.map(({ name }) => name))}`] : []),
      ...(strange.length ? [`has ${some(strange)}, which the state has not`] : []),
    ];
    const hint = "to take those that fit, and leave the others as they are, write restore(file, {strict: false})";
    this.#refuse(parts.length > 0, `the file ${parts.join(", and ")}; ${hint}`);
  }

  /** Make `tensors` the state: all of them or, if anything is wrong with one, none. */
  #put(tensors: ReadonlyMap<string, Value>): void {
    const next = new Map(this.manifest.tensors.map((carried) => [carried.input, this.#assembled(carried, tensors)]));
    for (const tensor of this.#state.values()) if (tensor.location !== "cpu") tensor.dispose();
    this.#state = next;
    this.#gradients = undefined;
    this.#steps = 0;
  }

  #assembled(carried: CarriedSpec, tensors: ReadonlyMap<string, Value>): Tensor {
    const dtype = asDtype(carried.dtype, carried.input);
    const flat = zeros(dtype, count(carried.shape));
    for (const { name, offset } of carried.holds) {
      const spec = this.#spec(name);
      const value = tensors.get(name);
      if (!value) throw new TypeError(`${this.#name()}: the file of its state has no ${name}`);
      const fits = value.dtype === spec.dtype && String(value.shape) === String(spec.shape);
      this.#refuse(
        !fits,
        `${name} is ${value.dtype} of shape [${value.shape}] in the file, and ${spec.dtype} of shape [${spec.shape}] in the state`,
      );
      flat.set(value.data as never, offset);
    }
    return new this.#ort.Tensor(dtype, flat as never, carried.shape);
  }

  #spec(name: string): Manifest["state"][number] {
    const spec = this.manifest.state.find((one) => one.name === name);
    if (!spec) throw new TypeError(`the manifest is damaged: a tensor holds ${name}, which is not among the state`);
    return spec;
  }

  #name(): string {
    const { model, optimizer } = this.manifest;
    return `${model} with ${optimizer}`;
  }

  #refuse(wrong: boolean, why: string): void {
    if (wrong) throw new TypeError(`${this.#name()}: ${why}`);
  }
}

/** A tensor's numbers, wherever it is; `last`: whether nobody needs it there any more. */
async function taken(tensor: Tensor, last = true): Promise<Value> {
  const data = (tensor.location === "cpu" ? tensor.data : await tensor.getData(last)) as TypedArray;
  return { dtype: asDtype(tensor.type, "an output"), shape: tensor.dims, data };
}

async function fetched(source: string | URL, get: typeof fetch): Promise<Files> {
  const base = new URL(source, globalThis.document?.baseURI ?? globalThis.location?.href); // a worker has no document
  const read = async (url: URL): Promise<Response> => {
    const response = await get(url).catch((error: unknown) => {
      throw new Error(`${url} could not be read: ${(error as Error).message}`, { cause: error });
    });
    if (!response.ok) throw new Error(`${url} could not be read: ${response.status} ${response.statusText}`.trim());
    return response;
  };
  const text = await (await read(base)).text();
  let manifest: Manifest;
  try {
    manifest = asManifest(JSON.parse(text));
  } catch (error) {
    throw new TypeError(`${base}: ${error instanceof SyntaxError ? "this is not JSON" : (error as Error).message}`);
  }
  const bytes = async (name: string): Promise<Uint8Array> =>
    new Uint8Array(await (await read(new URL(name, base))).arrayBuffer());
  const { files } = manifest;
  const [step, predict, state] = await Promise.all([bytes(files.step), bytes(files.predict), bytes(files.state)]);
  return { manifest, step, predict, state };
}

function some(names: readonly string[]): string {
  return names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "");
}
