import fc from "fast-check";
import { object } from "zod";
import { describe, expect, test } from "vitest";
import { defineFunction, tool } from "../../../../functions/node/define.ts";
import { eventData } from "../../../../functions/node/federation/event-stream.ts";
import { BodyTooLarge, readText } from "../../../../functions/node/federation/body.ts";
import { createNode } from "../../../../functions/node/node.ts";
import { catalogue } from "../../../../functions/node/protocol/catalogue.ts";
import { decodeHeaderValue, encodeHeaderValue } from "../../../../functions/node/protocol/header-value.ts";
import { uriTemplate } from "../../../../functions/node/protocol/uri-template.ts";

describe("header values", () => {
  test("carry any text there and back, in characters that a header allows", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary", maxLength: 40 }).map((text) => text.toWellFormed()),
        (text) => {
          const value = encodeHeaderValue(text);
          expect(new Headers({ "mcp-name": value }).get("mcp-name")).toBe(value);
          expect(decodeHeaderValue(value)).toBe(text);
        },
      ),
    );
    expect(encodeHeaderValue("echo")).toBe("echo");
    expect(encodeHeaderValue("größe")).toBe("=?base64?Z3LDtsOfZQ==?=");
    expect(decodeHeaderValue("=?base64?/w==?=")).toBeUndefined();
  });
});

describe("URI templates", () => {
  test.each<[string, string, Record<string, string> | undefined]>([
    ["meeting://{id}", "meeting://42", { id: "42" }],
    ["meeting://{id}", "meeting://a%20b", { id: "a b" }],
    ["meeting://{id}", "meeting://", undefined],
    ["meeting://{id}", "meeting://1/2", undefined],
    ["meeting://{id}", "meeting://%E0", undefined],
    ["a://{x}/b.c/{y}", "a://1/b.c/2", { x: "1", y: "2" }],
    ["a://{x}/b.c/{y}", "a://1/bxc/2", undefined],
  ])("%s against %s", (template, uri, variables) => {
    expect(uriTemplate(template).match(uri)).toEqual(variables);
  });

  test("of higher levels are refused", () => {
    expect(() => uriTemplate("a://{+path}")).toThrow("only level 1");
  });
});

describe("event streams", () => {
  test("give the same events however they are cut", async () => {
    const stream =
      "\uFEFF".slice(1) + ': ping\n\nevent: message\ndata: {"a":1}\r\n\r\nid: 1\rdata: b\rdata:c\r\rdata\n\ndata: lost';
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(stream.length)), async (cuts) => {
        const at = [0, ...cuts.toSorted((a, b) => a - b), stream.length];
        const parts = at.slice(1).map((end, n) => stream.slice(at[n], end));
        expect(await collect(parts)).toEqual(['{"a":1}', "b\nc", ""]);
      }),
    );
  });
});

test("a body over its limit is not read to its end", async () => {
  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 1;
      controller.enqueue(new Uint8Array(1024));
    },
  });
  await expect(readText(new Response(endless), 10_000)).rejects.toBeInstanceOf(BodyTooLarge);
  expect(sent).toBeLessThan(15);
});

describe("a function set is refused at start", () => {
  const run = () => "x";
  const one = defineFunction({ name: "one", tools: { same: tool({ description: "", input: object({}), run }) } });

  test("when two functions have a tool of one name", () => {
    expect(() => createNode([one, { ...one, name: "two" }])).toThrow("the functions one and two both have a tool same");
  });
  test("when a function is in it twice", () => {
    expect(() => createNode([one, one])).toThrow("the function one is in the function set twice");
  });
  test("when a name has a dot, which belongs to peers", () => {
    expect(() =>
      catalogue([{ name: "x", tools: { "a.b": tool({ description: "", input: object({}), run }) } }]),
    ).toThrow('"a.b" must be 1 to 64 characters');
  });
});

async function collect(parts: readonly string[]): Promise<string[]> {
  const events: string[] = [];
  for await (const data of eventData(from(parts))) events.push(data);
  return events;
}

async function* from(parts: readonly string[]): AsyncGenerator<string> {
  yield* parts;
}
