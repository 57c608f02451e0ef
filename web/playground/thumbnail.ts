// A data set as a small picture, to choose it by.

import { sharpen } from "./canvas.ts";
import { css, onTheme, palette } from "./colour.ts";
import type { Dataset } from "./datasets.ts";

const MOST = 150; // points: more would run together

export function thumbnail(canvas: HTMLCanvasElement, { train, low, high }: Dataset): void {
  const draw = (): void => {
    const { context, width, height } = sharpen(canvas);
    const { low: zero, high: one } = palette();
    context.clearRect(0, 0, width, height);
    for (let i = 0; i < MOST; i++) {
      const x = (((train.raw[2 * i] as number) - low) / (high - low)) * width;
      const y = height - (((train.raw[2 * i + 1] as number) - low) / (high - low)) * height;
      context.fillStyle = css(train.classes[i] ? one : zero);
      context.beginPath();
      context.arc(x, y, 1.5, 0, 2 * Math.PI);
      context.fill();
    }
  };
  draw();
  onTheme(draw);
  new ResizeObserver(draw).observe(canvas);
}
