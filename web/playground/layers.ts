// Weights and gradients of each layer as pictures.

import type { Value } from "../src/index.ts";
import { diverging, palette } from "./colour.ts";

export interface Layer {
  /** The name before its parameters': "0" of "0.weight". */
  readonly name: string;
  /** What it is: "Linear(2, 25)". */
  readonly text: string;
}

interface Picture {
  readonly name: string;
  readonly shape: readonly number[];
  readonly weight: HTMLCanvasElement;
  readonly gradient: HTMLCanvasElement;
  readonly ofWeight: HTMLElement;
  readonly ofGradient: HTMLElement;
}

const CELL = 9; // pixels of one number, at most,
const SIDE = 132; // and of the whole on either side;
const LONG = 264; // across, where it has more numbers than that

export class Layers {
  readonly #list: HTMLElement;
  #pictures: Picture[] = [];

  constructor(list: HTMLElement) {
    this.#list = list;
  }

  /** Lay out a row for each layer that has parameters. */
  show(layers: readonly Layer[], parameters: readonly { readonly name: string; readonly shape: readonly number[] }[]): void {
    this.#pictures = [];
    this.#list.replaceChildren();
    for (const layer of layers) {
      const own = parameters.filter(({ name }) => name.startsWith(`${layer.name}.`));
      if (!own.length) continue;
      const item = document.createElement("li");
      item.className = "layer";
      const heading = document.createElement("h3");
      heading.textContent = layer.text;
      item.append(heading);
      for (const { name, shape } of own) item.append(this.#row(name, shape));
      this.#list.append(item);
    }
  }

  #row(name: string, shape: readonly number[]): HTMLElement {
    const row = document.createElement("div");
    row.className = "tensors";
    const kind = name.slice(name.lastIndexOf(".") + 1);
    const [weight, ofWeight] = figure(row, kind);
    const [gradient, ofGradient] = figure(row, "gradient");
    for (const canvas of [weight, gradient]) {
      let [rows, columns] = sides(shape);
      if (narrow(rows, columns)) [rows, columns] = [columns, rows];
      canvas.width = columns;
      canvas.height = rows;
      const cell = Math.min(CELL, (columns > SIDE ? LONG : SIDE) / columns, SIDE / rows);
      canvas.style.width = `${Math.max(3, columns * cell)}px`;
      canvas.style.height = `${Math.max(3, rows * cell)}px`;
    }
    this.#pictures.push({ name, shape, weight, gradient, ofWeight, ofGradient });
    return row;
  }

  draw(state: ReadonlyMap<string, Value>, gradients: ReadonlyMap<string, Value>): void {
    for (const { name, shape, weight, gradient, ofWeight, ofGradient } of this.#pictures) {
      paint(weight, state.get(name), shape, ofWeight, name);
      paint(gradient, gradients.get(name), shape, ofGradient, `gradient of ${name}`);
    }
  }
}

/** Rows and columns of the picture: outputs down, inputs across; a vector lies flat; a convolution's kernels side by side. */
function sides(shape: readonly number[]): [number, number] {
  if (shape.length < 2) return [1, shape[0] ?? 1];
  const [rows = 1, ...rest] = shape;
  return [rows, rest.reduce((a, b) => a * b, 1)];
}

/** Whether a picture is so narrow that it is laid on its side. */
function narrow(rows: number, columns: number): boolean {
  return rows >= 4 * columns;
}

function figure(row: HTMLElement, label: string): [HTMLCanvasElement, HTMLElement] {
  const whole = document.createElement("figure");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  const caption = document.createElement("figcaption");
  const range = document.createElement("span");
  range.className = "range";
  caption.append(label, range);
  whole.append(canvas, caption);
  row.append(whole);
  return [canvas, range];
}

function paint(
  canvas: HTMLCanvasElement,
  value: Value | undefined,
  shape: readonly number[],
  range: HTMLElement,
  name: string,
): void {
  const [rows, columns] = sides(shape);
  const flipped = narrow(rows, columns);
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(canvas.width, canvas.height);
  const colours = palette();
  let most = 0;
  if (value) for (const number of value.data) most = Math.max(most, Math.abs(Number(number)));
  for (let i = 0; i < rows * columns; i++) {
    const [r, g, b] = diverging(most ? Number(value?.data[i]) / most : 0, colours);
    image.data.set([r, g, b, 255], 4 * (flipped ? (i % columns) * rows + Math.floor(i / columns) : i));
  }
  context.putImageData(image, 0, 0);
  range.textContent = value ? `±${most ? Number(most.toPrecision(2)) : 0}` : "–";
  canvas.setAttribute("aria-label", value ? `${name}: numbers of at most ${most.toPrecision(2)}` : `${name}: none yet`);
}
