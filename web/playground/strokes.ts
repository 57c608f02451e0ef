// What is drawn, as lines; and as the 8 by 8 numbers from 0 to 16 that the bundled digits are made of.

/** Points of a pen from down to up, in units of the pad's side. */
export type Stroke = readonly (readonly [x: number, y: number])[];

export interface Turn {
  /** Radians. */
  readonly angle: number;
  /** Of the width, relative. */
  readonly stretch: number;
  /** Of the height, relative: so that the top is moved aside. */
  readonly slant: number;
  /** Of the pen, relative. */
  readonly pen: number;
}

const PLAIN: Turn = { angle: 0, stretch: 1, slant: 0, pen: 1 };
const FINE = 32; // the digits were scanned, fitted into 32 by 32 bits,
const BLOCK = 4; // and the bits of each 4 by 4 of these were counted
const PEN = 4.2; // how wide a line is among 32

/** A pen's mark, fitted and counted as the bundled digits were: (64), from 0 to 16. */
export function pixels(strokes: readonly Stroke[], turn: Turn = PLAIN): Float32Array {
  const [cos, sin] = [Math.cos(turn.angle), Math.sin(turn.angle)];
  const turned = strokes.map((stroke) =>
    stroke.map(([x, y]): [number, number] => {
      const [u, v] = [(x + turn.slant * y) * turn.stretch, y];
      return [u * cos - v * sin, u * sin + v * cos];
    }),
  );
  const all = turned.flat();
  const counts = new Float32Array(64);
  if (!all.length) return counts;
  const range = (axis: 0 | 1): [number, number] => {
    const values = all.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [[left, right], [top, bottom]] = [range(0), range(1)];
  const pen = PEN * turn.pen;
  // Never more than four times as large as drawn, or a dot would fill the square.
  const scale = Math.min((FINE - pen) / Math.max(right - left, bottom - top, 1e-6), 4 * FINE);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = FINE;
  const context = canvas.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
  context.lineWidth = pen;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of turned) {
    context.beginPath();
    stroke.forEach(([x, y], i) => {
      const at = [FINE / 2 + scale * (x - (left + right) / 2), FINE / 2 + scale * (y - (top + bottom) / 2)] as const;
      if (i === 0) context.moveTo(...at);
      context.lineTo(...at);
    });
    context.stroke();
  }
  const { data } = context.getImageData(0, 0, FINE, FINE);
  for (let y = 0; y < FINE; y++) {
    for (let x = 0; x < FINE; x++) {
      const block = Math.floor(y / BLOCK) * (FINE / BLOCK) + Math.floor(x / BLOCK);
      if ((data[4 * (y * FINE + x) + 3] as number) > 127) counts[block] = (counts[block] as number) + 1;
    }
  }
  return counts;
}

/** A drawing turned, stretched and slanted a little, as another hand's. */
export function varied(random: () => number): Turn {
  const about = (by: number): number => by * (2 * random() - 1);
  return { angle: about(0.16), stretch: 1 + about(0.14), slant: about(0.14), pen: 1 + about(0.22) };
}
