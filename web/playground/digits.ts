// The page of digits: a model that reads them already learns how the reader writes them.

import { readSafetensors, type Trainer } from "../src/index.ts";
import { element } from "./canvas.ts";
import { bytes, exported, type Catalogue } from "./catalogue.ts";
import { onTheme } from "./colour.ts";
import { complain, files, frame, Rate, say } from "./controls.ts";
import { Chart } from "./curves.ts";
import { Layers } from "./layers.ts";
import { Pad } from "./pad.ts";
import { generator } from "./random.ts";
import { probabilities, score } from "./score.ts";
import { pixels, varied, type Stroke } from "./strokes.ts";

const STEPS = 25; // for each press of Learn
const BATCH = 32;
const OWN = 8; // of each batch, the reader's digits; the others keep the model from forgetting what it knew

interface Taught {
  readonly label: number;
  /** Another picture of it: the drawing turned a little, or the same 8 by 8 numbers. */
  readonly picture: () => Float32Array;
}

interface Bundle {
  readonly images: Float32Array;
  readonly labels: Uint8Array;
  /** How many of them are to train on; the others are the test. */
  readonly train: number;
}

export class DigitsPage {
  readonly #catalogue: Catalogue;
  readonly #pad = new Pad(element("pad", HTMLCanvasElement), () => this.#drawn());
  readonly #seen = element("seen", HTMLCanvasElement);
  readonly #layers = new Layers(element("digit-layers", HTMLElement));
  readonly #rate = new Rate("digit-lr", "digit-lr-value");
  readonly #chart = new Chart(element("digit-chart", HTMLCanvasElement), {
    curves: [
      { label: "your digit", colour: "high", dashed: false },
      { label: "test digits read right", colour: "low", dashed: true },
    ],
    what: "In %",
    unit: " %",
    least: [0, 100],
  });
  readonly #bars: { readonly bar: HTMLElement; readonly share: HTMLElement; readonly row: HTMLElement }[] = [];
  readonly #random = generator(7);

  #trainer: Trainer | undefined;
  #start = new Uint8Array();
  #bundle: Bundle | undefined;
  #taught: Taught[] = [];
  #thumbnails: { readonly canvas: HTMLCanvasElement; readonly picture: Float32Array }[] = [];
  #work: Promise<void> = Promise.resolve();
  #learning = false;
  #waiting = false;

  constructor(catalogue: Catalogue) {
    this.#catalogue = catalogue;
    this.#layOut();
    element("learn", HTMLButtonElement).addEventListener("click", () => void this.learn());
    element("clear", HTMLButtonElement).addEventListener("click", () => this.#pad.clear());
    element("sample", HTMLButtonElement).addEventListener("click", () => this.sample());
    element("forget", HTMLButtonElement).addEventListener("click", () => void this.forget());
    files("digits", () => this.#trainer, () => "digits", async () => void (await this.#measure()));
    onTheme(() => {
      for (const { canvas, picture } of this.#thumbnails) paint(canvas, picture);
      void this.#show();
    });
    new ResizeObserver(() => this.#chart.draw()).observe(element("digit-chart", HTMLCanvasElement));
  }

  get trainer(): Trainer | undefined {
    return this.#trainer;
  }

  /** Take the model and the digits; only when the page is looked at. */
  load(): Promise<void> {
    return this.#safely(async () => {
      if (this.#trainer) return;
      const { manifest, data, layers } = { ...this.#catalogue.digits, ...this.#catalogue.digits.optimizers[0] } as never as {
        manifest: string;
        data: string;
        layers: Catalogue["digits"]["layers"];
      };
      const [{ trainer, start }, file] = await Promise.all([exported(manifest), bytes(data)]);
      const tensors = readSafetensors(file);
      const [images, labels, train] = ["images", "labels", "train"].map((name) => tensors.get(name)?.data);
      if (!images || !labels || !train) throw new Error(`${data} has no images, labels or train`);
      this.#bundle = {
        images: Float32Array.from(images as Uint8Array),
        labels: labels as Uint8Array,
        train: Number(train[0]),
      };
      this.#rate.value = this.#catalogue.digits.optimizers[0]?.lr ?? 0.01;
      this.#layers.show(layers, trainer.manifest.state.filter(({ kind }) => kind === "parameter"));
      [this.#trainer, this.#start] = [trainer, start as Uint8Array<ArrayBuffer>];
      await this.#measure();
    });
  }

  /** Train on what is on the pad, beside what was taught before and the bundled digits. */
  learn(): Promise<void> {
    const label = document.querySelector<HTMLInputElement>("input[name=label]:checked");
    if (this.#learning) return this.#work;
    if (!this.#trainer) return this.load();
    if (this.#pad.empty) {
      say("Draw a digit first, or take one from the test digits.");
      return Promise.resolve();
    }
    if (!label) {
      say("Say first which digit it is: choose one of 0 to 9.");
      return Promise.resolve();
    }
    this.#learning = true;
    return this.#safely(async () => {
      const taught = this.#teach(Number(label.value));
      const trainer = this.#trainer as Trainer;
      await this.#note(taught.label);
      for (let i = 0; i < STEPS; i++) {
        const { x, y } = this.#batch(taught);
        const loss = await trainer.step(x, y, this.#rate.value);
        if (!Number.isFinite(loss)) throw new Error(`The loss is ${loss}: lower the learning rate, then press Forget.`);
        await this.#note(taught.label);
        await frame();
      }
      const error = await this.#measure();
      say(`Learnt in ${STEPS} steps that this is a ${taught.label}. It reads ${(100 - error).toFixed(1)} % of the test digits right.`);
    }).finally(() => (this.#learning = false));
  }

  /** Put a digit of the test set in place of a drawing. */
  sample(): void {
    const bundle = this.#bundle;
    if (!bundle) return void this.load();
    const i = bundle.train + Math.floor(this.#random() * (bundle.labels.length - bundle.train));
    this.#pad.show(bundle.images.slice(64 * i, 64 * (i + 1)));
    const label = document.querySelector<HTMLInputElement>(`input[name=label][value="${bundle.labels[i]}"]`);
    if (label) label.checked = true;
  }

  /** Back to the model as it was trained in Python. */
  forget(): Promise<void> {
    if (!this.#trainer) return this.load();
    return this.#safely(async () => {
      await this.#trainer?.restore(this.#start);
      this.#taught = [];
      this.#thumbnails = [];
      element("taught", HTMLElement).replaceChildren();
      this.#chart.clear();
      await this.#measure();
      say("Back to the model as it was trained in Python.");
    });
  }

  #layOut(): void {
    const [bars, labels] = [element("bars", HTMLElement), element("labels", HTMLElement)];
    for (let digit = 0; digit < 10; digit++) {
      const row = document.createElement("li");
      const [name, track, bar, share] = ["b", "span", "i", "span"].map((tag) => document.createElement(tag)) as [
        HTMLElement, HTMLElement, HTMLElement, HTMLElement,
      ];
      name.textContent = String(digit);
      track.className = "track";
      share.className = "share";
      track.append(bar);
      row.append(name, track, share);
      bars.append(row);
      this.#bars.push({ bar, share, row });
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "label", value: String(digit) });
      const text = document.createElement("span");
      text.textContent = String(digit);
      label.append(input, text);
      labels.append(label);
    }
  }

  #drawn(): void {
    if (this.#pad.empty) for (const label of document.querySelectorAll<HTMLInputElement>("input[name=label]")) label.checked = false;
    if (this.#waiting) return; // one look for all that comes before it
    this.#waiting = true;
    void this.#safely(async () => {
      this.#waiting = false;
      await this.#show();
    });
  }

  #now(): Float32Array {
    return this.#pad.picture ?? pixels(this.#pad.strokes);
  }

  async #probabilities(): Promise<Float64Array | undefined> {
    if (this.#pad.empty || !this.#trainer) return undefined;
    return probabilities((await this.#trainer.predict(this.#scaled(this.#now()))).data, 10);
  }

  /** What the model sees, and what it says of it. */
  async #show(): Promise<void> {
    const picture = this.#now();
    paint(this.#seen, picture);
    const p = await this.#probabilities();
    const best = p ? p.indexOf(Math.max(...p)) : -1;
    this.#bars.forEach(({ bar, share, row }, digit) => {
      const percent = 100 * (p?.[digit] ?? 0);
      bar.style.width = `${percent}%`;
      share.textContent = p ? `${percent < 9.95 ? percent.toFixed(1) : Math.round(percent)} %` : "";
      row.classList.toggle("best", digit === best);
    });
    element("verdict", HTMLElement).textContent = p ? String(best) : "–";
    element("reads", HTMLElement).textContent = p ? `read as ${best}, ${Math.round(100 * (p[best] as number))} %` : "";
    this.#chart.draw();
    if (this.#trainer) this.#layers.draw(await this.#trainer.state(), this.#trainer.gradients());
  }

  #teach(label: number): Taught {
    const sample = this.#pad.picture;
    const strokes: readonly Stroke[] = this.#pad.strokes.map((stroke) => [...stroke]);
    const taught = { label, picture: () => sample ?? pixels(strokes, varied(this.#random)) };
    this.#taught.push(taught);
    const item = document.createElement("li");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 8;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `a digit taught as ${label}`);
    this.#thumbnails.push({ canvas, picture: this.#now() });
    paint(canvas, this.#now());
    const caption = document.createElement("span");
    caption.textContent = String(label);
    item.append(canvas, caption);
    element("taught", HTMLElement).prepend(item);
    return taught;
  }

  /** The new digit, those taught before, and bundled ones. */
  #batch(newest: Taught): { x: Float32Array; y: number[] } {
    const { images, labels, train } = this.#bundle as Bundle;
    const x = new Float32Array(64 * BATCH);
    const y: number[] = [];
    for (let i = 0; i < BATCH; i++) {
      const own = i < OWN ? (i % 2 ? this.#taught[Math.floor(this.#random() * this.#taught.length)] : newest) : undefined;
      const other = Math.floor(this.#random() * train);
      x.set(own ? own.picture() : images.subarray(64 * other, 64 * (other + 1)), 64 * i);
      y.push(own ? own.label : (labels[other] as number));
    }
    return { x: this.#scaled(x), y };
  }

  /** As the model was given them in Python: from 0 to 1. */
  #scaled(picture: Float32Array): Float32Array {
    return picture.map((value) => value / 16);
  }

  /** The share of the test digits that are read wrong, in %. */
  async #measure(): Promise<number> {
    const { images, labels, train } = this.#bundle as Bundle;
    const scores = (await (this.#trainer as Trainer).predict(this.#scaled(images.subarray(64 * train)))).data;
    const { error } = score(scores, labels.subarray(train));
    element("digit-error", HTMLElement).textContent = `${error.toFixed(1)} %`;
    element("digit-steps", HTMLElement).textContent = String(this.#trainer?.steps ?? 0);
    await this.#show();
    return error;
  }

  async #note(label: number): Promise<void> {
    const error = await this.#measure();
    const p = await this.#probabilities();
    this.#chart.add(this.#trainer?.steps ?? 0, 100 * (p?.[label] ?? NaN), 100 - error);
  }

  #safely(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch(complain);
    return this.#work;
  }
}

/** 64 numbers from 0 to 16, as ink on nothing. */
function paint(canvas: HTMLCanvasElement, picture: Float32Array): void {
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(8, 8);
  const ink = matchMedia("(prefers-color-scheme: dark)").matches ? [236, 233, 226] : [28, 27, 25];
  for (let i = 0; i < 64; i++) image.data.set([...ink, (255 * (picture[i] as number)) / 16], 4 * i);
  context.putImageData(image, 0, 0);
}
