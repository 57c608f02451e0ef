// The pad that one draws on, with a pointer or with the keys.

import { sharpen } from "./canvas.ts";
import { palette, onTheme } from "./colour.ts";
import type { Stroke } from "./strokes.ts";

const STRIDE = 1 / 24; // of the pad's side, for each press of an arrow key
const MARGIN = 0.04;
const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-STRIDE, 0],
  ArrowRight: [STRIDE, 0],
  ArrowUp: [0, -STRIDE],
  ArrowDown: [0, STRIDE],
};

export class Pad {
  readonly #canvas: HTMLCanvasElement;
  readonly #changed: () => void;
  #strokes: [number, number][][] = [];
  #picture: Float32Array | undefined;
  #pointer: number | undefined;
  /** Where the keys' pen is, and whether it is down. */
  #pen: [number, number] = [0.5, 0.25];
  #down = false;

  /** changed: called whenever something else is on the pad. */
  constructor(canvas: HTMLCanvasElement, changed: () => void) {
    this.#canvas = canvas;
    this.#changed = changed;
    canvas.addEventListener("pointerdown", (event) => this.#touch(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"] as const) canvas.addEventListener(end, () => (this.#pointer = undefined));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => {
      this.#down = false;
      this.draw();
    });
    onTheme(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get strokes(): readonly Stroke[] {
    return this.#strokes;
  }

  /** What `show` was given, until something is drawn. */
  get picture(): Float32Array | undefined {
    return this.#picture;
  }

  get empty(): boolean {
    return !this.#picture && !this.#strokes.length;
  }

  clear(): void {
    this.#strokes = [];
    this.#picture = undefined;
    this.#down = false;
    this.#after();
  }

  /** Show 8 by 8 numbers from 0 to 16 in place of a drawing. */
  show(picture: Float32Array): void {
    this.clear();
    this.#picture = picture;
    this.#after();
  }

  draw(): void {
    const { context, width, height } = sharpen(this.#canvas);
    const { ink, line, soft } = palette();
    context.clearRect(0, 0, width, height);
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.beginPath();
    for (let i = 1; i < 8; i++) {
      context.moveTo((i / 8) * width, 0);
      context.lineTo((i / 8) * width, height);
      context.moveTo(0, (i / 8) * height);
      context.lineTo(width, (i / 8) * height);
    }
    context.globalAlpha = 0.5;
    context.stroke();
    context.fillStyle = ink;
    this.#picture?.forEach((value, i) => {
      context.globalAlpha = value / 16;
      context.fillRect(((i % 8) / 8) * width, (Math.floor(i / 8) / 8) * height, width / 8, height / 8);
    });
    context.globalAlpha = 1;
    if (this.empty) {
      context.fillStyle = soft;
      context.font = `15px ${getComputedStyle(document.body).fontFamily}`;
      context.textAlign = "center";
      context.fillText("draw a digit here", width / 2, height / 2 + 5);
    }
    context.strokeStyle = ink;
    context.lineWidth = width / 13;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.#strokes) {
      context.beginPath();
      stroke.forEach(([x, y], i) => {
        if (i === 0) context.moveTo(x * width, y * height);
        context.lineTo(x * width, y * height);
      });
      context.stroke();
    }
    if (this.#canvas.matches(":focus-visible")) {
      context.beginPath();
      context.arc(this.#pen[0] * width, this.#pen[1] * height, 7, 0, 2 * Math.PI);
      context.lineWidth = 2;
      context.strokeStyle = getComputedStyle(this.#canvas).getPropertyValue("--accent");
      context.fillStyle = context.strokeStyle;
      if (this.#down) context.fill();
      context.stroke();
    }
  }

  #touch(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#down = false;
    this.#begin(this.#place(event));
    this.#after();
  }

  #move(event: PointerEvent): void {
    if (event.pointerId !== this.#pointer) return;
    // All places since the last event, so that a quick line is round.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.#strokes.at(-1)?.push(this.#place(each));
    this.#after();
  }

  #place(event: PointerEvent): [number, number] {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [inside((event.clientX - left) / width), inside((event.clientY - top) / height)];
  }

  /** Arrows move the pen, the space bar lifts it or puts it down, Delete clears. */
  #key(event: KeyboardEvent): void {
    const arrow = ARROWS[event.key];
    if (arrow) {
      this.#pen = [inside(this.#pen[0] + arrow[0]), inside(this.#pen[1] + arrow[1])];
      if (this.#down) this.#strokes.at(-1)?.push([...this.#pen]);
    } else if (event.key === " " || event.key === "Enter") {
      this.#down = !this.#down;
      if (this.#down) this.#begin([...this.#pen]);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.#after();
  }

  /** A new stroke, for which a picture makes room. */
  #begin(at: [number, number]): void {
    const down = this.#down;
    if (this.#picture) this.clear();
    this.#down = down;
    this.#strokes.push([at]);
  }

  #after(): void {
    this.draw();
    this.#changed();
  }
}

function inside(value: number): number {
  return Math.min(1 - MARGIN, Math.max(MARGIN, value));
}
