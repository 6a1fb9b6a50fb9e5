import { createHmac } from "node:crypto";
import { importJWK, SignJWT } from "jose";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { hopTokenType } from "../../../../functions/node/federation/manifest.ts";
import type { PrivateJwk } from "../../../../functions/node/platform.ts";
import { issuerOf, makeKey, TestNetwork, urlOf } from "../network.ts";

vi.spyOn(console, "log").mockImplementation(() => undefined);

/** The node under attack and a peer whose key signs hop tokens. */
const callee = "acme/edge";
const caller = "globex/compute";
const now = () => Math.floor(Date.now() / 1000);
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

let network: TestNetwork;
beforeAll(async () => {
  network = await TestNetwork.start();
});

describe("a user token is refused:", () => {
  const user = async (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
    await network.userToken("ada@acme", callee, claims, header);
  const cases: [string, () => Promise<string>][] = [
    ["alg none", async () => `${encode({ alg: "none", typ: "at+jwt" })}.${(await user()).split(".")[1]}.`],
    ["HS256 with the public key as secret", async () => await hs256(await user())],
    [
      "another key, same kid",
      async () =>
        await signed(
          await makeKey(),
          { iss: issuerOf("acme"), sub: "ada@acme" },
          { typ: "at+jwt", kid: network.issuers["acme"]?.kid },
        ),
    ],
    ["a kid that nobody has", async () => await user({}, { kid: "nope" })],
    ["a changed payload", async () => await tampered(await user())],
    ["an issuer that is not in the network", async () => await user({ iss: "https://evil.test" })],
    ["the issuer of another organization", async () => await user({ iss: issuerOf("globex") })],
    ["a subject of another organization than its issuer's", async () => await user({ sub: "grace@globex" })],
    ["a subject that is no user", async () => await user({ sub: "mallory@acme" })],
    ["a subject without organization", async () => await user({ sub: "ada" })],
    ["another node's audience", async () => await user({ aud: `${urlOf("acme/data")}/mcp` })],
    ["no audience", async () => await user({ aud: undefined })],
    ["expired", async () => await user({ iat: now() - 600, exp: now() - 60 })],
    ["no exp", async () => await user({ exp: undefined })],
    ["no iat", async () => await user({ iat: undefined })],
    ["not valid yet", async () => await user({ nbf: now() + 60 })],
    ["no typ", async () => await user({}, { typ: undefined })],
    ["typ JWT", async () => await user({}, { typ: "JWT" })],
    ["typ of a hop token", async () => await user({}, { typ: hopTokenType })],
    ["not a JWT", async () => "abc.def"],
  ];
  test.each(cases)("%s", async (_, token) => {
    await expectRefused(await list(await token()));
  });

  test("no token at all, with the challenge that leads to the metadata", async () => {
    const response = await network.request(callee, "/mcp", { method: "POST", body: "{}" });
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe(
      `Bearer resource_metadata="${urlOf(callee)}/.well-known/oauth-protected-resource"`,
    );
    expect(await (await network.request(callee, "/.well-known/oauth-protected-resource")).json()).toEqual({
      resource: `${urlOf(callee)}/mcp`,
      authorization_servers: [issuerOf("acme"), issuerOf("globex")],
      bearer_methods_supported: ["header"],
      resource_name: callee,
    });
  });

  test("while the good one is let in", async () => {
    expect((await list(await user())).status).toBe(200);
    expect((await list(await user({}, { typ: "application/at+jwt" }))).status).toBe(200);
  });
});

describe("a hop token is refused:", () => {
  const cases: [string, Record<string, unknown>, Record<string, unknown>?][] = [
    ["a life of more than a minute", { exp: now() + 3_600 }],
    ["another node's audience", { aud: `${urlOf("acme/data")}/mcp` }],
    ["an issuer that is no node", { iss: "globex/ghost", via: ["globex/ghost"], act: { sub: "globex/ghost" } }],
    ["the key of another node", { iss: "acme/data", via: ["acme/data"], act: { sub: "acme/data" } }],
    ["expired", { iat: now() - 120, exp: now() - 60 }],
    ["issued in the future", { iat: now() + 120, exp: now() + 150 }],
    ["no exp", { exp: undefined }],
    ["no iat", { iat: undefined }],
    ["no jti", { jti: undefined }],
    ["no call id", { cid: undefined }],
    ["no serial", { serial: undefined }],
    ["this node in via", { via: [callee, caller], act: { sub: caller, act: { sub: callee } } }],
    ["act that names another node than via", { act: { sub: "acme/data" } }],
    ["via that hides a node of act", { act: { sub: caller, act: { sub: "acme/data" } } }],
    ["act that hides a node of via", { via: ["acme/data", caller] }],
    ["via that ends elsewhere", { via: ["acme/data"], act: { sub: "acme/data" } }],
    ["an empty via", { via: [], act: undefined }],
    ["a via of five", { via: ["a/1", "a/2", "a/3", "a/4", caller] }],
    ["a stranger in via", { via: ["evil/x", caller], act: { sub: caller, act: { sub: "evil/x" } } }],
    ["a user that is not in the manifest", { sub: "mallory@globex" }],
    ["the node itself as user", { sub: caller }],
    ["typ of a user token", {}, { typ: "at+jwt" }],
  ];
  test.each(cases)("%s", async (_, claims, header) => {
    await expectRefused(await list(await hop(claims, header)));
  });

  test("used twice", async () => {
    const token = await hop();
    expect((await list(token)).status).toBe(200);
    await expectRefused(await list(token));
  });

  test.each(["tools/call echo", "prompts/list", "manifest", ""])("the scope %j for tools/list", async (scope) => {
    const response = await list(await hop({ scope }));
    expect(response.status).toBe(403);
    expect(response.headers.get("www-authenticate")).toContain('error="insufficient_scope"');
  });

  test("for anything but its one question", async () => {
    const body = { jsonrpc: "2.0", id: 1, method: "tools/list", params: {} };
    for (const other of [
      [body, body],
      { ...body, method: "initialize" },
      { ...body, method: "tools/call", params: { name: "echo" } },
      {},
    ]) {
      expect((await post(await hop(), other)).status).toBe(403);
    }
    expect(
      (await network.request(callee, "/audit", { headers: { authorization: `Bearer ${await hop()}` } })).status,
    ).toBe(403);
    expect(
      (
        await network.request(callee, "/.well-known/federation/manifest", {
          headers: { authorization: `Bearer ${await hop()}` },
        })
      ).status,
    ).toBe(403);
  });

  test("while a good one gets the manifest", async () => {
    const headers = { authorization: `Bearer ${await hop({ sub: caller, scope: "manifest" })}` };
    const response = await network.request(callee, "/.well-known/federation/manifest", { headers });
    expect(response.status).toBe(200);
    expect((await response.text()).split(".").length).toBe(3);
    const user = { authorization: `Bearer ${await network.userToken("ada@acme", callee)}` };
    expect((await network.request(callee, "/.well-known/federation/manifest", { headers: user })).status).toBe(403);
  });
});

test.each([
  ["https://evil.test", 403],
  ["null", 403],
  ["http://acme.test", 200],
])("Origin %s is answered %i", async (origin, status) => {
  const response = await post(
    await network.userToken("ada@acme", callee),
    { jsonrpc: "2.0", id: 1, method: "tools/list" },
    { origin },
  );
  expect(response.status).toBe(status);
});

test("a body over 4 MiB is refused, bad JSON and other media types too; GET and DELETE are not methods of a stateless endpoint", async () => {
  const authorization = `Bearer ${await network.userToken("ada@acme", callee)}`;
  const send = async (init: RequestInit) =>
    (
      await network.request(callee, "/mcp", {
        ...init,
        headers: { authorization, "content-type": "application/json", ...init.headers },
      })
    ).status;
  expect(await send({ method: "POST", body: "x".repeat(4 * 1024 * 1024 + 1) })).toBe(413);
  expect(await send({ method: "POST", body: "{" })).toBe(400);
  expect(await send({ method: "POST", body: "{}", headers: { "content-type": "text/plain" } })).toBe(415);
  expect(await send({ method: "GET" })).toBe(405);
  expect(await send({ method: "DELETE" })).toBe(405);
});

test("a header that names another tool than the body is refused, base64 or not", async () => {
  const token = await network.userToken("ada@acme", callee);
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const body = {
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: { name: "echo", arguments: { text: "x" }, _meta: meta },
  };
  for (const [name, status] of [
    ["whoami", 400],
    ["=?base64?d2hvYW1p?=", 400],
    ["=?base64?ZWNobw==?=", 200],
    ["echo", 200],
  ] as const) {
    const response = await post(token, body, {
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": name,
    });
    expect(response.status, name).toBe(status);
    if (status === 400) expect(await response.json()).toMatchObject({ error: { code: -32020 } });
  }
});

async function expectRefused(response: Response): Promise<void> {
  expect(response.status).toBe(401);
  expect(response.headers.get("www-authenticate")).toContain('error="invalid_token"');
}

async function list(token: string): Promise<Response> {
  return await post(token, { jsonrpc: "2.0", id: 1, method: "tools/list", params: {} });
}

async function post(token: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return await network.request(callee, "/mcp", {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      ...headers,
    },
    body: JSON.stringify(body),
  });
}

