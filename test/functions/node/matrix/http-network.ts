import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { importJWK, SignJWT } from "jose";
import type { FunctionDefinition } from "../../../../functions/node/define.ts";
import { defaultLimits, type PeerLimits } from "../../../../functions/node/federation/limits.ts";
import { type Manifest, userTokenType } from "../../../../functions/node/federation/manifest.ts";
import { createNode } from "../../../../functions/node/node.ts";
import type { Node, Platform, PrivateJwk } from "../../../../functions/node/platform.ts";
import { memoryState } from "../../../../functions/node/state/memory.ts";
import { grant, issuerOf, makeKey, networkName, publicOf, signManifest } from "../network.ts";

/** What a peer runs: functions on a real node, a listener that plays one, or nothing at all (its port is closed). */
export type PeerPart = readonly FunctionDefinition[] | RequestListener | undefined;

export type Era = "legacy" | "modern";

export interface Answer {
  readonly status: number;
  /** As it came over the wire. */
  readonly text: string;
  readonly message: {
    readonly result?: Readonly<Record<string, any>>;
    readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
  };
  readonly ms: number;
}

/** One node, `acme/edge`, whose peers are HTTP servers on this machine: asked by its own fetch handler, asking by the real `fetch` or `exchange`. */
export class HttpNetwork {
  readonly #node: Node;
  readonly #token: string;
  readonly #close: readonly (() => Promise<void>)[];
  readonly #pending: Set<Promise<unknown>>;
  readonly #open: Map<string, Set<ServerResponse>>;
  /** Requests that each played peer got, by `Mcp-Method`. */
  readonly requests: ReadonlyMap<string, readonly string[]>;

  private constructor(parts: {
    node: Node;
    token: string;
    close: readonly (() => Promise<void>)[];
    pending: Set<Promise<unknown>>;
    open: Map<string, Set<ServerResponse>>;
    requests: ReadonlyMap<string, readonly string[]>;
  }) {
    this.#node = parts.node;
    this.#token = parts.token;
    this.#close = parts.close;
    this.#pending = parts.pending;
    this.#open = parts.open;
    this.requests = parts.requests;
  }

