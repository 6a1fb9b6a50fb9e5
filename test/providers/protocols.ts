import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { importJWK, SignJWT } from "jose";
import { expect } from "vitest";
import WebSocket from "ws";
import * as z from "zod";
import echo from "../../functions/echo/index.ts";
import { defineFunction, tool } from "../../functions/node/define.ts";
import { type Manifest, userTokenType } from "../../functions/node/federation/manifest.ts";
import { createNode } from "../../functions/node/node.ts";
import type { NodeConfig, PrivateJwk } from "../../functions/node/platform.ts";
import { memoryState } from "../../functions/node/state/memory.ts";
import type { ProviderName } from "../../providers/adapter.ts";
import { serve } from "../../providers/fly/http.ts";
import { adapters, bundle } from "../../providers/index.ts";
import { grant, makeKey, publicOf, signManifest } from "../functions/node/network.ts";

const issuer = "https://login.acme.test";
const meta = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientCapabilities": {},
};

/** A node to deploy on a runtime, and a peer of it in this process. */
export interface TwoNodes {
  /** Of the node to deploy. */
  readonly config: NodeConfig;
  readonly key: PrivateJwk;
  /** What the peer's tool `wait` saw: `started`, `aborted`. */
  readonly seen: readonly string[];
  /** Gives both nodes their manifest. */
  wire(): Promise<void>;
  token(claims?: Record<string, unknown>): Promise<string>;
  close(): Promise<void>;
}

/** The node's bundle as `federation up` deploys it. */
export async function echoBundle(provider: ProviderName): Promise<string> {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  return (await bundle({ provider, target: adapters[provider].target, functions: ["echo"] }, root)).code;
}

/** `url` is the base URL that the node will have. */
export async function twoNodes(url: string): Promise<TwoNodes> {
  const [root, key, peerKey, issuerKey] = await Promise.all([makeKey(), makeKey(), makeKey(), makeKey()]);
  const seen: string[] = [];
  const slow = defineFunction({
    name: "slow",
    tools: {
      wait: tool({
        description: "Waits until it is cancelled.",
        input: z.object({}),
        async run(_, { signal }) {
          seen.push("started");
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          seen.push("aborted");
          return "";
        },
      }),
      steps: tool({
        description: "Reports a step.",
        input: z.object({}),
        async run(_, { progress }) {
          await progress(1, 1, "one");
          return "done";
        },
      }),
    },
  });
  const config = { network: "sockets", node: "acme/hub", url, root: publicOf(root) };
  let handler: ((request: Request) => Promise<Response>) | undefined;
  const server = await serve(async (request) => (await handler?.(request)) ?? new Response(null, { status: 503 }), {
    hostname: "127.0.0.1",
    port: 0,
    origin: "http://peer",
    onError: (error) => console.error(error),
  });
  const peerUrl = `http://127.0.0.1:${server.port}`;
  const peer = createNode([echo, slow])({
    config: { ...config, node: "globex/peer", url: peerUrl },
    key: peerKey,
    state: memoryState(),
    fetch: (request) => fetch(request),
    waitUntil: (work) => void work.catch((error: unknown) => console.error(error)),
  });
  handler = async (request) => await peer.fetch(request);
  const node = (id: string, at: string) => ({
    organization: id.split("/")[0]!,
    provider: "test",
    url: at,
    prefix: id.replace("/", "-"),
    functions: ["echo"],
  });
  const manifest: Manifest = {
    network: config.network,
    serial: 1,
    nodes: { "acme/hub": node("acme/hub", url), "globex/peer": node("globex/peer", peerUrl) },
    keys: { "acme/hub": [publicOf(key)], "globex/peer": [publicOf(peerKey)] },
    organizations: {
      acme: { users: ["ada"], issuers: [{ issuer, keys: [publicOf(issuerKey)] }] },
      globex: { users: [], issuers: [] },
    },
    grants: [grant("globex", "acme")],
  };
  return {
    config,
    key,
    seen,
    async wire() {
      const body = await signManifest(manifest, root);
      for (const base of [url, peerUrl]) {
        const response = await fetch(`${base}/.well-known/federation`, { method: "PUT", body });
        if (!response.ok) throw new Error(`${base} refused the manifest: ${response.status} ${await response.text()}`);
      }
    },
    async token(claims = {}) {
      const now = Math.floor(Date.now() / 1000);
      const good = { iss: issuer, sub: "ada@acme", aud: `${url}/mcp`, iat: now, exp: now + 300 };
      return await new SignJWT({ ...good, ...claims })
        .setProtectedHeader({ alg: "EdDSA", typ: userTokenType, kid: issuerKey.kid })
        .sign(await importJWK({ ...issuerKey }, "EdDSA"));
    },
    async close() {
      await server.close(0);
    },
  };
}

