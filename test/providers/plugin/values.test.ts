import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  guardUnknowns,
  hasSecret,
  hasUnknown,
  open,
  openAll,
  seal,
  sealAll,
  unknown,
  UnknownRead,
} from "../../../providers/plugin/values.ts";

const signature = "4dabf18193072939515e22adb298388d";
const secret = (value: unknown) => ({ [signature]: "1b47061264138c4ac30d75fd1eb44270", value });
const unknownText = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

const key = fc.string({ maxLength: 8 }).filter((text) => text !== "__proto__" && text !== signature);
/** Plain values, unknowns among them. */
const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.constant(unknown),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;
const properties = fc.dictionary(key, plain, { maxKeys: 5, noNullPrototype: true });

describe("values", () => {
  test("what is sealed opens to the same", () => {
    fc.assert(
      fc.property(plain, (value) => {
        expect(open(seal(value))).toEqual(value);
      }),
    );
  });

  test("sealing all keeps the values, whatever becomes a secret", () => {
    fc.assert(
      fc.property(properties, properties, fc.array(key), (values, like, secrets) => {
        expect(openAll(sealAll(values, secrets, like))).toEqual(values);
      }),
    );
  });

  test("a value that arrived as a secret leaves as one, at its place", () => {
    const like = { password: secret("p"), list: [secret("a"), "b"], nested: { inner: secret({ deep: 1 }), open: 2 } };
    expect(sealAll(openAll(like), [], like)).toEqual(like);
  });

  test("a property named as secret is wrapped once and whole", () => {
    const like = { a: { b: secret(1) }, c: secret("x") };
    expect(sealAll(openAll(like), ["a", "c"], like)).toEqual({ a: secret({ b: 1 }), c: secret("x") });
  });

  test("where the shape changed, the whole is a secret", () => {
    expect(sealAll({ list: ["b"] }, [], { list: [secret("a"), "b"] })).toEqual({ list: secret(["b"]) });
    expect(sealAll({ list: "text" }, [], { list: { inner: secret("a") } })).toEqual({ list: secret("text") });
  });

  test("no secret of the input is in clear in the output", () => {
    fc.assert(
      fc.property(properties, fc.nat(), (values, pick) => {
        const keys = Object.keys(values);
        if (keys.length === 0) return;
        const chosen = keys[pick % keys.length]!;
        const wire = { ...(seal(values) as Record<string, unknown>), [chosen]: secret(seal(values[chosen])) };
        const sealed = sealAll(openAll(wire), [], wire);
        expect(hasSecret(sealed[chosen])).toBe(true);
        expect(sealed).toEqual(wire);
      }),
    );
  });

  test("outputs and references to resources open to what they stand for", () => {
    const output = "d0e6a833031e9bbcd3f4e8bde6ca49a4";
    const resource = "5cf8f73096256a8f31e491e813e4eb8e";
    expect(open({ [signature]: output, value: secret("v"), dependencies: [] })).toBe("v");
    expect(open({ [signature]: output, secret: true })).toBe(unknown);
    expect(open({ [signature]: resource, urn: "urn:x", id: "i-1" })).toBe("i-1");
    expect(open({ [signature]: resource, urn: "urn:x", id: "" })).toBe(unknown);
    expect(open({ [signature]: resource, urn: "urn:x" })).toBe("urn:x");
  });

  test("unknowns of every type are unknown, and leave as the engine knows them", () => {
    for (const text of [unknownText, "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2"]) {
      expect(open({ a: [text] })).toEqual({ a: [unknown] });
    }
    expect(seal({ a: [unknown] })).toEqual({ a: [unknownText] });
    expect([hasUnknown({ a: [{ b: unknown }] }), hasUnknown({ a: [{ b: 1 }] })]).toEqual([true, false]);
  });

  test("code that reads an unknown value stops there, other values are as they were", () => {
    const guarded = guardUnknowns({
      name: "a",
      key: unknown,
      list: [1, unknown],
      deep: { inner: unknown, other: 2 },
    }) as any;
    expect([guarded.name, guarded.list[0], guarded.deep.other]).toEqual(["a", 1, 2]);
    for (const read of [
      () => guarded.key,
      () => guarded.list[1],
      () => guarded.deep.inner,
      () => ({ ...guarded }),
      () => JSON.stringify(guarded),
    ]) {
      expect(read).toThrow(UnknownRead);
    }
  });

  test("undefined is left out, and what a stack cannot store is a bug", () => {
    expect(seal({ a: undefined, b: 1 })).toEqual({ b: 1 });
    for (const value of [Number.NaN, 1n, () => 1, Symbol("other")]) expect(() => seal({ a: value })).toThrow(TypeError);
  });
});
