import { calculateJwkThumbprint, createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from "jose";
import { beforeAll, expect, test } from "vitest";
import { mintToken, parseTtl } from "../../cli/access-token.ts";
import { UsageError } from "../../cli/errors.ts";
import type { Network } from "../../cli/network.ts";

let network: Network;
let keys: ReturnType<typeof createLocalJWKSet>;

beforeAll(async () => {
  const pair = await generateKeyPair("EdDSA", { extractable: true });
  const jwk = await exportJWK(pair.privateKey);
  const kid = await calculateJwkThumbprint(jwk);
  keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(pair.publicKey)), kid }] });
  const node = { organization: "acme", provider: "fly", runtime: "Node.js", functions: ["echo"] };
  network = {
    network: "n",
    nodes: { "acme/a": { ...node, url: "http://127.0.0.1:1/a" }, "acme/b": { ...node, url: "http://127.0.0.1:1/b" } },
    manifest: { serial: 1, digest: "sha256:0" },
    issuers: { acme: { issuer: "urn:acme", key: JSON.stringify({ ...jwk, kid }), users: ["ada"] } },
  };
});

test("a token has the header and claims that nodes check, and opens the named nodes only", async () => {
  const before = Math.floor(Date.now() / 1000);
  const token = await mintToken(network, { name: "ada", organization: "acme" }, [network.nodes["acme/b"]!], 90);
  const { payload, protectedHeader } = await jwtVerify(token, keys, {
    typ: "at+jwt",
    issuer: "urn:acme",
    audience: "http://127.0.0.1:1/b/mcp",
    algorithms: ["EdDSA"],
  });
  expect(protectedHeader).toEqual({ alg: "EdDSA", typ: "at+jwt", kid: (await keys.jwks()).keys[0]!.kid });
  expect(Object.keys(payload).sort()).toEqual(["aud", "exp", "iat", "iss", "jti", "sub"]);
  expect(payload.sub).toBe("ada@acme");
  expect(payload.aud).toEqual(["http://127.0.0.1:1/b/mcp"]);
  expect(payload.exp! - payload.iat!).toBe(90);
  expect(payload.iat! - before).toBeLessThanOrEqual(1);
});

test("two tokens never have the same id", async () => {
  const user = { name: "ada", organization: "acme" };
  const ids = await Promise.all(
    [0, 1].map(async () => (await jwtVerify(await mintToken(network, user, []), keys)).payload.jti),
  );
  expect(new Set(ids).size).toBe(2);
});

test("times to live are read up to a day", () => {
  expect(["90s", "15m", "1h", "24h"].map(parseTtl)).toEqual([90, 900, 3600, 86_400]);
  for (const text of ["", "0s", "25h", "1441m", "1d", "-1h", "1.5h", "h", "3600"])
    expect(() => parseTtl(text), text).toThrow(UsageError);
});
