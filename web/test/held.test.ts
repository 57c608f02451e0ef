import assert from "node:assert/strict";
import { test } from "node:test";
import { astray, type Row } from "../src/held.ts";

const row = (name: string, found: number[], wanted: number[], before?: number[], group = "g"): Row => ({ name, group, found, wanted, before });

for (const [what, rows, name] of [
  ["the same numbers", [row("a", [1, 2], [1, 2])], undefined],
  ["rounding of what did not change", [row("a", [1.000001], [1], [1])], undefined],
  ["rounding of a change", [row("a", [1.1001], [1.1], [1])], undefined],
  ["a change that is a tenth off", [row("a", [1.11], [1.1], [1])], "a"],
  ["a wrong sign", [row("a", [0.5, 0.5], [0.5, -0.5])], "a"],
  ["a gradient of rounding alone beside others", [row("a", [1, 2], [1, 2]), row("b", [1e-9], [-1e-9])], undefined],
  ["the same in a group of its own", [row("a", [1, 2], [1, 2]), row("b", [1e-9], [-1e-9], undefined, "h")], "b"],
  ["not a number in both", [row("a", [NaN, Infinity], [NaN, Infinity])], undefined],
  ["not a number in one", [row("a", [1, 2]  , [1, 2]), row("b", [NaN], [1])], "b"],
  ["another length", [row("a", [1], [1, 1])], "a"],
] as [string, Row[], string | undefined][]) {
  test(`${what}: ${name ? "told" : "passes"}`, () => assert.equal(astray(rows), name));
}