async function hop(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> {
  const good = {
    iss: caller,
    sub: "grace@globex",
    aud: `${urlOf(callee)}/mcp`,
    jti: crypto.randomUUID(),
    cid: "call",
    via: [caller],
    act: { sub: caller },
    serial: 1,
    scope: "tools/list",
  };
  return await signed(network.node(caller).key, { ...good, ...claims }, { typ: hopTokenType, ...header });
}

async function signed(
  key: PrivateJwk,
  claims: Record<string, unknown>,
  header: Record<string, unknown>,
): Promise<string> {
  const payload = { iat: now(), exp: now() + 60, aud: `${urlOf(callee)}/mcp`, ...claims };
  return await new SignJWT(payload)
    .setProtectedHeader({ alg: "EdDSA", kid: key.kid, ...header })
    .sign(await importJWK({ ...key }, "EdDSA"));
}

async function hs256(token: string): Promise<string> {
  const input = `${encode({ alg: "HS256", typ: "at+jwt", kid: network.issuers["acme"]?.kid })}.${token.split(".")[1]}`;
  return `${input}.${createHmac("sha256", Buffer.from(network.issuers["acme"]?.x as string, "base64url"))
    .update(input)
    .digest("base64url")}`;
}

async function tampered(token: string): Promise<string> {
  const [header, payload = "", signature] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as object;
  return `${header}.${encode({ ...claims, exp: now() + 9_999 })}.${signature}`;
}
