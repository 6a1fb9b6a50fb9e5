import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connect, makeSandbox, type Sandbox } from "./sandbox.ts";

const nodes = { "acme/edge": "ada@acme", "acme/data": "ada@acme", "globex/compute": "grace@globex" };
const secretOf = (id: string) => `token-of-${id.replace("/", "-")}`;

let sandbox: Sandbox;
let server: Server;
/** `Authorization` headers that the third-party server got. */
const seen = new Set<string | undefined>();

beforeAll(async () => {
  sandbox = await makeSandbox();
  server = createServer((incoming, outgoing) => {
    let text = "";
    incoming.on("data", (chunk: Buffer) => (text += chunk.toString()));
    incoming.on("end", () => {
      seen.add(incoming.headers.authorization);
      const { id, method } = JSON.parse(text) as { id: string; method: string };
      const results: Record<string, object> = {
        "server/discover": { supportedVersions: ["2026-07-28"], capabilities: {}, ttlMs: 0, cacheScope: "public" },
        "tools/list": {
          tools: [{ name: "search", description: "Searches.", inputSchema: { type: "object" } }],
          ttlMs: 0,
          cacheScope: "public",
        },
        "tools/call": { content: [{ type: "text", text: "found" }] },
      };
      const answer = { jsonrpc: "2.0", id, result: { resultType: "complete", ...results[method] } };
      outgoing.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterAll(async () => {
  await sandbox?.remove();
  server?.close();
});

it("imports a third-party server on every provider, its secret only in secret stores", async () => {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  expect((await sandbox.federation("up")).code).toBe(0);
  sandbox.edit((topology) => {
    for (const id of Object.keys(nodes)) {
      const [organization, name] = id.split("/") as [string, string];
      topology.organizations[organization].nodes[name].upstreams = { docs: { url, auth: "bearer" } };
    }
  });
  const without = await sandbox.federation("up");
  expect(without.code).not.toBe(0);
  for (const id of Object.keys(nodes))
    expect(without.stdout + without.stderr).toContain(`upstreamSecrets.${id}.docs: is missing`);

  for (const id of Object.keys(nodes)) {
    const path = `ai-federation:upstreamSecrets["${id}"].docs`;
    const set = await sandbox.pulumi("config", "set", "-s", "local", "--secret", "--path", path, secretOf(id));
    expect(set).toMatchObject({ code: 0 });
  }
  const up = await sandbox.federation("up");
  expect(up.stdout + up.stderr).not.toContain("token-of-");
  expect(up.code).toBe(0);

  const { stdout } = await sandbox.pulumi("stack", "output", "--json", "--show-secrets", "-s", "local");
  const outputs = JSON.parse(stdout) as { nodes: Record<string, { url: string }> };
  for (const [id, user] of Object.entries(nodes)) {
    const token = (await sandbox.federation("token", "--user", user, "--node", id)).stdout.trim();
    const client = await connect(outputs.nodes[id]!.url, token, "modern");
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain("docs.search");
    expect((await client.callTool({ name: "docs.search", arguments: {} })).content).toEqual([
      { type: "text", text: "found" },
    ]);
    await client.close();
  }
  expect(seen).toEqual(new Set(Object.keys(nodes).map((id) => `Bearer ${secretOf(id)}`)));
  const state = await sandbox.pulumi("stack", "export", "-s", "local");
  expect(state.stdout).not.toContain("token-of-");
  expect(state.stdout).toContain("upstreams");
}, 300_000);
