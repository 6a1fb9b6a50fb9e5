import { describe, expect, test } from "vitest";
import { types } from "../../../providers/plugin/registry.ts";
import { packageSchema } from "../../../providers/plugin/schema.ts";
import { thing } from "./sample/thing.ts";

const any = { $ref: "pulumi.json#/Any" };

describe("packageSchema", () => {
  test("describes inputs, defaults, secrets and what replaces", () => {
    expect(packageSchema({ name: "sample", version: "1.2.3", types: [thing] })).toEqual({
      name: "sample",
      version: "1.2.3",
      config: {},
      provider: {},
      types: {},
      resources: {
        "sample:index/thing:Thing": {
          description: "A file that stands for something in a cloud.",
          inputProperties: {
            name: { type: "string", willReplaceOnChanges: true },
            size: { type: "integer", default: 1 },
            mode: { type: "string", default: "good" },
            token: { type: "string", secret: true },
            variables: { type: "object", additionalProperties: { type: "string" } },
          },
          requiredInputs: ["name"],
          properties: {
            name: { type: "string", willReplaceOnChanges: true },
            size: { type: "integer", default: 1 },
            mode: { type: "string", default: "good" },
            token: { type: "string", secret: true },
            variables: { type: "object", additionalProperties: { type: "string" } },
            checksum: { ...any, secret: true },
          },
          required: ["name"],
        },
      },
    });
  });

  test("every reference of our own package leads to a type, and tokens are in the package", () => {
    const schema = packageSchema({ name: "federation", version: "0.1.0", types }) as {
      types: object;
      resources: object;
    };
    const references = [...JSON.stringify(schema).matchAll(/"\$ref":"#\/types\/([^"]+)"/g)].map(([, token]) => token!);
    expect(references).toContain("federation:index:WiringNodes");
    expect(references.filter((token) => !(token in schema.types))).toEqual([]);
    expect(
      Object.keys({ ...schema.types, ...schema.resources }).filter(
        (token) => !/^federation:index:[A-Z]\w*$/.test(token),
      ),
    ).toEqual([]);
  });
});
