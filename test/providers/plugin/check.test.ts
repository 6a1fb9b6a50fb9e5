import { describe, expect, test } from "vitest";
import * as z from "zod";
import { check } from "../../../providers/plugin/check.ts";
import { defineResource } from "../../../providers/plugin/resource.ts";
import { unknown } from "../../../providers/plugin/values.ts";

const unused = async (): Promise<never> => {
  throw new Error("not called by a check");
};
const typeWith = (inputs: z.ZodType<object>) =>
  defineResource<any, any>({
    token: "t:index:T",
    description: "",
    inputs,
    secrets: ["password"],
    replaceOn: [],
    create: unused,
    read: unused,
    update: unused,
    delete: unused,
  });

const shape = {
  url: z.url(),
  size: z.int().default(3),
  password: z.string().regex(/^\w+$/, "must be one word").optional(),
  nodes: z.record(z.string(), z.strictObject({ port: z.number() })).default({}),
};
const type = typeWith(z.strictObject(shape));
const secret = (value: unknown) => ({ "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", value });
const pending = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

describe("check", () => {
  test("fills defaults", () => {
    expect(check(type, { url: "https://a.example" })).toEqual({
      inputs: { url: "https://a.example", size: 3, nodes: {} },
      failures: [],
    });
  });

  test("says every fault with its path and the value", () => {
    expect(check(type, { url: "x", size: 1.5, nodes: { "a/b": { port: "1", host: "h" } }, sise: 1 }).failures).toEqual([
      'url: Invalid URL; it is "x"',
      "size: Invalid input: expected int, received number; it is 1.5",
      'nodes["a/b"].port: Invalid input: expected number, received string; it is "1"',
      'nodes["a/b"].host: not known here',
      "sise: t:index:T has no such input; it has url, size, password, nodes",
    ]);
  });

  test("never shows a secret, whether the type or the program says that it is one", () => {
    const { failures } = check(type, { url: secret("n0t-a-url"), password: "p4ss word" });
    expect(failures).toEqual(["url: Invalid URL", "password: must be one word"]);
  });

  test("an object schema that would drop a misspelt input does not do so in silence", () => {
    expect(check(typeWith(z.object(shape)), { url: "https://a.example", sise: 1 }).failures).toEqual([
      "sise: t:index:T has no such input; it has url, size, password, nodes",
    ]);
  });

  test("in a preview, what is known is checked and gets its default", () => {
    expect(check(type, { url: pending, nodes: { a: { port: pending } } })).toEqual({
      inputs: { url: unknown, size: 3, nodes: { a: { port: unknown } } },
      failures: [],
    });
    expect(check(type, { url: pending, size: "big" }).failures).toEqual([
      'size: Invalid input: expected number, received string; it is "big"',
    ]);
  });

  test("a rule over several inputs waits until all are known", () => {
    const ruled = typeWith(
      z.strictObject(shape).refine(({ size, url }) => url.length > size, "the url is shorter than the size"),
    );
    expect(check(ruled, { url: pending, size: 99 }).failures).toEqual([]);
    expect(check(ruled, { url: "https://a.example", size: 99 }).failures).toEqual([
      "inputs: the url is shorter than the size",
    ]);
  });
});
