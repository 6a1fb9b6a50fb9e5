import { compactVerify } from "jose";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { manifestType } from "../../../functions/node/federation/manifest.ts";
import type { PrivateJwk } from "../../../functions/node/platform.ts";
import { signingKey } from "../../../providers/plugin/key.ts";
import {
  canonicalJson,
  digestOf,
  nextManifest,
  parseManifest,
  signManifest,
  type Holding,
} from "../../../providers/plugin/manifest.ts";

const context = { log: () => undefined, signal: new AbortController().signal, config: {} };
const content = { network: "net", nodes: {}, keys: {}, organizations: {}, grants: [] };
const other = { ...content, organizations: { acme: { issuers: [], users: ["ann"] } } };

describe("manifest", () => {
  let root: PrivateJwk;
  beforeAll(async () => {
    const { outputs } = await signingKey.create({ owner: "net", epoch: 1 }, context);
    root = JSON.parse(outputs.privateKey);
  });

  test("is signed by the root and reads back", async () => {
    const signed = await signManifest({ ...other, serial: 7 }, root);
    const { d: _, ...publicKey } = root;
    const { payload, protectedHeader } = await compactVerify(signed.jws, publicKey);
    expect(protectedHeader).toEqual({ alg: "EdDSA", typ: manifestType, kid: root.kid });
    expect(JSON.parse(new TextDecoder().decode(payload))).toEqual({ ...other, serial: 7 });
    expect(parseManifest(signed.jws)).toEqual({ ...other, serial: 7 });
    expect(signed.digest).toBe(digestOf(signed.jws));
    expect(signed.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test("equal content gives equal bytes, in whatever order it was written", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).toReversed());
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test("the first has serial 1; new content gets a serial above all that was seen; the same content keeps its own", async () => {
    const first = await nextManifest(content, root, []);
    expect(first.serial).toBe(1);
    expect(await nextManifest(content, root, [first, { serial: 0 }])).toEqual(first);
    expect((await nextManifest(other, root, [first])).serial).toBe(2);
    expect((await nextManifest(other, root, [first, { serial: 41, digest: "sha256:x" }])).serial).toBe(42);
  });

  test("another root signs anew", async () => {
    const { outputs } = await signingKey.create({ owner: "net", epoch: 2 }, context);
    const first = await nextManifest(content, root, []);
    expect((await nextManifest(content, JSON.parse(outputs.privateKey), [first])).serial).toBe(2);
  });

  test("whatever was seen, every node takes the next one: it is new to all who do not hold exactly it", async () => {
    const known = await Promise.all([1, 2, 3].map((serial) => signManifest({ ...content, serial }, root)));
    const holding: fc.Arbitrary<Holding> = fc.oneof(
      fc.constant({ serial: 0 }),
      fc.constantFrom(...known),
      fc.record({ serial: fc.integer({ min: 1, max: 4 }), digest: fc.constant("sha256:other") }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(holding, { maxLength: 6 }), async (seen) => {
        const next = await nextManifest(content, root, seen);
        for (const held of seen) expect(held.serial < next.serial || held.digest === next.digest).toBe(true);
        // No serial is spent without need.
        expect(next.serial).toBeLessThanOrEqual(Math.max(0, ...seen.map(({ serial }) => serial)) + 1);
      }),
    );
  });
});

describe("SigningKey", () => {
  test("is an Ed25519 pair whose kid is the thumbprint, and a new one each time", async () => {
    const [one, two] = await Promise.all([1, 2].map((epoch) => signingKey.create({ owner: "acme/a", epoch }, context)));
    const whole = JSON.parse(one!.outputs.privateKey);
    expect(one!.outputs.publicKey).toEqual({ kty: "OKP", crv: "Ed25519", x: whole.x, kid: one!.id });
    expect(one!.outputs.kid).toBe(one!.id);
    expect(two!.id).not.toBe(one!.id);
    expect(signingKey.secrets).toEqual(["privateKey"]);
  });

  test("cannot be imported", async () => {
    await expect(signingKey.read("kid", undefined, context)).rejects.toThrow(/cannot be imported/);
  });
});
