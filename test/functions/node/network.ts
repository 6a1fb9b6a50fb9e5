import { Client, StreamableHTTPClientTransport, type VersionNegotiationMode } from "@modelcontextprotocol/client";
import { calculateJwkThumbprint, CompactSign, exportJWK, generateKeyPair, importJWK, SignJWT } from "jose";
import { onTestFinished } from "vitest";
import type { FunctionDefinition } from "../../../functions/node/define.ts";
import { type Grant, type Manifest, manifestType, userTokenType } from "../../../functions/node/federation/manifest.ts";
import { createNode } from "../../../functions/node/node.ts";
import type { Node, NodeConfig, PrivateJwk, PublicJwk, UpstreamConfig } from "../../../functions/node/platform.ts";
import { memoryState } from "../../../functions/node/state/memory.ts";
import type { State } from "../../../functions/node/state/state.ts";
import echo from "../../../functions/echo/index.ts";
import meetingInfo from "../../../functions/meeting-info/index.ts";
import { ClientSocket } from "./websocket/memory-socket.ts";

/** A network to build: nodes by id with their functions, users by organization, grants. */
export interface NetworkPlan {
  readonly nodes: Readonly<Record<string, readonly FunctionDefinition[]>>;
  readonly users: Readonly<Record<string, readonly string[]>>;
  readonly grants: readonly Grant[];
  /** What their deployment says of nodes by id, where it says more than the rest. */
  readonly deployed?: Readonly<Record<string, Deployed>>;
  /** Third-party servers by origin. */
  readonly servers?: Readonly<Record<string, (request: Request) => Promise<Response>>>;
}

export interface Deployed {
  readonly prefix?: string;
  readonly upstreams?: readonly UpstreamConfig[];
  readonly secrets?: Readonly<Record<string, string>>;
}

/** What happens to requests for a node instead of being answered. */
export type Trouble = (request: Request, answer: () => Promise<Response>) => Promise<Response>;

export interface TestNode {
  readonly config: NodeConfig;
  readonly key: PrivateJwk;
  readonly state: State;
  node: Node;
  /** Every request that reached the node, newest last. */
  readonly requests: {
    readonly method: string;
    readonly path: string;
    readonly headers: Headers;
    readonly body: string;
  }[];
  trouble: Trouble | undefined;
  /** The clients' ends of WebSockets that the node accepted, newest last. */
  readonly sockets: ClientSocket[];
}

export interface Connection {
  readonly client: Client;
  readonly transport: StreamableHTTPClientTransport;
}

export const networkName = "test";

/** A grant with everything open; a test narrows what it is about. */
export function grant(from: string, to: string, rest: Partial<Grant> = {}): Grant {
  return { id: `${from}-${to}`, from, to, nodes: ["*"], tools: ["*"], resources: ["*"], prompts: ["*"], ...rest };
}

/** Two organizations, three nodes: `acme/edge` and `acme/data`, `globex/compute`, and grants both ways. */
export const threeNodes: NetworkPlan = {
  nodes: { "acme/edge": [echo], "acme/data": [meetingInfo], "globex/compute": [echo, meetingInfo] },
  users: { acme: ["ada"], globex: ["grace"] },
  grants: [
    grant("globex", "acme"),
    grant("acme", "globex", { nodes: ["data"], tools: ["list_meetings"], resources: [], prompts: [] }),
  ],
};

export async function makeKey(): Promise<PrivateJwk> {
  const { privateKey } = await generateKeyPair("EdDSA", { extractable: true, crv: "Ed25519" });
  const jwk = await exportJWK(privateKey);
  return { kty: "OKP", crv: "Ed25519", x: jwk.x as string, d: jwk.d as string, kid: await calculateJwkThumbprint(jwk) };
}

export function publicOf({ kty, crv, x, kid }: PublicJwk): PublicJwk {
  return { kty, crv, x, kid };
}

