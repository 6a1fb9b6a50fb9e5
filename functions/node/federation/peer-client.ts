import { encodeHeaderValue } from "../protocol/header-value.ts";
import type { Logger } from "../protocol/call.ts";
import { bridgedCapabilities } from "../protocol/capabilities.ts";
import { mirroredName, scopeOf } from "../protocol/methods.ts";
import { code, type Fields, isFields, metaKey, modernVersion, RpcError } from "../protocol/rpc.ts";
import type { OutboundRequest, Platform } from "../platform.ts";
import type { MintHop } from "../security/hop-token.ts";
import type { Principal } from "../security/principal.ts";
import { BodyTooLarge, readText, textParts } from "./body.ts";
import type { Sample } from "./circuit.ts";
import { DeadlineExceeded, withDeadline } from "./deadline.ts";
import { eventData } from "./event-stream.ts";
import { JsonTooDeep, parseJson } from "./json-depth.ts";
import type { HeldManifest } from "./held-manifest.ts";
import type { NodeId } from "./manifest.ts";

/** One request to a peer. */
export interface PeerRequest {
  readonly peer: NodeId;
  readonly method: string;
  /** Without `_meta`. */
  readonly params: Fields;
  /** What the caller put in `_meta`, without keys that the specification reserves. */
  readonly meta?: Fields;
  readonly held: HeldManifest;
  readonly principal: Principal;
  readonly callId: string;
  /** Milliseconds. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
  /** `Mcp-Param-*` headers of the caller. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Called with the params of each progress notification; its presence asks the peer for them. */
  readonly onProgress?: ((params: Fields) => Promise<void>) | undefined;
  /** Gets the peer's log messages; its presence asks the peer for them. */
  readonly log?: Logger | undefined;
  /** What the caller's client can do. */
  readonly capabilities?: Fields;
  /** Called with every other notification, which only a subscription brings. */
  readonly onNotification?: (method: string, params: Fields) => Promise<void>;
}

export interface PeerClientOptions {
  readonly fetch: (request: Request) => Promise<Response>;
  /** Used in place of `fetch` where the platform has it. */
  readonly post?: Platform["exchange"];
  readonly mint: MintHop;
  /** Told the serial that a peer's answer names. */
  readonly onSerial: (peer: NodeId, serial: number, held: HeldManifest) => void;
}

export type AskPeer = (request: PeerRequest) => Promise<Fields>;

/** The answer did not come, or was no answer. Says which peer; `data.peer` too. */
export class PeerFailure extends RpcError {
  /** What it shows of the peer's health. A refusal is an answer: it may concern this caller alone. */
  readonly sample: Sample;
  /** No connection, or HTTP 502, 503, 504: a second try may find the peer well. */
  readonly transient: boolean;

  constructor(
    peer: NodeId,
    what: string,
    { errorCode = code.peerFailed, sample = "fault", transient = false }: FailureOptions = {},
  ) {
    super(errorCode, `${peer} ${what}`, { peer, retryable: true });
    this.sample = sample;
    this.transient = transient;
  }
}

interface FailureOptions {
  readonly errorCode?: number;
  readonly sample?: Sample;
  readonly transient?: boolean;
}

/** Largest answer of a peer, in bytes. */
const maxAnswer = 8 * 1024 * 1024;
/**
 * Errors about the wire between two nodes: they say nothing to the caller about its own request. Of MCP 2026-07-28, of servers that
 * know only older revisions (-32000, -32001), and of JSON-RPC itself.
 */
const wireErrors = new Set<number>([-32020, -32021, -32022, -32000, -32001, code.parse, code.invalidRequest]);
/** A gateway's word that the peer behind it is away. */
const transientStatus = new Set([502, 503, 504]);

