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
}

/** What a platform gives the node; made by the provider's `entry.ts`. */
export interface Platform {
  readonly config: NodeConfig;
  readonly key: PrivateJwk;
  readonly state: State;
  /** Outbound HTTP; injected so that a runtime may use a faster client than the built-in one. */
  fetch(request: Request): Promise<Response>;
  /** Lets work go on after the response was sent. */
  waitUntil(work: Promise<unknown>): void;
}

/** A running node. `fetch` never throws; request paths are relative to the node's base URL (`/mcp`, `/health`, ...). */
export interface Node {
  fetch(request: Request): Promise<Response>;
}

/** What a bundle's generated entry hands to the provider's bridge: the node with its function set built in. */
export type StartNode = (platform: Platform) => Node;

/** Reads `FEDERATION_CONFIG` and `FEDERATION_KEY`. Throws an error that names the variable and never its value. */
export function readConfig(read: (name: string) => string | undefined): Pick<Platform, "config" | "key"> {
  return {
    config: parse<NodeConfig>("FEDERATION_CONFIG", ["network", "node", "url", "root"]),
    key: parse<PrivateJwk>("FEDERATION_KEY", ["x", "d", "kid"]),
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
