import type { PublicJwk } from "../platform.ts";

/** `organization/node`. */
export type NodeId = string;

/** A node as the manifest names it. */
export interface ManifestNode {
  readonly organization: string;
  readonly provider: string;
  /** Public base URL without a trailing slash; MCP is at `url + "/mcp"`. */
  readonly url: string;
  /** What the names of its tools and prompts carry on other nodes: `prefix + "." + name`. */
  readonly prefix: string;
  /** Names of the functions it runs. */
  readonly functions: readonly string[];
}

/** Who signs tokens for the users of an organization. */
export interface ManifestIssuer {
  /** The `iss` of its tokens. */
  readonly issuer: string;
  readonly keys: readonly PublicJwk[];
}

export interface ManifestOrganization {
  readonly issuers: readonly ManifestIssuer[];
  /** Names of its users; a token's `sub` is `name@organization`. */
  readonly users: readonly string[];
}

/** What users and nodes of `to` may use on nodes of `from`. Only grants that both organizations declared get here. */
export interface Grant {
  /** Stable name for audit records. */
  readonly id: string;
  /** Organization that grants. */
  readonly from: string;
  /** Organization that may use. */
  readonly to: string;
  /** Names of nodes of `from`; patterns with `*`. */
  readonly nodes: readonly string[];
  /** Patterns with `*` over the names as the granting node's own functions give them. */
  readonly tools: readonly string[];
  /** Patterns with `*` over resource URIs as the granting node's own functions give them. */
  readonly resources: readonly string[];
  readonly prompts: readonly string[];
  /** RFC 3339 time after which the grant is void. */
  readonly expires?: string;
  /** Calls per minute and granting node. */
  readonly rate?: number;
}

/** What the root key signs. */
export interface Manifest {
  readonly network: string;
  /** Grows with every change; a node takes only a higher one. */
  readonly serial: number;
  readonly nodes: Readonly<Record<NodeId, ManifestNode>>;
  /** Public keys of each node; more than one while a rotation is under way. */
  readonly keys: Readonly<Record<NodeId, readonly PublicJwk[]>>;
  readonly organizations: Readonly<Record<string, ManifestOrganization>>;
  readonly grants: readonly Grant[];
}

/** Media type of a manifest in its JWS compact form (RFC 7515); also the `typ` of its header, without `application/`. */
export const manifestMediaType = "application/federation-manifest+jwt";
export const manifestType = "federation-manifest+jwt";
/** `typ` of the token that one node sends to another. */
export const hopTokenType = "federation-hop+jwt";
/** `typ` of a user's access token (RFC 9068). */
export const userTokenType = "at+jwt";

/** Public answer of `GET /.well-known/federation`, and of a `PUT` there that was accepted. */
export interface FederationStatus {
  readonly network: string;
  readonly node: NodeId;
  /** 0 while the node holds no manifest. */
  readonly serial: number;
  /** `sha256:` + hex of the manifest's JWS text; absent at serial 0. */
  readonly digest?: string;
  readonly key: PublicJwk;
}