export async function signManifest(
  manifest: unknown,
  key: PrivateJwk,
  header: Record<string, unknown> = {},
): Promise<string> {
  return await new CompactSign(new TextEncoder().encode(JSON.stringify(manifest)))
    .setProtectedHeader({ alg: "EdDSA", typ: manifestType, kid: key.kid, ...header })
    .sign(await importJWK({ ...key }, "EdDSA"));
}

/** A whole network in this process: every node's outbound `fetch` finds the others by URL. */
export class TestNetwork {
  readonly root: PrivateJwk;
  readonly issuers: Readonly<Record<string, PrivateJwk>>;
  readonly nodes: Readonly<Record<string, TestNode>>;
  /** The manifest that was published last. */
  manifest: Manifest;
  readonly #plan: NetworkPlan;
  readonly #pending = new Set<Promise<unknown>>();

  private constructor(
    root: PrivateJwk,
    issuers: Readonly<Record<string, PrivateJwk>>,
    keys: Readonly<Record<string, PrivateJwk>>,
    plan: NetworkPlan,
  ) {
    this.root = root;
    this.issuers = issuers;
    this.#plan = plan;
    this.nodes = Object.fromEntries(
      Object.entries(plan.nodes).map(([id, functions]) => {
        const { upstreams } = plan.deployed?.[id] ?? {};
        const config = {
          network: networkName,
          node: id,
          url: urlOf(id),
          root: publicOf(root),
          ...(upstreams && { upstreams }),
        };
        const node: TestNode = {
          config,
          key: keys[id] as PrivateJwk,
          state: memoryState(),
          node: undefined as unknown as Node,
          requests: [],
          trouble: undefined,
          sockets: [],
        };
        node.node = this.#start(node, functions);
        return [id, node];
      }),
    );
    this.manifest = {
      network: networkName,
      serial: 0,
      nodes: Object.fromEntries(
        Object.entries(plan.nodes).map(([id, functions]) => {
          const [organization = ""] = id.split("/");
          return [
            id,
            {
              organization,
              provider: "memory",
              url: urlOf(id),
              prefix: plan.deployed?.[id]?.prefix ?? id.replace("/", "-"),
              functions: functions.map(({ name }) => name),
            },
          ];
        }),
      ),
      keys: Object.fromEntries(Object.entries(keys).map(([id, key]) => [id, [publicOf(key)]])),
      organizations: Object.fromEntries(
        Object.entries(plan.users).map(([name, users]) => [
          name,
          { users, issuers: [{ issuer: issuerOf(name), keys: [publicOf(issuers[name] as PrivateJwk)] }] },
        ]),
      ),
      grants: plan.grants,
    };
  }

  /** Builds the network without a manifest: every node waits. */
  static async waiting(plan: NetworkPlan = threeNodes): Promise<TestNetwork> {
    const make = async (names: readonly string[]) =>
      Object.fromEntries(await Promise.all(names.map(async (name) => [name, await makeKey()] as const)));
    return new TestNetwork(
      await makeKey(),
      await make(Object.keys(plan.users)),
      await make(Object.keys(plan.nodes)),
      plan,
    );
  }

  /** Builds the network and publishes its first manifest to all nodes. */
  static async start(plan: NetworkPlan = threeNodes): Promise<TestNetwork> {
    const network = await TestNetwork.waiting(plan);
    await network.publish();
    return network;
  }

  node(id: string): TestNode {
    const node = this.nodes[id];
    if (!node) throw new Error(`there is no node ${id} in this network`);
    return node;
  }

  /** Signs the manifest with `change` and the next serial, and puts it to the named nodes (all without names). */
  async publish(change: Partial<Manifest> = {}, to: readonly string[] = Object.keys(this.nodes)): Promise<string> {
    this.manifest = { ...this.manifest, ...change, serial: change.serial ?? this.manifest.serial + 1 };
    const jws = await signManifest(this.manifest, this.root);
    for (const id of to) {
      const response = await this.put(id, jws);
      if (!response.ok) throw new Error(`${id} refused the manifest: ${await response.text()}`);
    }
    return jws;
  }

