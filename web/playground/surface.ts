// The decision surface: what the model says everywhere in the square, and the points over it.

import { sharpen } from "./canvas.ts";
import { css, diverging, palette } from "./colour.ts";
import { normalized, type Dataset, type Points } from "./datasets.ts";

/** Points along each side at which the model is asked. */
export const SIDE = 56;

/** Where the model is asked, as it sees it: (SIDE * SIDE, 2), rows from the top. */
export function grid({ low, high, mean, std }: Dataset): Float32Array {
  const raw = new Float32Array(2 * SIDE * SIDE);
  const at = (i: number): number => low + ((i + 0.5) / SIDE) * (high - low);
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      raw.set([at(column), at(SIDE - 1 - row)], 2 * (row * SIDE + column));
    }
  }
  return normalized(raw, mean, std);
}

/** How much of its full colour a place has where the model is certain: little, so that the points stand out. */
const SHADE = 0.4;

export class Surface {
  readonly #canvas: HTMLCanvasElement;
  readonly #small = document.createElement("canvas");

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#small.width = this.#small.height = SIDE;
  }

  /** Draw scores (SIDE * SIDE, 2), then the points of the training set, or those of the test set. */
  draw(scores: ArrayLike<number>, data: Dataset, shown: "train" | "test"): void {
    const colours = palette();
    const small = this.#small.getContext("2d") as CanvasRenderingContext2D;
    const image = small.createImageData(SIDE, SIDE);
    for (let i = 0; i < SIDE * SIDE; i++) {
      // tanh of half the difference of the scores is 2p - 1: -1 where class 0 is certain, 1 where class 1 is
      const sure = Math.tanh(((scores[2 * i + 1] as number) - (scores[2 * i] as number)) / 2);
      const [r, g, b] = diverging(sure * SHADE, colours);
      image.data.set([r, g, b, 255], 4 * i);
    }
    small.putImageData(image, 0, 0);
    const { context, width, height } = sharpen(this.#canvas);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#small, 0, 0, width, height);
    this.#boundary(context, scores, width, height);
    this.#points(context, data, data[shown], width, height);
  }

  /** A line where both classes are as likely: where the difference of the scores changes its sign. */
  #boundary(context: CanvasRenderingContext2D, scores: ArrayLike<number>, width: number, height: number): void {
    const at = (row: number, column: number): number => {
      const i = 2 * (row * SIDE + column);
      return (scores[i + 1] as number) - (scores[i] as number);
    };
    context.beginPath();
    for (let row = 0; row + 1 < SIDE; row++) {
      for (let column = 0; column + 1 < SIDE; column++) {
        const corners = [at(row, column), at(row, column + 1), at(row + 1, column + 1), at(row + 1, column)] as const;
        const crossings: [number, number][] = [];
        for (let k = 0; k < 4; k++) {
          const [a, b] = [corners[k] as number, corners[(k + 1) % 4] as number];
          if (a < 0 === b < 0) continue;
          const t = a / (a - b);
          const [x, y] = ([[t, 0], [1, t], [1 - t, 1], [0, 1 - t]] as const)[k] as readonly [number, number];
          crossings.push([((column + x + 0.5) / SIDE) * width, ((row + y + 0.5) / SIDE) * height]);
        }
        for (let k = 0; k + 1 < crossings.length; k += 2) {
          context.moveTo(...(crossings[k] as [number, number]));
          context.lineTo(...(crossings[k + 1] as [number, number]));
        }
      }
    }
    context.strokeStyle = palette().ink;
    context.lineWidth = 1.5;
    context.lineCap = "round";
    context.stroke();
  }

  /** Class 0 as squares, class 1 as discs, so that the colour is not all that tells them apart. */
  #points(context: CanvasRenderingContext2D, { low, high }: Dataset, points: Points, width: number, height: number): void {
    const { low: zero, high: one, paper } = palette();
    const r = Math.max(1.9, Math.min(width / 170, 85 / Math.sqrt(points.classes.length)));
    context.lineWidth = 1.6;
    context.strokeStyle = paper;
    for (const of of [0, 1]) {
      context.beginPath();
      for (let i = 0; i < points.classes.length; i++) {
        if (points.classes[i] !== of) continue;
        const x = (((points.raw[2 * i] as number) - low) / (high - low)) * width;
        const y = height - (((points.raw[2 * i + 1] as number) - low) / (high - low)) * height;
        if (of) {
          context.moveTo(x + r, y);
          context.arc(x, y, r, 0, 2 * Math.PI);
        } else {
          context.rect(x - r * 0.85, y - r * 0.85, r * 1.7, r * 1.7);
        }
      }
      context.fillStyle = css(of ? one : zero);
      context.stroke(); // before, so that points that touch do not cut each other
      context.fill();
    }
  }
}
