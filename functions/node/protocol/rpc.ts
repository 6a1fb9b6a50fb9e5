/** A JSON object of which nothing is known yet. */
export type Fields = Readonly<Record<string, unknown>>;

/** The revision that nodes speak among themselves. */
export const modernVersion = "2026-07-28";

/** Reserved `_meta` keys of the specification. */
export const metaKey = {
  protocolVersion: "io.modelcontextprotocol/protocolVersion",
  clientCapabilities: "io.modelcontextprotocol/clientCapabilities",
  clientInfo: "io.modelcontextprotocol/clientInfo",
  serverInfo: "io.modelcontextprotocol/serverInfo",
  logLevel: "io.modelcontextprotocol/logLevel",
  subscriptionId: "io.modelcontextprotocol/subscriptionId",
} as const;
export const reservedMetaPrefix = "io.modelcontextprotocol/";

/** `_meta` keys of ours: the call's id in every audit, and which peers answered. */
export const callIdKey = "io.github.ai-federation/callId";
export const peersKey = "io.github.ai-federation/peers";

/** Codes of JSON-RPC errors. The positive ones are ours, outside the range that JSON-RPC and MCP reserve. */
export const code = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
  /** A header and the body say different things. */
  headerMismatch: -32020,
  /** `data.requiredCapabilities` says what the caller's client lacks. */
  missingCapability: -32021,
  rateExceeded: 429,
  peerFailed: 502,
  unavailable: 503,
  peerTimeout: 504,
  loop: 508,
} as const;

/** An error that reaches the caller as a JSON-RPC error, word for word. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: number;
  readonly data: unknown;

  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** True for a JSON object, false for arrays and null. */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The answer to a name that is unknown or not allowed: the caller cannot tell which. */
export function unknownName(what: "tool" | "prompt" | "resource", name: string): RpcError {
  return new RpcError(code.invalidParams, `Unknown ${what}: ${name}`, what === "resource" ? { uri: name } : undefined);
}
