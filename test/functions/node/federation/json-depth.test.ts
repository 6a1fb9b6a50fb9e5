import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eventData } from "../../../../functions/node/federation/event-stream.ts";
import { JsonTooDeep, parseJson } from "../../../../functions/node/federation/json-depth.ts";

const nested = (depth: number) => `${'[{"a":'.repeat(depth / 2)}1${"}]".repeat(depth / 2)}`;

describe("JSON of others", () => {
  test("is read as JSON.parse reads it", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.nat(600), (text, spaces) => {
        const padded = " ".repeat(spaces) + text;
        expect(parseJson(padded)).toEqual(JSON.parse(padded));
      }),
    );
    expect(() => parseJson("{")).toThrow(SyntaxError);
  });

  test("is refused over 256 levels, not at 256", () => {
    expect(() => parseJson(nested(256))).not.toThrow();
    expect(() => parseJson(nested(258))).toThrow(JsonTooDeep);
    expect(() => parseJson("[".repeat(5_000_000))).toThrow("JSON nested over 256 levels");
  });

  test("may have any number of brackets in strings, and side by side", () => {
    const strings = fc.array(fc.constantFrom("[", "{", '"', "\\", "]", "a"), { minLength: 600, maxLength: 700 });
    fc.assert(
      fc.property(strings, (parts) => {
        const value = { [parts.join("")]: parts.join("") };
        expect(parseJson(JSON.stringify(value))).toEqual(value);
      }),
    );
    expect(parseJson(`[${"[],".repeat(1_000)}[]]`)).toHaveLength(1_001);
  });
});

test("a line of an event stream in many small pieces is joined once", async () => {
  const pieces = 100_000;
  async function* parts() {
    yield "data: ";
    for (let n = 0; n < pieces; n += 1) yield "x".repeat(80);
    yield "\n\n";
  }
  const started = performance.now();
  for await (const data of eventData(parts())) expect(data.length).toBe(80 * pieces);
  // Joining with every piece takes minutes.
  expect(performance.now() - started).toBeLessThan(5_000);
});
