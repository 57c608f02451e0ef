// A chart of curves over the steps: lines that differ by dashes as well as by colour, few and round ticks.

import { sharpen } from "./canvas.ts";
import { css, palette } from "./colour.ts";

export interface Curve {
  readonly label: string;
  readonly colour: "low" | "high";
  readonly dashed: boolean;
}

export interface ChartOptions {
  readonly curves: readonly Curve[];
  /** What the numbers are, as a word for those who do not see the chart, and the unit behind each. */
  readonly what: string;
  readonly unit?: string;
  readonly logarithmic?: boolean;
  /** What the axis reaches at least. */
  readonly least: readonly [number, number];
}

const MOST = 400; // points kept: then every second one is let go

export class Chart {
  readonly #canvas: HTMLCanvasElement;
  readonly #options: ChartOptions;
  #rows: { step: number; values: readonly number[] }[] = [];

  constructor(canvas: HTMLCanvasElement, options: ChartOptions) {
    this.#canvas = canvas;
    this.#options = options;
  }

  clear(): void {
    this.#rows = [];
  }

  /** Note one value for each curve. A step that is noted already is noted anew. */
  add(step: number, ...values: number[]): void {
    if (this.#rows.at(-1)?.step === step) this.#rows.pop();
    this.#rows.push({ step, values });
    if (this.#rows.length > MOST) this.#rows = this.#rows.filter((_, i) => i % 2 === 0 || i === MOST);
  }

  draw(): void {
    const { context, width, height } = sharpen(this.#canvas);
    const { curves, unit = "", logarithmic = false, least, what } = this.#options;
    const colours = palette();
    const { soft, line } = colours;
    const [left, right, top, bottom] = [42, width - 8, 8, height - 22];
    const all = this.#rows.flatMap(({ values }) => values).filter(Number.isFinite);
    const low = Math.min(least[0], ...(logarithmic ? [Math.max(Math.min(...all, least[0]), 1e-6)] : []));
    const high = Math.max(least[1], ...all);
    const steps = Math.max(10, this.#rows.at(-1)?.step ?? 0);
    const scale = (value: number): number => (logarithmic ? Math.log(Math.max(value, low)) : value);
    const x = (step: number): number => left + (step / steps) * (right - left);
    const y = (value: number): number =>
      bottom - ((scale(value) - scale(low)) / (scale(high) - scale(low))) * (bottom - top);

    context.clearRect(0, 0, width, height);
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    context.fillStyle = soft;
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    let last = Infinity;
    for (const tick of logarithmic ? decades(low, high) : round(low, high, 5)) {
      const at = Math.round(y(tick)) + 0.5;
      context.beginPath();
      context.moveTo(left, at);
      context.lineTo(right, at);
      context.stroke();
      if (last - at >= 14) context.fillText(`${shortly(tick)}${unit}`, left - 6, last === Infinity ? Math.min(at, bottom) : at);
      last = last - at >= 14 ? at : last;
    }
    context.textBaseline = "top";
    for (const tick of round(0, steps, 5)) {
      context.textAlign = tick === 0 ? "left" : x(tick) > right - 16 ? "right" : "center";
      context.fillText(thousands(tick), x(tick), bottom + 7);
    }
    curves.forEach(({ colour, dashed }, k) => {
      context.beginPath();
      for (const { step, values } of this.#rows) {
        const value = values[k];
        if (value !== undefined && Number.isFinite(value)) context.lineTo(x(step), y(value));
      }
      context.strokeStyle = css(colours[colour]);
      context.setLineDash(dashed ? [5, 4] : []);
      context.lineWidth = 2;
      context.lineJoin = "round";
      context.stroke();
      context.setLineDash([]);
    });
    const now = this.#rows.at(-1);
    const said = curves.map(({ label }, k) => `${label} ${now ? shortly(now.values[k] ?? NaN) : "none yet"}${now ? unit : ""}`);
    this.#canvas.setAttribute("aria-label", `${what} over ${now?.step ?? 0} steps: ${said.join(", ")}`);
  }
}

/** Round numbers from `low` to `high`, about `n` of them. */
function round(low: number, high: number, n: number): number[] {
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const width = ([1, 2, 5, 10].find((m) => m * power >= rough) ?? 10) * power;
  const ticks: number[] = [];
  for (let i = Math.ceil(low / width); i * width <= high + 1e-9; i++) ticks.push(i * width);
  return ticks;
}

function decades(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const m of high / low > 100 ? [1] : [1, 2, 5]) {
      if (m * 10 ** power >= low * 0.999 && m * 10 ** power <= high * 1.001) ticks.push(m * 10 ** power);
    }
  }
  return ticks;
}

function shortly(value: number): string {
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(0) : String(Number(value.toPrecision(2)));
}

function thousands(value: number): string {
  return value >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : String(value);
}
