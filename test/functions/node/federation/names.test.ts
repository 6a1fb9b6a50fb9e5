import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  prefixName,
  prefixResult,
  prefixUri,
  splitName,
  splitUri,
} from "../../../../functions/node/federation/names.ts";

const prefix = fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/);

describe("names of peers", () => {
  test("are legal, and lead back to the peer and its own name", () => {
    fc.assert(
      fc.property(prefix, fc.stringMatching(/^[A-Za-z0-9_.-]{1,64}$/), (peer, name) => {
        const prefixed = prefixName(peer, name);
        if (!("name" in prefixed)) throw new Error(prefixed.withheld);
        expect(prefixed.name).toMatch(/^[A-Za-z0-9_.-]{1,128}$/);
        expect(splitName(prefixed.name)).toEqual({ prefix: peer, name });
      }),
    );
  });

  test("that do not fit are withheld with a reason, never cut", () => {
    fc.assert(
      fc.property(prefix, fc.string({ maxLength: 200 }), (peer, name) => {
        const prefixed = prefixName(peer, name);
        if ("name" in prefixed) expect(prefixed.name).toBe(`${peer}.${name}`);
        else expect(`${peer}.${name}`).not.toMatch(/^[A-Za-z0-9_.-]{1,128}$/);
      }),
    );
    expect(prefixName("globex-compute", "x".repeat(120))).toEqual({
      withheld: "135 characters with the prefix; the limit is 128",
    });
    expect(prefixName("globex-compute", "a b")).toEqual({ withheld: "holds characters other than A-Z a-z 0-9 _ . -" });
  });

  test("cannot be names of our own: those hold no dot", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/), (own) => void expect(splitName(own)).toBeUndefined()),
    );
  });
});

describe("URIs of peers", () => {
  test("have a legal scheme, and lead back to the peer and its own URI", () => {
    fc.assert(
      fc.property(prefix, fc.webUrl(), (peer, uri) => {
        const prefixed = prefixUri(peer, uri);
        if (!("name" in prefixed)) throw new Error(prefixed.withheld);
        expect(new URL(prefixed.name).protocol).toBe(`${peer}+${new URL(uri).protocol}`);
        expect(splitUri(prefixed.name)).toEqual({ prefix: peer, name: uri });
      }),
    );
    expect(prefixUri("globex-compute", "meeting://{id}")).toEqual({ name: "globex-compute+meeting://{id}" });
    expect(prefixUri("globex-compute", "git+ssh://x")).toEqual({ name: "globex-compute+git+ssh://x" });
    expect(splitUri("globex-compute+git+ssh://x")).toEqual({ prefix: "globex-compute", name: "git+ssh://x" });
    expect(prefixUri("7up", "meeting://1")).toEqual({ withheld: "has no legal URI scheme with the prefix" });
  });

  test("are rewritten in results wherever they can be read from, and nowhere else", () => {
    const text = { type: "text", text: "see meeting://1" };
    const link = { type: "resource_link", uri: "meeting://1", name: "m", extra: 1 };
    const embedded = { type: "resource", resource: { uri: "meeting://1", text: "{}" } };
    const rewritten = [
      text,
      { ...link, uri: "p+meeting://1" },
      { type: "resource", resource: { uri: "p+meeting://1", text: "{}" } },
    ];
    expect(
      prefixResult("p", { content: [text, link, embedded], structuredContent: { uri: "meeting://1" }, novel: 1 }),
    ).toEqual({
      content: rewritten,
      structuredContent: { uri: "meeting://1" },
      novel: 1,
    });
    expect(
      prefixResult("p", {
        messages: [
          { role: "user", content: link },
          { role: "user", content: [embedded] },
        ],
      }),
    ).toEqual({
      messages: [
        { role: "user", content: rewritten[1] },
        { role: "user", content: [rewritten[2]] },
      ],
    });
    expect(prefixResult("p", { contents: [{ uri: "meeting://1", text: "" }] })).toEqual({
      contents: [{ uri: "p+meeting://1", text: "" }],
    });
  });
});