  /** Starts the peers and the node, and gives all of them one manifest. Peers are by id; every organization grants everything to acme. */
  static async start(
    functions: readonly FunctionDefinition[],
    peers: Readonly<Record<string, PeerPart>>,
    limits: Partial<PeerLimits> = {},
    exchange?: Platform["exchange"],
  ): Promise<HttpNetwork> {
    const self = "acme/edge";
    // Nodes start when all ports are known, so servers look theirs up.
    const started = new Map<string, Node>();
    const [root, issuer, key] = await Promise.all([makeKey(), makeKey(), makeKey()]);
    const pending = new Set<Promise<unknown>>();
    const open = new Map<string, Set<ServerResponse>>();
    const requests = new Map<string, string[]>();
    const close: (() => Promise<void>)[] = [];
    const nodes: Manifest["nodes"] = Object.fromEntries(
      await Promise.all(
        [[self, []] as const, ...Object.entries(peers)].map(async ([id, part]) => {
          const [organization = ""] = id.split("/");
          const url = id === self ? "http://acme.test" : await startPeer(id, part);
          return [id, { organization, provider: "memory", url, prefix: id.replace("/", "-"), functions: [] }] as const;
        }),
      ),
    );
    const keys = new Map<string, PrivateJwk>([[self, key]]);
    for (const [id, part] of Object.entries(peers)) keys.set(id, isFunctions(part) ? await makeKey() : key);
    const organizations = [...new Set(Object.values(nodes).map(({ organization }) => organization))];
    const manifest: Manifest = {
      network: networkName,
      serial: 1,
      nodes,
      keys: Object.fromEntries([...keys].map(([id, of]) => [id, [publicOf(of)]])),
      organizations: Object.fromEntries(
        organizations.map((name) => [
          name,
          name === "acme"
            ? { users: ["ada"], issuers: [{ issuer: issuerOf(name), keys: [publicOf(issuer)] }] }
            : { users: [], issuers: [] },
        ]),
      ),
      grants: organizations.filter((name) => name !== "acme").map((name) => grant(name, "acme")),
    };
    const jws = await signManifest(manifest, root);
    const start = async (id: string, own: readonly FunctionDefinition[]): Promise<Node> => {
      const config = { network: networkName, node: id, url: nodes[id]?.url as string, root: publicOf(root) };
      const node = createNode(own, { ...defaultLimits, ...limits })({
        config,
        key: keys.get(id) as PrivateJwk,
        state: memoryState(),
        fetch: async (request) => await fetch(request),
        ...(exchange && { exchange }),
        waitUntil(work) {
          const settled = work.catch((cause: unknown) => console.error(cause)).finally(() => pending.delete(settled));
          pending.add(settled);
        },
      });
      const taken = await node.fetch(
        new Request("http://node.test/.well-known/federation", { method: "PUT", body: jws }),
      );
      if (!taken.ok) throw new Error(await taken.text());
      return node;
    };
    for (const [id, part] of Object.entries(peers)) if (isFunctions(part)) started.set(id, await start(id, part));
    const now = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({ iss: issuerOf("acme"), sub: "ada@acme", aud: "http://acme.test/mcp", iat: now })
      .setExpirationTime(now + 3_600)
      .setProtectedHeader({ alg: "EdDSA", typ: userTokenType, kid: issuer.kid })
      .sign(await importJWK({ ...issuer }, "EdDSA"));
    return new HttpNetwork({ node: await start(self, functions), token, close, pending, open, requests });

    async function startPeer(id: string, part: PeerPart): Promise<string> {
      const inFlight = new Set<ServerResponse>();
      open.set(id, inFlight);
      const seen: string[] = [];
      requests.set(id, seen);
      const server = createServer((incoming, outgoing) => {
        inFlight.add(outgoing);
        outgoing.once("close", () => inFlight.delete(outgoing));
        seen.push(String(incoming.headers["mcp-method"] ?? incoming.url));
        if (isFunctions(part)) bridge(started.get(id) as Node, incoming, outgoing);
        else part?.(incoming, outgoing);
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      if (part) close.push(async () => await stop(server));
      else await stop(server);
      return `http://127.0.0.1:${port}`;
    }
  }

  /** Asks the node as Ada, in the form of an era. */
  async ask(era: Era, method: string, params: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    const started = performance.now();
    const response = await this.#node.fetch(mcpRequest(era, this.#token, method, params));
    const text = await response.text();
    const json = text.startsWith("{") ? text : (/^data: (.*)$/m.exec(text)?.[1] ?? text);
    return {
      status: response.status,
      text,
      message: JSON.parse(json) as Answer["message"],
      ms: performance.now() - started,
    };
  }

  /** Requests that a played peer has not seen the end of. */
  open(id: string): number {
    return this.#open.get(id)?.size ?? 0;
  }

  /** Waits for what the nodes do after their responses. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  async close(): Promise<void> {
    await this.settled();
    await Promise.all(this.#close.map(async (close) => await close()));
  }
}

function isFunctions(part: PeerPart): part is readonly FunctionDefinition[] {
  return Array.isArray(part);
}

/** A node behind `node:http`, as small as a test needs it. */
function bridge(node: Node, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const answer = async () => {
    const { method = "GET", url, headers } = incoming;
    const body = method === "GET" ? null : (Readable.toWeb(incoming) as ReadableStream<Uint8Array>);
    const init = { method, headers: headers as Record<string, string>, body, duplex: "half" };
    const response = await node.fetch(new Request(`http://node.test${url}`, init as RequestInit));
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(await response.text());
  };
  answer().catch((cause: unknown) => outgoing.destroy(cause as Error));
}

async function stop(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}

/** An MCP request in the form of an era, as a client would send it to a node. */
export function mcpRequest(
  era: Era,
  token: string,
  method: string,
  params: Readonly<Record<string, unknown>>,
): Request {
  const modern = era === "modern";
  const name = params["name"] ?? params["uri"];
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  return new Request("http://acme.test/mcp", {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": modern ? "2026-07-28" : "2025-11-25",
      ...(modern && { "mcp-method": method, ...(typeof name === "string" && { "mcp-name": name }) }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: modern ? { ...params, _meta } : params }),
  });
}

/** The JSON-RPC request that a played peer got. */
export async function readRpc(
  incoming: IncomingMessage,
): Promise<{ readonly id: string; readonly method: string; readonly params: Readonly<Record<string, unknown>> }> {
  let text = "";
  for await (const part of incoming.setEncoding("utf8")) text += part as string;
  return JSON.parse(text) as Awaited<ReturnType<typeof readRpc>>;
}
