import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { diff } from "../../../providers/plugin/diff.ts";
import { unknown } from "../../../providers/plugin/values.ts";

const key = fc.string({ maxLength: 6 }).filter((text) => text !== "__proto__");
const properties = fc.dictionary(key, fc.jsonValue({ maxDepth: 3 }), { noNullPrototype: true }) as fc.Arbitrary<
  Record<string, unknown>
>;

describe("diff", () => {
  test("names each place that differs, in the engine's notation", () => {
    const old = { name: "a", size: 1, tags: ["x", "y"], nodes: { "acme/a": { url: "u", extra: true } }, gone: 1 };
    const now = { name: "a", size: 2, tags: ["x", "z", "new"], nodes: { "acme/a": { url: "v" }, b: {} }, key: unknown };
    expect(diff(old, now)).toEqual([
      { path: "size", property: "size", kind: "update" },
      { path: "tags[1]", property: "tags", kind: "update" },
      { path: "tags[2]", property: "tags", kind: "add" },
      { path: 'nodes["acme/a"].url', property: "nodes", kind: "update" },
      { path: 'nodes["acme/a"].extra', property: "nodes", kind: "delete" },
      { path: "nodes.b", property: "nodes", kind: "add" },
      { path: "gone", property: "gone", kind: "delete" },
      { path: "key", property: "key", kind: "add" },
    ]);
  });

  test("a change of kind is one update", () => {
    expect(diff({ a: [1] }, { a: { 0: 1 } })).toEqual([{ path: "a", property: "a", kind: "update" }]);
    expect(diff({ a: null }, { a: {} })).toEqual([{ path: "a", property: "a", kind: "update" }]);
    expect(diff({ a: "x" }, { a: unknown })).toEqual([{ path: "a", property: "a", kind: "update" }]);
  });

  test("names that objects inherit are names like any other", () => {
    expect(diff({}, { constructor: "x" })).toEqual([{ path: "constructor", property: "constructor", kind: "add" }]);
  });

  test("nothing differs from its copy, and a difference shows in both directions", () => {
    fc.assert(
      fc.property(properties, (value) => {
        expect(diff(value, structuredClone(value))).toEqual([]);
      }),
    );
    fc.assert(
      fc.property(properties, properties, (a, b) => {
        const there = diff(a, b);
        const back = diff(b, a);
        expect(there.map(({ path }) => path).sort()).toEqual(back.map(({ path }) => path).sort());
        expect(there.length === 0).toBe(JSON.stringify(sorted(a)) === JSON.stringify(sorted(b)));
      }),
    );
  });
});

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? 0 : value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, part]) => [name, sorted(part), "property"]);
}
