import { describe, expect, test } from "vitest";
import { aiCatalog, serverCard } from "../../../../functions/node/protocol/discovery/server-card.ts";
import { TestNetwork } from "../network.ts";

const documents = [
  ["/.well-known/oauth-protected-resource", "application/json"],
  ["/.well-known/oauth-protected-resource/mcp", "application/json"],
  ["/.well-known/oauth-protected-resource/nodes/edge/mcp", "application/json"],
  ["/mcp/server-card", "application/mcp-server-card+json"],
  ["/.well-known/ai-catalog.json", "application/ai-catalog+json"],
] as const;

describe.each(documents)("%s", (path, type) => {
  test("is for everybody, from pages of every origin, and says when it is another one", async () => {
    const network = await TestNetwork.start();
    const origin = "https://elsewhere.example";
    const response = await network.request("acme/edge", path, { headers: { origin } });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(type);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("cache-control")).toBe("public, max-age=300");
    const etag = response.headers.get("etag")!;
    const known = await network.request("acme/edge", path, { headers: { "if-none-match": `"x", ${etag}` } });
    expect([known.status, await known.text(), known.headers.get("etag")]).toEqual([304, "", etag]);
    const head = await network.request("acme/edge", path, { method: "HEAD" });
    expect([head.status, await head.text(), head.headers.get("etag")]).toEqual([200, "", etag]);
    const preflight = await network.request("acme/edge", path, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "GET" },
    });
    expect([preflight.status, preflight.headers.get("access-control-allow-methods")]).toEqual([204, "GET"]);
    expect((await network.request("acme/edge", path, { method: "POST" })).status).toBe(404);
  });

  test("tells nothing of peers, users, tools or grants", async () => {
    const network = await TestNetwork.start();
    const text = await (await network.request("acme/edge", path)).text();
    for (const secret of [
      "globex/compute",
      "acme/data",
      "ada",
      "grace",
      "echo",
      "whoami",
      network.node("acme/edge").key.d,
    ])
      expect(text).not.toContain(secret);
  });
});

test("the resource's metadata is the same wherever RFC 9728 lets a client look", async () => {
  const network = await TestNetwork.start();
  const bodies = await Promise.all(
    documents.slice(0, 3).map(async ([path]) => await (await network.request("acme/edge", path)).json()),
  );
  expect(bodies[0]).toMatchObject({ resource: "http://acme.test/nodes/edge/mcp" });
  expect(bodies[1]).toEqual(bodies[0]);
  expect(bodies[2]).toEqual(bodies[0]);
});

test("no other answer is for pages of other origins", async () => {
  const network = await TestNetwork.start();
  const headers = { origin: "https://elsewhere.example" };
  for (const path of ["/mcp", "/health", "/api/tools", "/openapi.json", "/audit", "/.well-known/federation", "/x"]) {
    for (const method of ["GET", "OPTIONS"]) {
      const response = await network.request("acme/edge", path, { method, headers });
      expect(response.status, path).toBe(403);
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
    }
  }
});

describe("a node's card", () => {
  const root = { kty: "OKP", crv: "Ed25519", x: "x", kid: "k" } as const;
  const config = { network: "prod", node: "acme/edge", url: "https://prod-acme-edge.acme.workers.dev", root };

  test("has the members that SEP-2127 wants, within their bounds", () => {
    const card = serverCard(config);
    expect(card).toMatchObject({
      $schema: "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
      name: "dev.workers.acme.prod-acme-edge/acme-edge",
      title: "acme/edge",
      remotes: [{ type: "streamable-http", url: `${config.url}/mcp` }],
    });
    expect(card["name"]).toMatch(/^[a-zA-Z0-9.-]+\/[a-zA-Z0-9._-]+$/);
    expect((card["remotes"] as any)[0].supportedProtocolVersions).toContain("2026-07-28");
    const long = { ...config, node: `acme/${"e".repeat(200)}` };
    expect(String(serverCard(long)["description"]).length).toBeLessThanOrEqual(100);
  });

  test("is where the catalog says", async () => {
    expect(aiCatalog(config)).toEqual({
      specVersion: "1.0",
      entries: [
        {
          identifier: "urn:air:prod-acme-edge.acme.workers.dev:mcp:acme-edge",
          displayName: "acme/edge",
          type: "application/mcp-server-card+json",
          url: `${config.url}/mcp/server-card`,
        },
      ],
    });
  });

  test("names the versions that the node answers with", async () => {
    const network = await TestNetwork.start();
    const client = await network.connect("acme/edge", "ada@acme");
    const card = (await (await network.request("acme/edge", "/mcp/server-card")).json()) as any;
    expect(card.version).toBe(client.getServerVersion()?.version);
    const token = await network.userToken("ada@acme", "acme/edge");
    const _meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const discover = await network.request("acme/edge", "/mcp", {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "server/discover",
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "server/discover", params: { _meta } }),
    });
    const { result } = (await discover.json()) as any;
    expect(card.remotes[0].supportedProtocolVersions).toEqual(expect.arrayContaining(result.supportedVersions));
  });
});
