import type { Socket } from "./protocol/websocket/socket.ts";
import type { State } from "./state/state.ts";

/** A public Ed25519 key as a JSON Web Key (RFC 8037); `kid` is its RFC 7638 thumbprint. */
export interface PublicJwk {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly x: string;
  readonly kid: string;
}

/** A private Ed25519 key as a JSON Web Key. It lives only in a node's secret store. */
export interface PrivateJwk extends PublicJwk {
  readonly d: string;
}

/**
 * What a deployed node is told about itself, and all that it is told: peers, keys and grants arrive by manifest.
 * Travels as JSON text in the plain variable `FEDERATION_CONFIG`; the private key travels apart, in the secret `FEDERATION_KEY`.
 */
export interface NodeConfig {
  /** Name of the network: one Pulumi stack describes one. */
  readonly network: string;
  /** `organization/node`. */
  readonly node: string;
  /** Public base URL without a trailing slash; the MCP endpoint is `url + "/mcp"`. May have a path. */
  readonly url: string;
  /** Public key that signs the network's manifests. */
  readonly root: PublicJwk;
  /** Third-party MCP servers that the node imports; their names are part of the node's own. */
  readonly upstreams?: readonly UpstreamConfig[];
}

/** A third-party MCP server, as a node is told about it. Its secret travels apart, in the secret `FEDERATION_UPSTREAMS`. */
export interface UpstreamConfig {
  readonly name: string;
  /** Its MCP endpoint. */
  readonly url: string;
  /** What its names carry on this node: `prefix.tool`, `prefix+uri`. Empty = they stay as they are. */
  readonly prefix: string;
  /** `auto` finds out which era of MCP it speaks. */
  readonly era: "auto" | "modern" | "legacy";
  readonly auth: UpstreamAuth;
}

/** How a node proves itself to an upstream: not at all, by a token, or by OAuth client credentials. */
export type UpstreamAuth =
  | { readonly type: "none" }
  | { readonly type: "bearer" }
  | {
      readonly type: "client-credentials";
      readonly tokenUrl: string;
      readonly clientId: string;
      readonly scope?: string | undefined;
    };

/** What a platform gives the node; made by the provider's `entry.ts`. */
export interface Platform {
  readonly config: NodeConfig;
  readonly key: PrivateJwk;
  /** Secrets of upstreams by name; absent where no upstream wants one. */
  readonly upstreamSecrets?: Readonly<Record<string, string>>;
  readonly state: State;
  /** Outbound HTTP. */
  fetch(request: Request): Promise<Response>;
  /** A faster way than `fetch` to ask a peer, where the runtime has one. */
  exchange?(request: OutboundRequest): Promise<PlainResponse | Response>;
  /** A faster way than WebCrypto to sign with the node's key (Ed25519), where the runtime has one. */
  sign?(text: string): Uint8Array;
  /** A faster way than `console.log` to print lines, where the runtime has one. */
  print?(lines: readonly string[]): void;
  /** Lets work go on after the response was sent. */
  waitUntil(work: Promise<unknown>): void;
  /**
   * Accepts a WebSocket handshake; absent where the platform has no WebSockets. The node answers the request with `response`.
   * `request` is the very object that `Node.fetch` got.
   */
  upgrade?(request: Request, subprotocol: string): { readonly response: Response; readonly socket: Socket };
}

/** The headers of a message: what a `Headers` object offers, or less. */
export type HeaderReader = Pick<Headers, "get"> & Iterable<readonly [name: string, value: string]>;

/** An HTTP `POST` whose body was read, without the Fetch standard's objects, which on Node.js cost more than a relayed call. */
export interface PostRequest {
  readonly headers: HeaderReader;
  readonly body: string;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  /** The same request for code that needs the standard's object. */
  toRequest(): Request;
}

/** An HTTP response as it is, without the Fetch standard's objects. Header names are in lower case. */
export interface PlainResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Text, or UTF-8 in pieces. */
  readonly body: string | readonly Uint8Array[];
}

/** Bodies of requests up to this many bytes are read before the node sees them. */
export const shortBody = 65_536;

/**
 * Answers a `POST /mcp` with a short body at less cost than `fetch` does; undefined, with the body unread, for every other request.
 * `path` is relative to the node's base URL.
 */
export async function servePost(node: Node, path: string, request: Request): Promise<Response | undefined> {
  const { method, headers, url } = request;
  const length = Number(headers.get("content-length") ?? Number.POSITIVE_INFINITY);
  if (method !== "POST" || path !== "/mcp" || !(length <= shortBody)) return undefined;
  const body = await request.text();
  const posted: PostRequest = {
    headers,
    body,
    get signal() {
      return request.signal;
    },
    toRequest: () => new Request(url, { method, headers, body, signal: request.signal }),
  };
  return toResponse(await node.postMcp(posted));
}

/** The response as an object of the Fetch standard. */
export function toResponse(response: PlainResponse | Response): Response {
  if (response instanceof Response) return response;
  const { status, headers, body } = response;
  return new Response(typeof body === "string" ? body : joined(body), { status, headers });
}

function joined(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** A `POST` to a peer. */
export interface OutboundRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Milliseconds until the whole answer, or its stream, must have ended; rejects with a `TimeoutError` then. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
}

/** A running node. `fetch` never throws; request paths are relative to the node's base URL (`/mcp`, `/health`, ...). */
export interface Node {
  fetch(request: Request): Promise<Response>;
  /** `fetch` for `POST /mcp`, at less cost. */
  postMcp(request: PostRequest): Promise<PlainResponse | Response>;
}

/** What a bundle's generated entry hands to the provider's bridge: the node with its function set built in. */
export type StartNode = (platform: Platform) => Node;

/**
 * Reads `FEDERATION_CONFIG`, `FEDERATION_KEY` and, where there are upstreams that want secrets, `FEDERATION_UPSTREAMS`.
 * Throws an error that names the variable and never its value.
 */
export function readConfig(
  read: (name: string) => string | undefined,
): Pick<Platform, "config" | "key" | "upstreamSecrets"> {
  return {
    config: parse<NodeConfig>("FEDERATION_CONFIG", ["network", "node", "url", "root"]),
    key: parse<PrivateJwk>("FEDERATION_KEY", ["x", "d", "kid"]),
    upstreamSecrets: read("FEDERATION_UPSTREAMS") ? parse<Record<string, string>>("FEDERATION_UPSTREAMS", []) : {},
  };

  function parse<T>(name: string, fields: readonly string[]): T {
    const text = read(name);
    if (!text) throw new Error(`the variable ${name} is not set: deploy this node with the toolkit, or set it by hand`);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      // The cause would quote the text, and the text may hold a private key.
      throw new Error(`the variable ${name} is not JSON`);
    }
    const missing = fields.filter((field) => !(value as Record<string, unknown> | null)?.[field]);
    if (missing.length > 0) throw new Error(`the variable ${name} lacks ${missing.join(", ")}`);
    return value as T;
  }
}
