// Controls that both pages have: the learning rate, weights to and from a file, what is told to the reader.

import { readSafetensors, type Trainer } from "../src/index.ts";
import { element } from "./canvas.ts";

/** A slider whose numbers are powers of ten. */
export class Rate {
  readonly #slider: HTMLInputElement;
  readonly #output: HTMLOutputElement;

  constructor(slider: string, output: string) {
    this.#slider = element(slider, HTMLInputElement);
    this.#output = element(output, HTMLOutputElement);
    this.#slider.addEventListener("input", () => this.#tell());
  }

  get value(): number {
    return Number((10 ** Number(this.#slider.value)).toPrecision(2));
  }

  set value(lr: number) {
    this.#slider.value = String(Math.log10(lr));
    this.#tell();
  }

  #tell(): void {
    const text = String(this.value);
    this.#output.value = text;
    this.#slider.setAttribute("aria-valuetext", text);
  }
}

/** Wire the two buttons that write the state to a file and read it from one. */
export function files(prefix: string, trainer: () => Trainer | undefined, name: () => string, restored: () => Promise<void>): void {
  element(`${prefix}-save`, HTMLButtonElement).addEventListener("click", async () => {
    try {
      const state = await trainer()?.save();
      if (!state) return;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([state as BlobPart], { type: "application/octet-stream" }));
      link.download = `${name()}.safetensors`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      say(`The state was saved as ${link.download}; modgrad.load reads it.`);
    } catch (error) {
      complain(error);
    }
  });
  const input = element(`${prefix}-file`, HTMLInputElement);
  element(`${prefix}-load`, HTMLButtonElement).addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const [file] = input.files ?? [];
    input.value = "";
    const taker = trainer();
    if (!file || !taker) return;
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      const given = readSafetensors(bytes);
      const missing = taker.manifest.state.find(({ name, kind }) => kind === "parameter" && !given.has(name));
      if (missing) throw new Error(`${file.name} has no ${missing.name}: it is of another model.`);
      await taker.restore(bytes, { strict: false }); // another optimizer's state is passed over
      await restored();
      say(`The state was taken from ${file.name}.`);
    } catch (error) {
      complain(error);
    }
  });
}

/** Tell the reader something, in words that a screen reader speaks too. */
export function say(text: string): void {
  const status = element("status", HTMLElement);
  status.textContent = text;
  status.classList.remove("wrong");
  clearTimeout(fading);
  fading = setTimeout(() => (status.textContent = ""), 6000);
}

let fading: ReturnType<typeof setTimeout> | undefined;

/** Tell the reader what went wrong. */
export function complain(error: unknown): void {
  clearTimeout(fading);
  const status = element("status", HTMLElement);
  status.textContent = error instanceof Error ? error.message : String(error);
  status.classList.add("wrong");
}

/** The next time that the screen is drawn. */
export function frame(): Promise<number> {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}