/** Makes the function that sends one MCP 2026-07-28 request to a peer and answers its result as it came. Throws `RpcError`. */
export function peerClient({ fetch, post, mint, onSerial }: PeerClientOptions): AskPeer {
  return async (request) => {
    const { peer, held } = request;
    const endpoint = `${held.manifest.nodes[peer]?.url}/mcp`;
    if (post) return await explained(request, async () => await ask(request, endpoint, post));
    return await exchange(request, async (signal) => {
      const response = await fetch(modernRequest(endpoint, request, await authorize(request, endpoint), signal));
      onSerial(peer, Number(response.headers.get("federation-serial") ?? 0), held);
      return response;
    });
  };

  async function ask(request: PeerRequest, endpoint: string, post: NonNullable<Platform["exchange"]>): Promise<Fields> {
    const { peer, held, deadline, signal } = request;
    const message = modernMessage(endpoint, request, await authorize(request, endpoint));
    const answer = await post({ ...message, deadline, signal });
    const whole = !(answer instanceof Response);
    const serial = whole ? answer.headers["federation-serial"] : answer.headers.get("federation-serial");
    onSerial(peer, Number(serial ?? 0), held);
    if (whole && answer.status === 200 && answer.headers["content-type"] === "application/json")
      return unwrap(request, answer, parse(peer, answer.body as string));
    const { status, headers, body } = answer;
    const response = whole ? new Response(bodyAllowed(status) ? (body as string) : null, { status, headers }) : answer;
    return unwrap(request, response, await readAnswer(request, response));
  }

  async function authorize({ principal, callId, method, params, held }: PeerRequest, audience: string) {
    const scope = scopeOf(method, params);
    return { authorization: `Bearer ${await mint({ audience, principal, callId, scope, serial: held.serial })}` };
  }
}

/** The Fetch standard refuses a body, even an empty one, for these. */
function bodyAllowed(status: number): boolean {
  return status !== 204 && status !== 205 && status !== 304;
}

/** Sends a request by `send` within its deadline and answers its result as it came. Throws `RpcError`. */
export async function exchange(
  request: PeerRequest,
  send: (signal: AbortSignal) => Promise<Response>,
): Promise<Fields> {
  return await explained(request, async () => {
    return await withDeadline(request.deadline, request.signal, async (signal) => {
      const response = await send(signal);
      return unwrap(request, response, await readAnswer(request, response));
    });
  });
}

/** Turns faults of a request into `RpcError`s that its caller may see. */
async function explained(request: PeerRequest, work: () => Promise<Fields>): Promise<Fields> {
  const { peer } = request;
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof RpcError) throw cause;
    if (request.signal?.aborted) throw new RpcError(code.peerFailed, "the caller cancelled the request");
    if (cause instanceof DeadlineExceeded || (cause instanceof Error && cause.name === "TimeoutError"))
      throw new PeerFailure(peer, `did not answer within ${Number((request.deadline / 1000).toPrecision(2))} s`, {
        errorCode: code.peerTimeout,
        sample: "silence",
      });
    if (cause instanceof BodyTooLarge)
      throw new PeerFailure(peer, `answered more than ${maxAnswer} bytes`, { sample: "answer" });
    // The cause may hold addresses of the runtime's network; the log is for operators, the message for callers.
    console.error(
      JSON.stringify({ error: "request to a peer failed", peer, callId: request.callId, cause: String(cause) }),
    );
    throw new PeerFailure(peer, "could not be reached", { transient: true });
  }
}

/** One request of MCP 2026-07-28 over HTTP. */
export function modernRequest(
  endpoint: string,
  request: PeerRequest,
  authorization: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Request {
  const { headers, body } = modernMessage(endpoint, request, authorization);
  // A redirect would carry the token to an address that nobody configured.
  return new Request(endpoint, { method: "POST", headers, body, redirect: "manual", signal });
}

function modernMessage(
  url: string,
  request: PeerRequest,
  authorization: Readonly<Record<string, string>>,
): Pick<OutboundRequest, "url" | "headers" | "body"> {
  const { method, params, callId, onProgress, log, capabilities = {} } = request;
  const meta = {
    ...request.meta,
    [metaKey.protocolVersion]: modernVersion,
    [metaKey.clientCapabilities]: capabilities,
    [metaKey.clientInfo]: { name: "ai-federation", version: modernVersion },
    ...(log && { [metaKey.logLevel]: log.level }),
    ...(onProgress && { progressToken: callId }),
  };
  const name = mirroredName(method, params);
  return {
    url,
    headers: {
      ...request.headers,
      ...authorization,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": modernVersion,
      "mcp-method": method,
      ...(typeof name === "string" && { "mcp-name": encodeHeaderValue(name) }),
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: callId, method, params: { ...params, _meta: meta } }),
  };
}

