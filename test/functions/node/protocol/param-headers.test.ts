import { describe, expect, test } from "vitest";
import { prefixName, prefixResult, prefixUri } from "../../../../functions/node/federation/names.ts";
import { checkParamHeaders, mirroredArguments } from "../../../../functions/node/protocol/param-headers.ts";

describe("arguments that headers repeat", () => {
  test("are found at any depth, by header name in lower case", () => {
    const region = { type: "string", "x-mcp-header": "Region" };
    const schema = { properties: { where: { type: "object", properties: { region } }, other: { type: "string" } } };
    expect(mirroredArguments(schema)).toEqual([{ path: ["where", "region"], header: "mcp-param-region" }]);
    expect(mirroredArguments(true)).toEqual([]);
  });

  test.each([
    ["not a token", { a: { type: "string", "x-mcp-header": "a b" } }],
    ["no scalar", { a: { type: "object", "x-mcp-header": "a" } }],
    ["used twice", { a: { type: "string", "x-mcp-header": "A" }, b: { type: "string", "x-mcp-header": "a" } }],
  ])("are refused when the header is %s", (_, properties) => {
    expect(mirroredArguments({ properties })).toBeUndefined();
  });

  test.each([
    [7, "7", true],
    [7, "7.0", true],
    [7, "", false],
    [true, "true", true],
    [false, "0", false],
    ["=?base64?x", "=?base64?x", true],
  ])("%j is said by %j: %s", (value, header, good) => {
    const check = () => checkParamHeaders([{ path: ["a"], header: "h" }], { a: value }, { h: header });
    if (good) expect(check()).toBeUndefined();
    else expect(check).toThrow("Header mismatch: h does not say what the argument a says");
  });

  test("a header without its argument is refused", () => {
    expect(() => checkParamHeaders([{ path: ["a"], header: "h" }], {}, { h: "x" })).toThrow("the argument a is absent");
  });
});

test("the empty prefix leaves names, URIs and results alone, and still withholds what MCP does not allow", () => {
  expect(prefixName("", "a.b")).toEqual({ name: "a.b" });
  expect(prefixName("", "a b")).toEqual({ withheld: expect.stringContaining("characters other than") });
  expect(prefixUri("", "x://y")).toEqual({ name: "x://y" });
  const result = { content: [{ type: "resource_link", uri: "x://y" }] };
  expect(prefixResult("", result)).toBe(result);
});
