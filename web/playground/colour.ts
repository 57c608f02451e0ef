// Colours: taken from the style sheet, so that light and dark have their own.

export type RGB = readonly [number, number, number];

export interface Palette {
  /** Negative numbers and class 0. */
  readonly low: RGB;
  /** Zero. */
  readonly middle: RGB;
  /** Positive numbers and class 1. */
  readonly high: RGB;
  readonly ink: string;
  readonly soft: string;
  readonly line: string;
  readonly paper: string;
}

let known: Palette | undefined;
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The colours of now. */
export function palette(): Palette {
  known ??= read();
  return known;
}

/** Call `redraw` whenever light turns to dark or back. */
export function onTheme(redraw: () => void): void {
  dark.addEventListener("change", () => {
    known = undefined;
    redraw();
  });
}

function read(): Palette {
  const style = getComputedStyle(document.documentElement);
  const text = (name: string): string => style.getPropertyValue(name).trim();
  return {
    low: rgb(text("--low")),
    middle: rgb(text("--middle")),
    high: rgb(text("--high")),
    ink: text("--ink"),
    soft: text("--soft"),
    line: text("--line"),
    paper: text("--card"),
  };
}

function rgb(hex: string): RGB {
  const n = Number.parseInt(hex.slice(1), 16);
  return [n >> 16, (n >> 8) & 255, n & 255];
}

export function css([r, g, b]: RGB, alpha = 1): string {
  return `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)} / ${alpha})`;
}

/** From `low` at -1 over `middle` at 0 to `high` at 1. */
export function diverging(value: number, { low, middle, high }: Palette = palette()): RGB {
  const far = Math.min(Math.abs(value), 1);
  const end = value < 0 ? low : high;
  return [0, 1, 2].map((i) => (middle[i] as number) + far * ((end[i] as number) - (middle[i] as number))) as unknown as RGB;
}