async function readAnswer(request: PeerRequest, response: Response): Promise<unknown> {
  const { peer } = request;
  const type = (response.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase();
  if (response.status === 401 || response.status === 403) {
    const reason = await readText(response, maxAnswer);
    console.error(
      JSON.stringify({
        error: "a peer refused this node's token",
        peer,
        status: response.status,
        reason: reason.slice(0, 300),
      }),
    );
    throw new PeerFailure(peer, "refused this node's token", { sample: "answer" });
  }
  if (type === "application/json") return parse(peer, await readText(response, maxAnswer));
  if (type === "text/event-stream") {
    for await (const data of eventData(textParts(response, maxAnswer))) {
      const message = parse(peer, data);
      if (!isFields(message)) continue;
      if (message["id"] === request.callId && !("method" in message)) return message;
      await notified(request, message);
    }
    throw new PeerFailure(peer, "ended its answer early");
  }
  await response.body?.cancel();
  throw noMessage(peer, response);
}

async function notified({ onProgress, log, onNotification }: PeerRequest, { method, params }: Fields): Promise<void> {
  if (typeof method !== "string" || !isFields(params)) return;
  if (method === "notifications/progress") {
    // The token was this node's; the caller's own goes on in its place.
    const { progressToken: _, ...progress } = params;
    await onProgress?.(progress);
  } else if (method === "notifications/message") await log?.send(params);
  else await onNotification?.(method, params);
}

function noMessage(peer: NodeId, { status }: { readonly status: number }): PeerFailure {
  return new PeerFailure(peer, `answered HTTP ${status} without an MCP message`, {
    // Too many requests: the peer is well, and says so.
    sample: status === 429 ? "answer" : "fault",
    transient: transientStatus.has(status),
  });
}

function parse(peer: NodeId, text: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    if (cause instanceof JsonTooDeep) throw new PeerFailure(peer, `answered ${cause.message}`, { sample: "answer" });
    throw new PeerFailure(peer, "answered text that is not JSON");
  }
}

/** The result of a JSON-RPC response. Throws its error as it came. */
function unwrap(request: PeerRequest, response: { readonly status: number }, message: unknown): Fields {
  const { peer, callId } = request;
  const { id = null, result, error } = isFields(message) ? message : {};
  if (isFields(result) && id === callId) return result;
  if (!isFields(error) || !Number.isSafeInteger(error["code"]) || typeof error["message"] !== "string") {
    if (isFields(result)) throw new PeerFailure(peer, "answered another request than the one it was asked");
    throw response.status >= 200 && response.status < 300
      ? new PeerFailure(peer, "answered something that is not JSON-RPC")
      : noMessage(peer, response);
  }
  // An error about a request that could not be read has no id.
  if (id !== callId && id !== null) throw new PeerFailure(peer, "answered another request than the one it was asked");
  throw translated(request, error["code"] as number, error["message"], error["data"]);
}

/** The peer's error as it concerns the caller. */
function translated({ peer, method }: PeerRequest, errorCode: number, message: string, data: unknown): RpcError {
  // Of all headers only those that mirror arguments are the caller's.
  if (errorCode === code.headerMismatch && method === "tools/call") return new RpcError(errorCode, message);
  // How servers before 2026-07-28 say that a resource does not exist.
  if (errorCode === -32002) return new RpcError(code.invalidParams, message, data);
  if (errorCode === code.missingCapability) {
    const requiredCapabilities = bridgedCapabilities(isFields(data) ? data["requiredCapabilities"] : undefined);
    if (Object.keys(requiredCapabilities).length > 0) return new RpcError(errorCode, message, { requiredCapabilities });
  }
  if (wireErrors.has(errorCode))
    return new PeerFailure(peer, "refused the request: it does not speak MCP 2026-07-28 as a node does", {
      sample: "answer",
    });
  return new RpcError(errorCode, message, data);
}
