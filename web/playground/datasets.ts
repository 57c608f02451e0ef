// Points in the plane, of two classes.

import { generator, normal } from "./random.ts";

export interface Points {
  /** x and y in turn, as they are drawn. */
  readonly raw: Float32Array;
  /** x and y in turn, normalized by the training set's mean and standard deviation, as the models see them. */
  readonly inputs: Float32Array;
  /** 0 or 1. */
  readonly classes: Uint8Array;
}

export interface Dataset {
  readonly train: Points;
  readonly test: Points;
  /** The square that is shown, from `low` to `high` on both axes. */
  readonly low: number;
  readonly high: number;
  readonly mean: readonly [number, number];
  readonly std: readonly [number, number];
}

type Point = readonly [x: number, y: number, of: 0 | 1];

interface Kind {
  readonly label: string;
  readonly classes: readonly [string, string];
  readonly low: number;
  readonly high: number;
  /** How many points of each of the two sets. */
  readonly size: number;
  readonly draw: (random: () => number, i: number, n: number) => Point;
}

const noisy = (random: () => number, x: number, y: number, by: number, of: 0 | 1): Point => [
  x + by * normal(random),
  y + by * normal(random),
  of,
];

export const KINDS = {
  // The data set of modgrad.helper.generate_dataset: is a point of the unit square in the disc that covers half of it?
  disc: {
    label: "Disc",
    classes: ["outside of the disc", "inside"],
    low: 0,
    high: 1,
    size: 1000,
    draw: (random) => {
      const [x, y] = [random(), random()];
      return [x, y, (x - 0.5) ** 2 + (y - 0.5) ** 2 < 1 / (2 * Math.PI) ? 1 : 0];
    },
  },
  moons: {
    label: "Moons",
    classes: ["upper moon", "lower moon"],
    low: -1.6,
    high: 2.6,
    size: 500,
    draw: (random, i) => {
      const turn = Math.PI * random();
      return i % 2
        ? noisy(random, 1 - Math.cos(turn), 0.75 - Math.sin(turn), 0.12, 1)
        : noisy(random, Math.cos(turn), Math.sin(turn) + 0.25, 0.12, 0);
    },
  },
  spirals: {
    label: "Spirals",
    classes: ["one arm", "the other"],
    low: -1.15,
    high: 1.15,
    size: 500,
    draw: (random, i) => {
      const far = Math.sqrt(0.02 + 0.98 * random());
      const turn = 3 * Math.PI * far + (i % 2) * Math.PI;
      return noisy(random, far * Math.cos(turn), far * Math.sin(turn), 0.025, i % 2 ? 1 : 0);
    },
  },
  circles: {
    label: "Circles",
    classes: ["outer circle", "inner circle"],
    low: -1.4,
    high: 1.4,
    size: 500,
    draw: (random, i) => {
      const turn = 2 * Math.PI * random();
      const far = i % 2 ? 0.5 : 1;
      return noisy(random, far * Math.cos(turn), far * Math.sin(turn), 0.1, i % 2 ? 1 : 0);
    },
  },
} satisfies Record<string, Kind>;

export type KindName = keyof typeof KINDS;

/** The two sets of `kind`, drawn from `seed`. */
export function dataset(kind: KindName, seed = 0): Dataset {
  const { low, high, size, draw }: Kind = KINDS[kind];
  const random = generator(seed + 1);
  const [train, test] = [points(size, random, draw), points(size, random, draw)];
  const mean: [number, number] = [0, 0];
  const std: [number, number] = [0, 0];
  for (const axis of [0, 1] as const) {
    for (let i = 0; i < size; i++) mean[axis] += (train.raw[2 * i + axis] as number) / size;
    for (let i = 0; i < size; i++) std[axis] += ((train.raw[2 * i + axis] as number) - mean[axis]) ** 2 / size;
    std[axis] = Math.sqrt(std[axis]) || 1;
  }
  for (const set of [train, test]) set.inputs.set(normalized(set.raw, mean, std));
  return { train, test, low, high, mean, std };
}

/** (x - mean) / std on each axis. */
export function normalized(raw: Float32Array, mean: readonly [number, number], std: readonly [number, number]): Float32Array {
  return raw.map((value, i) => (value - mean[(i % 2) as 0 | 1]) / std[(i % 2) as 0 | 1]);
}

function points(n: number, random: () => number, draw: Kind["draw"]): Points {
  const raw = new Float32Array(2 * n);
  const classes = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    const [x, y, of] = draw(random, i, n);
    raw.set([x, y], 2 * i);
    classes[i] = of;
  }
  return { raw, inputs: new Float32Array(2 * n), classes };
}
