import type { Fields } from "../protocol/rpc.ts";
import { isFields } from "../protocol/rpc.ts";
import { readText, textParts } from "./body.ts";
import { eventData } from "./event-stream.ts";
import { parseJson } from "./json-depth.ts";
import { PeerFailure, type PeerRequest } from "./peer-client.ts";
import type { Authorize } from "./upstream-auth.ts";

interface Session {
  /** Absent where the server keeps no sessions. */
  readonly id: string | null;
  readonly version: string;
}

const newestVersion = "2025-11-25";
const spokenVersions = new Set(["2025-03-26", "2025-06-18", newestVersion]);
const maxHandshake = 1024 * 1024;
/** Milliseconds. */
const cancelWithin = 2_000;

/** Speaks MCP up to 2025-11-25 with one server: one handshake, one session for all calls, renewed when the server has lost it. */
export class LegacyUpstream {
  readonly #url: string;
  readonly #fetch: (request: Request) => Promise<Response>;
  readonly #authorize: Authorize;
  #session: Promise<Session> | undefined;

  constructor(url: string, fetch: (request: Request) => Promise<Response>, authorize: Authorize) {
    this.#url = url;
    this.#fetch = fetch;
    this.#authorize = authorize;
  }

  /** Sends a request; its answer comes as the server gives it, JSON or a stream. */
  async send(request: PeerRequest, signal: AbortSignal): Promise<Response> {
    const { method, params, callId, meta, onProgress } = request;
    const _meta = { ...meta, ...(onProgress && { progressToken: callId }) };
    const message = { jsonrpc: "2.0", id: callId, method, params: { ...params, _meta } };
    const session = await this.#open(request, signal);
    signal.addEventListener("abort", () => void this.#cancel(callId, session), { once: true });
    const response = await this.#post(message, session, signal);
    // Sent only to a session that is gone: the specification asks for a new handshake.
    if (response.status !== 404 || session.id === null) return response;
    await response.body?.cancel();
    this.#session = undefined;
    return await this.#post(message, await this.#open(request, signal), signal);
  }

  /** Leaving is no cancellation in this era: the server has to be told. A server that cannot be told goes on for nobody. */
  async #cancel(requestId: string, session: Session): Promise<void> {
    const message = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId } };
    try {
      const response = await this.#post(message, session, AbortSignal.timeout(cancelWithin));
      await response.body?.cancel();
    } catch (cause) {
      console.error(JSON.stringify({ error: "an upstream could not be told of a cancellation", cause: String(cause) }));
    }
  }

  async #open(request: PeerRequest, signal: AbortSignal): Promise<Session> {
    this.#session ??= this.#handshake(request, signal).catch((cause: unknown) => {
      this.#session = undefined;
      throw cause;
    });
    return await this.#session;
  }

  async #handshake({ peer }: PeerRequest, signal: AbortSignal): Promise<Session> {
    const id = crypto.randomUUID();
    const params = {
      protocolVersion: newestVersion,
      // Nothing: what a server asks back in mid-call could not be brought to the caller of a stateless node.
      capabilities: {},
      clientInfo: { name: "ai-federation", version: newestVersion },
    };
    const response = await this.#post({ jsonrpc: "2.0", id, method: "initialize", params }, undefined, signal);
    if (response.status === 401 || response.status === 403) {
      await response.body?.cancel();
      throw new PeerFailure(peer, "refused this node's credentials", { sample: "answer" });
    }
    const result = await readResult(response, id);
    const version = result?.["protocolVersion"];
    if (typeof version !== "string")
      throw new PeerFailure(peer, `answered the MCP handshake with HTTP ${response.status} and no protocol version`);
    if (!spokenVersions.has(version))
      throw new PeerFailure(peer, `speaks MCP ${version.slice(0, 40)}, which this node does not`, { sample: "answer" });
    const session = { id: response.headers.get("mcp-session-id"), version };
    const ready = await this.#post({ jsonrpc: "2.0", method: "notifications/initialized" }, session, signal);
    await ready.body?.cancel();
    return session;
  }

  async #post(message: Fields, session: Session | undefined, signal: AbortSignal): Promise<Response> {
    return await this.#fetch(
      new Request(this.#url, {
        method: "POST",
        headers: {
          ...(await this.#authorize(signal)),
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          ...(session && { "mcp-protocol-version": session.version }),
          ...(session?.id && { "mcp-session-id": session.id }),
        },
        body: JSON.stringify(message),
        redirect: "manual",
        signal,
      }),
    );
  }
}

async function readResult(response: Response, id: string): Promise<Fields | undefined> {
  if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
    for await (const data of eventData(textParts(response, maxHandshake))) {
      const result = resultIn(data, id);
      if (result) return result;
    }
    return undefined;
  }
  return resultIn(await readText(response, maxHandshake), id);
}

function resultIn(text: string, id: string): Fields | undefined {
  try {
    const message = parseJson(text);
    return isFields(message) && message["id"] === id && isFields(message["result"]) ? message["result"] : undefined;
  } catch {
    return undefined;
  }
}