  async put(id: string, jws: string): Promise<Response> {
    return await this.request(id, "/.well-known/federation", { method: "PUT", body: jws });
  }

  /** A request to a node as it comes in, below whatever its URL carries. */
  async request(id: string, path: string, init: RequestInit = {}): Promise<Response> {
    return await this.node(id).node.fetch(new Request(`http://${new URL(urlOf(id)).host}${path}`, init));
  }

  /** A user's access token for a node; `claims` and `header` overwrite what a good one has. */
  async userToken(
    user: string,
    audience: string,
    claims: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
  ): Promise<string> {
    const organization = user.slice(user.lastIndexOf("@") + 1);
    const key = this.issuers[organization] as PrivateJwk;
    const now = Math.floor(Date.now() / 1000);
    const payload = {
      iss: issuerOf(organization),
      sub: user,
      aud: `${urlOf(audience)}/mcp`,
      iat: now,
      exp: now + 300,
      ...claims,
    };
    return await new SignJWT(payload)
      .setProtectedHeader({ alg: "EdDSA", typ: userTokenType, kid: key.kid, ...header })
      .sign(await importJWK({ ...key }, "EdDSA"));
  }

  /** The official client, connected to a node as a user. */
  async connect(id: string, user: string, mode: VersionNegotiationMode = "auto"): Promise<Client> {
    const token = await this.userToken(user, id);
    const client = new Client({ name: "test", version: "1.0.0" }, { versionNegotiation: { mode } });
    const transport = new StreamableHTTPClientTransport(new URL(`${urlOf(id)}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
      fetch: async (url, init) => await this.fetch(new Request(url, init)),
    });
    await client.connect(transport);
    onTestFinished(async () => await client.close());
    return client;
  }

  /** Waits for what nodes do after their responses. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  async audit(id: string): Promise<readonly Record<string, unknown>[]> {
    await this.settled();
    return (await this.node(id).state.list("audit/", { limit: 1000 })).entries.map(
      (entry) => entry.value as Record<string, unknown>,
    );
  }

  /** Starts a node anew on the state it had, as after a restart. */
  restart(id: string, functions: readonly FunctionDefinition[]): void {
    const node = this.node(id);
    node.node = this.#start(node, functions);
  }

  /** Routes by URL, as the internet would. */
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const target = Object.values(this.nodes).find(({ config }) => request.url.startsWith(`${config.url}/`));
    const server = this.#plan.servers?.[url.origin];
    if (server) return await server(request);
    if (!target) throw new TypeError(`nothing listens at ${url.origin}`);
    const path = request.url.slice(target.config.url.length);
    const body = request.body === null ? "" : await request.clone().text();
    target.requests.push({ method: request.method, path, headers: request.headers, body });
    const inner = new Request(`http://${url.host}${path}`, request);
    const answer = async () => await target.node.fetch(inner);
    return await (target.trouble ? target.trouble(inner, answer) : answer());
  }

  #start(node: TestNode, functions: readonly FunctionDefinition[]): Node {
    return createNode(functions)({
      config: node.config,
      key: node.key,
      upstreamSecrets: this.#plan.deployed?.[node.config.node]?.secrets ?? {},
      state: node.state,
      fetch: async (request) => await this.fetch(request),
      upgrade: (_request, subprotocol) => {
        const socket = new ClientSocket(subprotocol);
        node.sockets.push(socket);
        return { response: new Response("upgraded"), socket: socket.server() };
      },
      waitUntil: (work) => {
        const settled = work
          .catch((cause: unknown) => console.error(cause))
          .finally(() => this.#pending.delete(settled));
        this.#pending.add(settled);
      },
    });
  }
}

/** Base URLs have a path, as they do on Supabase. */
export function urlOf(id: string): string {
  const [organization, name] = id.split("/");
  return `http://${organization}.test/nodes/${name}`;
}

export function issuerOf(organization: string): string {
  return `https://login.${organization}.test`;
}
