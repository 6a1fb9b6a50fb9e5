import fc from "fast-check";
import { expect, test } from "vitest";
import { text, workerdConfig } from "../../../providers/cloudflare/emulator/capnp.ts";
import type { Version } from "../../../providers/cloudflare/emulator/store.ts";

const version: Version = {
  id: "v",
  number: 1,
  created: "",
  source: "api",
  etag: "",
  startupMs: 0,
  annotations: {},
  main: "index.js",
  syntax: "modules",
  modules: [
    { name: "extra.wasm", contentType: "application/wasm", file: "0" },
    { name: "index.js", contentType: "application/javascript+module", file: "1" },
  ],
  bindings: [
    { type: "json", name: "J", json: { a: '"' } },
    { type: "plain_text", name: "P", text: "line\nüber" },
    { type: "secret_text", name: "S" },
    { type: "durable_object_namespace", name: "STATE", class_name: "NodeState" },
  ],
  compatibilityDate: "2026-11-01",
  compatibilityFlags: ["nodejs_compat"],
};

test("a configuration names modules, bindings and classes; the main module is first and no secret is in it", () => {
  const config = workerdConfig(version, [{ id: "abc", className: "NodeState", storage: "sqlite" }]);
  expect(config.indexOf('(name = "index.js", esModule = embed "1")')).toBeLessThan(
    config.indexOf('(name = "extra.wasm", wasm = embed "0")'),
  );
  for (const part of [
    String.raw`(name = "J", json = "{\"a\":\"\\\"\"}")`,
    String.raw`(name = "P", text = "line\x0a\xc3\xbcber")`,
    '(name = "S", fromEnvironment = "SECRET_S")',
    '(name = "STATE", durableObjectNamespace = "NodeState")',
    '(className = "NodeState", uniqueKey = "abc", enableSql = true)',
    'compatibilityFlags = [\n    "nodejs_compat",\n  ]',
  ]) {
    expect(config).toContain(part);
  }
});

test("a binding without a configuration is a bug of ours, not a silent omission", () => {
  expect(() => workerdConfig({ ...version, bindings: [{ type: "d1", name: "DB" }] }, [])).toThrow("type d1");
});

test("a string literal is printable ASCII and says the same bytes", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (value) => {
      const literal = text(value);
      expect(literal).toMatch(/^"[\x20-\x7e]*"$/);
      const bytes: number[] = [];
      for (const [, hex, escaped, plain] of literal.slice(1, -1).matchAll(/\\x([0-9a-f]{2})|\\(.)|(.)/g)) {
        bytes.push(hex ? parseInt(hex, 16) : (escaped ?? plain)!.charCodeAt(0));
      }
      expect(new Uint8Array(bytes)).toEqual(new TextEncoder().encode(value));
    }),
  );
});
