// The page of points: an exported step learns which points of the plane are of which class.

import type { Trainer } from "../src/index.ts";
import { element } from "./canvas.ts";
import { exported, type Catalogue, type Model, type Optimizer } from "./catalogue.ts";
import { onTheme } from "./colour.ts";
import { complain, files, frame, Rate, say } from "./controls.ts";
import { Chart } from "./curves.ts";
import { dataset, KINDS, type Dataset, type KindName } from "./datasets.ts";
import { Layers } from "./layers.ts";
import { generator, permutation } from "./random.ts";
import { score } from "./score.ts";
import { grid, Surface } from "./surface.ts";
import { thumbnail } from "./thumbnail.ts";

const LOOK = 110; // milliseconds between two looks at the surface and the curves while it runs
const WORK = 13; // milliseconds of steps in a frame, of the 16 that it has

export class PointsPage {
  readonly #models: readonly Model[];
  readonly #surface = new Surface(element("surface", HTMLCanvasElement));
  readonly #layers = new Layers(element("layers", HTMLElement));
  readonly #rate = new Rate("lr", "lr-value");
  readonly #loss = new Chart(element("loss-chart", HTMLCanvasElement), {
    curves: [
      { label: "train", colour: "low", dashed: false },
      { label: "test", colour: "high", dashed: true },
    ],
    what: "Loss",
    logarithmic: true,
    least: [0.1, 1],
  });
  readonly #error = new Chart(element("error-chart", HTMLCanvasElement), {
    curves: [
      { label: "train", colour: "low", dashed: false },
      { label: "test", colour: "high", dashed: true },
    ],
    what: "Errors",
    unit: " %",
    least: [0, 50],
  });
  readonly #run = element("run", HTMLButtonElement);
  readonly #model = element("model", HTMLSelectElement);
  readonly #optimizer = element("optimizer", HTMLSelectElement);
  readonly #batch = element("batch", HTMLSelectElement);
  readonly #pace = element("pace", HTMLSelectElement);

  #kind: KindName = "disc";
  #data: Dataset = dataset("disc");
  #grid = grid(this.#data);
  #shown: "train" | "test" = "train";
  #trainer: Trainer | undefined;
  /** What the trainer is of. */
  #loaded: { readonly model: string; readonly optimizer: string } | undefined;
  #start = new Uint8Array();
  #running = false;
  #order: { readonly epoch: number; readonly of: Uint32Array } = { epoch: -1, of: new Uint32Array() };
  #scores: ArrayLike<number> = new Float32Array(this.#grid.length);
  #work: Promise<void> = Promise.resolve();

  constructor(catalogue: Catalogue) {
    this.#models = catalogue.points;
    for (const { id, label } of this.#models) this.#model.add(new Option(label, id));
    this.#fillOptimizers();
    for (const kind of Object.keys(KINDS) as KindName[]) thumbnail(element(`thumb-${kind}`, HTMLCanvasElement), dataset(kind));
    document.querySelectorAll<HTMLInputElement>("input[name=data]").forEach((input) => {
      input.addEventListener("change", () => void this.choose(input.value as KindName));
    });
    document.querySelectorAll<HTMLInputElement>("input[name=shown]").forEach((input) => {
      input.addEventListener("change", () => {
        this.#shown = input.value as "train" | "test";
        this.#paint();
      });
    });
    this.#model.addEventListener("change", () => {
      this.#fillOptimizers();
      void this.load();
    });
    this.#optimizer.addEventListener("change", () => void this.load());
    this.#run.addEventListener("click", () => (this.#running ? this.pause() : void this.run()));
    element("step", HTMLButtonElement).addEventListener("click", () => void this.step());
    element("reset", HTMLButtonElement).addEventListener("click", () => void this.reset());
    files("points", () => this.#trainer, () => this.#chosen().manifest.replace(/\.json$/, ""), () => this.#begin());
    element("controls", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
    onTheme(() => void this.#redraw());
    new ResizeObserver(() => this.#redraw()).observe(element("surface", HTMLCanvasElement));
  }

  get data(): Dataset {
    return this.#data;
  }

  get trainer(): Trainer | undefined {
    return this.#trainer;
  }

  /** The samples of the `step`-th batch: each epoch goes through all of them in an order of its own. */
  batch(step: number): Uint32Array {
    const n = this.#data.train.classes.length;
    const size = Number(this.#batch.value);
    const each = Math.ceil(n / size);
    const epoch = Math.floor(step / each);
    if (this.#order.epoch !== epoch || this.#order.of.length !== n) {
      this.#order = { epoch, of: permutation(n, generator(1_000_003 * (epoch + 1))) };
    }
    const first = (step % each) * size;
    return this.#order.of.subarray(first, first + size);
  }

  /** Take the exported step that is chosen, from its start. If it cannot be had, the one that is loaded is chosen again. */
  load(): Promise<void> {
    return this.#safely(async () => {
      const [model, chosen] = [this.#chosenModel(), this.#chosen()];
      const { trainer, start } = await exported(chosen.manifest).catch((error: unknown) => {
        if (this.#chosen() === chosen) this.#chooseLoaded();
        throw error;
      });
      if (this.#chosen() !== chosen) return; // another was chosen while this one came
      [this.#trainer, this.#start] = [trainer, start as Uint8Array<ArrayBuffer>];
      this.#loaded = { model: model.id, optimizer: chosen.id };
      this.#rate.value = chosen.lr;
      element("about-model", HTMLElement).textContent = `${model.about} ${model.parameters.toLocaleString("en")} parameters.`;
      this.#layers.show(model.layers, trainer.manifest.state.filter(({ kind }) => kind === "parameter"));
      await trainer.restore(start);
      await this.#begin();
    });
  }

  /** Another data set: the model starts anew. */
  async choose(kind: KindName): Promise<void> {
    this.#kind = kind;
    this.#data = dataset(kind);
    this.#grid = grid(this.#data);
    const [zero, one] = KINDS[kind].classes;
    element("class-0", HTMLElement).textContent = zero;
    element("class-1", HTMLElement).textContent = one;
    await this.reset();
  }

  reset(): Promise<void> {
    return this.#safely(async () => {
      await this.#trainer?.restore(this.#start);
      await this.#begin();
    });
  }

  async step(): Promise<void> {
    this.pause();
    if (!this.#trainer) await this.load();
    return this.#safely(async () => {
      await this.#train();
      await this.#look();
    });
  }

  pause(): void {
    this.#running = false;
    this.#run.textContent = "Run";
    this.#run.setAttribute("aria-pressed", "false");
  }

  /** Train until paused. */
  async run(): Promise<void> {
    if (!this.#trainer) await this.load();
    if (this.#running || !this.#trainer) return;
    this.#running = true;
    this.#run.textContent = "Pause";
    this.#run.setAttribute("aria-pressed", "true");
    let looked = 0;
    let [counted, since] = [this.#trainer?.steps ?? 0, performance.now()];
    while (this.#running) {
      const now = await frame();
      await this.#safely(async () => {
        const pace = Number(this.#pace.value);
        const until = performance.now() + WORK;
        for (let i = 0; i < pace && performance.now() < until; i++) await this.#train();
        if (now - looked < LOOK) return;
        looked = now;
        await this.#look();
        const steps = this.#trainer?.steps ?? 0;
        const seconds = (performance.now() - since) / 1000;
        if (seconds > 0.5) {
          const speed = Math.max(0, steps - counted) / seconds;
          element("speed", HTMLElement).textContent = `${Math.round(speed).toLocaleString("en")} steps/s`;
          [counted, since] = [steps, performance.now()];
        }
      });
    }
    element("speed", HTMLElement).textContent = "";
    await this.#safely(() => this.#look());
  }

  /** One batch. */
  async #train(): Promise<void> {
    const trainer = this.#trainer;
    if (!trainer) return;
    const { inputs, classes } = this.#data.train;
    const chosen = this.batch(trainer.steps);
    const x = new Float32Array(2 * chosen.length);
    chosen.forEach((of, i) => x.set(inputs.subarray(2 * of, 2 * of + 2), 2 * i));
    const loss = await trainer.step(x, Array.from(chosen, (of) => classes[of] as number), this.#rate.value);
    if (!Number.isFinite(loss)) {
      this.pause();
      throw new Error(`The loss is ${loss}: the learning rate is too high. Lower it, then press Reset.`);
    }
  }

  /** From step 0: empty curves, and a first look. */
  async #begin(): Promise<void> {
    this.#loss.clear();
    this.#error.clear();
    await this.#look();
    say("");
  }

  /** Ask the model about the training set, the test set and the square, and show what it says. */
  async #look(): Promise<void> {
    const trainer = this.#trainer;
    if (!trainer) return;
    const { train, test } = this.#data;
    const of = async (inputs: Float32Array): Promise<ArrayLike<number>> =>
      (await trainer.predict(inputs)).data as ArrayLike<number>;
    const [a, b] = [score(await of(train.inputs) as never, train.classes), score(await of(test.inputs) as never, test.classes)];
    this.#scores = await of(this.#grid);
    this.#loss.add(trainer.steps, a.loss, b.loss);
    this.#error.add(trainer.steps, a.error, b.error);
    element("steps", HTMLElement).textContent = trainer.steps.toLocaleString("en");
    element("train-loss", HTMLElement).textContent = shortly(a.loss);
    element("test-loss", HTMLElement).textContent = shortly(b.loss);
    element("train-error", HTMLElement).textContent = `${a.error.toFixed(1)} %`;
    element("test-error", HTMLElement).textContent = `${b.error.toFixed(1)} %`;
    const label = `${KINDS[this.#kind].label}: what the model says of each place, after ${trainer.steps} steps; test error ${b.error.toFixed(1)} %`;
    element("surface", HTMLCanvasElement).setAttribute("aria-label", label);
    await this.#redraw();
  }

  async #redraw(): Promise<void> {
    this.#paint();
    const trainer = this.#trainer;
    if (trainer) this.#layers.draw(await trainer.state(), trainer.gradients());
  }

  #paint(): void {
    this.#surface.draw(this.#scores, this.#data, this.#shown);
    this.#loss.draw();
    this.#error.draw();
  }

  /** One thing after the other; what goes wrong is told. */
  #safely(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.pause();
      complain(error);
    });
    return this.#work;
  }

  #chosenModel(): Model {
    return (this.#models.find(({ id }) => id === this.#model.value) ?? this.#models[0]) as Model;
  }

  #chosen(): Optimizer {
    const { optimizers } = this.#chosenModel();
    return (optimizers.find(({ id }) => id === this.#optimizer.value) ?? optimizers[0]) as Optimizer;
  }

  #chooseLoaded(): void {
    if (!this.#loaded) return;
    this.#model.value = this.#loaded.model;
    this.#fillOptimizers();
    this.#optimizer.value = this.#loaded.optimizer;
  }

  /** The optimizers of the chosen model; the one that was chosen stays. */
  #fillOptimizers(): void {
    const before = this.#optimizer.value;
    const { optimizers } = this.#chosenModel();
    this.#optimizer.replaceChildren(...optimizers.map(({ id, label }) => new Option(label, id, false, id === before)));
  }
}

function shortly(loss: number): string {
  return loss < 0.001 ? loss.toExponential(1) : loss.toFixed(3);
}
