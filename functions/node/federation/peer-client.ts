import { encodeHeaderValue } from "../protocol/header-value.ts";
import { calledName, isCallMethod, scopeOf } from "../protocol/methods.ts";
import { code, type Fields, isFields, metaKey, modernVersion, RpcError } from "../protocol/rpc.ts";
import type { MintHop } from "../security/hop-token.ts";
import type { Principal } from "../security/principal.ts";
import { BodyTooLarge, readText, textParts } from "./body.ts";
import { DeadlineExceeded, withDeadline } from "./deadline.ts";
import { eventData } from "./event-stream.ts";
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
}

export interface PeerClientOptions {
  readonly fetch: (request: Request) => Promise<Response>;
  readonly mint: MintHop;
  /** Told the serial that a peer's answer names. */
  readonly onSerial: (peer: NodeId, serial: number, held: HeldManifest) => void;
}

export type AskPeer = (request: PeerRequest) => Promise<Fields>;

/** The answer did not come, or was no answer. Says which peer; `data.peer` too. */
export class PeerFailure extends RpcError {}

/** Largest answer of a peer, in bytes. */
const maxAnswer = 8 * 1024 * 1024;
/** Errors about the wire between two nodes: they say nothing to the caller about its own request. */
const wireErrors = new Set([-32020, -32021, -32022]);

/** Makes the function that sends one MCP 2026-07-28 request to a peer and answers its result as it came. Throws `RpcError`. */
export function peerClient({ fetch, mint, onSerial }: PeerClientOptions): AskPeer {
  return async (request) => {
    const { peer } = request;
    try {
      return await withDeadline(request.deadline, request.signal, async (signal) => {
        const response = await fetch(await httpRequest(request, signal));
        onSerial(peer, Number(response.headers.get("federation-serial") ?? 0), request.held);
        return unwrap(peer, await readAnswer(request, response));
      });
    } catch (cause) {
      if (cause instanceof RpcError) throw cause;
      if (request.signal?.aborted) throw new RpcError(code.peerFailed, "the caller cancelled the request");
      if (cause instanceof DeadlineExceeded)
        throw failure(peer, `did not answer within ${request.deadline / 1000} s`, code.peerTimeout);
      if (cause instanceof BodyTooLarge) throw failure(peer, `answered more than ${maxAnswer} bytes`);
      // The cause may hold addresses of the runtime's network; the log is for operators, the message for callers.
      console.error(
        JSON.stringify({ error: "request to a peer failed", peer, callId: request.callId, cause: String(cause) }),
      );
      throw failure(peer, "could not be reached");
    }
  };

  async function httpRequest(request: PeerRequest, signal: AbortSignal): Promise<Request> {
    const { peer, method, params, held, principal, callId, onProgress } = request;
    const endpoint = `${held.manifest.nodes[peer]?.url}/mcp`;
    const token = await mint({
      audience: endpoint,
      principal,
      callId,
      scope: scopeOf(method, params),
      serial: held.serial,
    });
    const meta = {
      ...request.meta,
      [metaKey.protocolVersion]: modernVersion,
      [metaKey.clientCapabilities]: {},
      [metaKey.clientInfo]: { name: "ai-federation", version: modernVersion },
      ...(onProgress && { progressToken: callId }),
    };
    return new Request(endpoint, {
      method: "POST",
      headers: {
        ...request.headers,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        authorization: `Bearer ${token}`,
        "mcp-protocol-version": modernVersion,
        "mcp-method": method,
        ...(isCallMethod(method) && { "mcp-name": encodeHeaderValue(calledName(method, params)) }),
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: callId, method, params: { ...params, _meta: meta } }),
      // A redirect would carry the token to an address that the manifest does not name.
      redirect: "manual",
      signal,
    });
  }
}

function failure(peer: NodeId, what: string, errorCode: number = code.peerFailed): PeerFailure {
  return new PeerFailure(errorCode, `${peer} ${what}`, { peer, retryable: true });
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
    throw failure(peer, "refused this node's token");
  }
  if (type === "application/json") return parse(peer, await readText(response, maxAnswer));
  if (type === "text/event-stream") {
    for await (const data of eventData(textParts(response, maxAnswer))) {
      const message = parse(peer, data);
      if (!isFields(message)) continue;
      if (message["id"] === request.callId && !("method" in message)) return message;
      if (message["method"] === "notifications/progress" && isFields(message["params"]))
        await request.onProgress?.(message["params"]);
    }
    throw failure(peer, "ended its answer early");
  }
  await response.body?.cancel();
  throw failure(peer, `answered HTTP ${response.status} without an MCP message`);
}

function parse(peer: NodeId, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw failure(peer, "answered text that is not JSON");
  }
}

/** The result of a JSON-RPC response. Throws its error as it came. */
function unwrap(peer: NodeId, message: unknown): Fields {
  if (isFields(message) && isFields(message["result"])) return message["result"];
  const error = isFields(message) ? message["error"] : undefined;
  if (!isFields(error) || typeof error["code"] !== "number" || typeof error["message"] !== "string") {
    throw failure(peer, "answered something that is not JSON-RPC");
  }
  if (wireErrors.has(error["code"])) throw failure(peer, `refused the request: ${error["message"]}`);
  throw new RpcError(error["code"], error["message"], error["data"]);
}