/** A client's socket that keeps what came. */
class Client {
  readonly socket: WebSocket;
  readonly messages: any[] = [];

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data) => this.messages.push(JSON.parse(String(data))));
    socket.on("error", () => undefined);
  }

  call(id: unknown, name: string, args: object = {}, more: object = {}): void {
    const params = { name, arguments: args, _meta: { ...meta, ...more } };
    this.socket.send(JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params }));
  }

  async answer(id: unknown): Promise<any> {
    await expect.poll(() => this.messages.some((message) => message.id === id), { timeout: 10_000 }).toBe(true);
    return this.messages.find((message) => message.id === id);
  }

  async closed(): Promise<[code: number, reason: string]> {
    const [code, reason] = await once(this.socket, "close", { signal: AbortSignal.timeout(10_000) });
    return [code, String(reason)];
  }
}

/** The socket of a good handshake, or the status of a refused one. */
async function connect(
  url: string,
  protocols: string[],
  headers: Record<string, string> = {},
): Promise<Client | number> {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/mcp`, protocols, { headers });
  const client = new Client(socket);
  return await new Promise((resolve, reject) => {
    socket.once("open", () => resolve(client));
    socket.once("unexpected-response", (_, response) => {
      resolve(response.statusCode!);
      response.destroy();
    });
    setTimeout(() => reject(new Error("no answer to the handshake")), 10_000).unref();
  });
}

async function open(url: string, token: string): Promise<Client> {
  const client = await connect(url, ["mcp"], { authorization: `Bearer ${token}` });
  if (typeof client === "number") throw new Error(`the handshake was answered with ${client}`);
  return client;
}

/** What the protocols of a node must do, whatever runs the node. */
export const expectations: Record<string, (nodes: TwoNodes) => Promise<void>> = {
  "REST calls, streams and describes tools, own and relayed": async ({ config: { url }, token }) => {
    const authorization = `Bearer ${await token()}`;
    const ask = async (path: string, headers: object = {}) =>
      await fetch(`${url}/api/tools/${path}`, { method: "POST", headers: { authorization, ...headers } });
    const who = (await (await ask("globex-peer.whoami")).json()) as any;
    expect(who.structuredContent).toMatchObject({ node: "globex/peer", via: ["acme/hub"] });
    const problem = await ask("echo");
    expect([problem.status, problem.headers.get("content-type")]).toEqual([422, "application/problem+json"]);
    const events = await (await ask("globex-peer.steps", { accept: "text/event-stream" })).text();
    expect([...events.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!))).toMatchObject([
      { progress: { progress: 1, message: "one" } },
      { result: { content: [{ text: "done" }] } },
    ]);
    const document = (await (await fetch(`${url}/openapi.json`, { headers: { authorization } })).json()) as any;
    expect(Object.keys(document.paths)).toContain("/api/tools/globex-peer.echo");
  },

  "discovery leads from the catalog to the card to the endpoint": async ({ config: { url } }) => {
    const headers = { origin: "https://elsewhere.example" };
    const catalog = (await (await fetch(`${url}/.well-known/ai-catalog.json`, { headers })).json()) as any;
    const response = await fetch(catalog.entries[0].url, { headers });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("content-type")).toBe("application/mcp-server-card+json");
    const { remotes } = (await response.json()) as any;
    expect(remotes).toMatchObject([{ type: "streamable-http", url: `${url}/mcp` }]);
    const known = await fetch(catalog.entries[0].url, {
      headers: { "if-none-match": response.headers.get("etag")! },
    });
    expect(known.status).toBe(304);
    const refused = await fetch(remotes[0].url, { method: "POST" });
    const [, metadata] = /resource_metadata="([^"]+)"/.exec(refused.headers.get("www-authenticate")!)!;
    expect(((await (await fetch(`${metadata}/mcp`)).json()) as any).resource).toBe(`${url}/mcp`);
  },

  "a socket carries own and relayed calls, progress ahead of its answer, and errors": async ({
    config: { url },
    token,
  }) => {
    const client = await open(url, await token());
    expect(client.socket.protocol).toBe("mcp");
    client.call(1, "echo", { text: "grüße" });
    client.call(2, "globex-peer.whoami");
    client.call(3, "globex-peer.steps", {}, { progressToken: "p" });
    client.call(4, "nothing");
    expect((await client.answer(1)).result.content[0].text).toBe("grüße");
    expect((await client.answer(2)).result.structuredContent).toMatchObject({ node: "globex/peer", via: ["acme/hub"] });
    expect((await client.answer(3)).result.content[0].text).toBe("done");
    expect((await client.answer(4)).error.message).toBe("Unknown tool: nothing");
    const notes = client.messages.filter(({ method }) => method === "notifications/progress");
    expect(notes).toMatchObject([{ params: { progressToken: "p", progress: 1, message: "one" } }]);
    expect(client.messages.indexOf(notes[0])).toBeLessThan(client.messages.findIndex(({ id }) => id === 3));
    client.socket.close(1000, "done");
    expect(await client.closed()).toEqual([1000, expect.any(String)]);
  },

  "a socket carries large answers whole, to a client that pauses too": async ({ config: { url }, token }) => {
    const client = await open(url, await token());
    const text = "é".repeat(90_000);
    client.socket.pause();
    for (let id = 0; id < 20; id += 1) client.call(id, "echo", { text });
    await new Promise((resolve) => setTimeout(resolve, 300));
    client.socket.resume();
    for (let id = 0; id < 20; id += 1) expect((await client.answer(id)).result.content[0].text === text).toBe(true);
    client.socket.terminate();
  },

  "a socket cancels a call up to the peer that runs it": async ({ config: { url }, token, seen }) => {
    const client = await open(url, await token());
    const before = seen.length;
    client.call("w", "globex-peer.wait");
    await expect.poll(() => seen.slice(before), { timeout: 10_000 }).toEqual(["started"]);
    const cancelled = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "w" } };
    client.socket.send(JSON.stringify(cancelled));
    await expect.poll(() => seen.slice(before), { timeout: 10_000 }).toEqual(["started", "aborted"]);
    client.call("after", "echo", { text: "x" });
    await client.answer("after");
    expect(client.messages).toHaveLength(1);
    client.socket.terminate();
  },

  "a socket ends the calls of a client that vanishes": async ({ config: { url }, token, seen }) => {
    const client = await open(url, await token());
    const before = seen.length;
    client.call("w", "globex-peer.wait");
    await expect.poll(() => seen.slice(before), { timeout: 10_000 }).toEqual(["started"]);
    client.socket.terminate();
    await expect.poll(() => seen.slice(before), { timeout: 10_000 }).toEqual(["started", "aborted"]);
  },

  "a socket refuses handshakes without a good token": async ({ config: { url }, token }) => {
    expect(await connect(url, ["mcp"])).toBe(401);
    expect(await connect(url, ["mcp"], { authorization: "Bearer nonsense" })).toBe(401);
    const expired = await token({ exp: Math.floor(Date.now() / 1000) - 60 });
    expect(await connect(url, ["mcp"], { authorization: `Bearer ${expired}` })).toBe(401);
    expect(await connect(url, [], { authorization: `Bearer ${await token()}` })).toBe(400);
    const headers = { authorization: `Bearer ${await token()}`, origin: "https://evil.example" };
    expect(await connect(url, ["mcp"], headers)).toBe(403);
  },

  "a socket takes a browser's token as a subprotocol, and does not echo it": async ({ config: { url }, token }) => {
    const socket = new globalThis.WebSocket(`${url.replace(/^http/, "ws")}/mcp`, ["mcp", `bearer.${await token()}`]);
    await once(socket, "open", { signal: AbortSignal.timeout(10_000) });
    expect(socket.protocol).toBe("mcp");
    const answer = once(socket, "message", { signal: AbortSignal.timeout(10_000) });
    socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: { _meta: meta } }));
    const [{ data }] = (await answer) as [MessageEvent];
    expect(JSON.parse(String(data)).result.tools.map(({ name }: any) => name)).toContain("globex-peer.echo");
    socket.close();
    await once(socket, "close", { signal: AbortSignal.timeout(10_000) });
  },

  "a socket closes with 1009 for a message that is too large, 1003 for a binary one": async ({
    config: { url },
    token,
  }) => {
    const large = await open(url, await token());
    large.socket.send("x".repeat(4 * 1024 * 1024 + 1));
    expect(await large.closed()).toEqual([1009, expect.any(String)]);
    const binary = await open(url, await token());
    binary.socket.send(Buffer.from("{}"));
    expect((await binary.closed())[0]).toBe(1003);
  },

  "a socket closes with 4401 when the token ends": async ({ config: { url }, token }) => {
    // The node allows for clocks that are 5 s apart.
    const client = await open(url, await token({ exp: Math.floor(Date.now() / 1000) - 3 }));
    expect(await client.closed()).toEqual([4401, "the token has expired"]);
  },
};

/** Where the runtime tells that a client of HTTP has left, which workerd does not. */
export async function leavingCancels({ config: { url }, token, seen }: TwoNodes): Promise<void> {
  const authorization = `Bearer ${await token()}`;
  for (const accept of ["application/json", "text/event-stream"]) {
    const before = seen.length;
    const leave = new AbortController();
    const headers = { authorization, accept };
    const left = fetch(`${url}/api/tools/globex-peer.wait`, { method: "POST", headers, signal: leave.signal });
    await expect.poll(() => seen.slice(before), { timeout: 10_000 }).toEqual(["started"]);
    leave.abort();
    await left.catch(() => undefined);
    await expect.poll(() => seen.slice(before), { timeout: 10_000 }).toEqual(["started", "aborted"]);
  }
}
