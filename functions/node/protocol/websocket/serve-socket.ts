import { textParts } from "../../federation/body.ts";
import { eventData } from "../../federation/event-stream.ts";
import { parseJson } from "../../federation/json-depth.ts";
import { Unauthorized } from "../../security/unauthorized.ts";
import type { ProtocolContext } from "../protocol.ts";
import { code, type Fields, isFields } from "../rpc.ts";
import { isRequestId, type RequestId, toHttp } from "./message.ts";
import { closeCode, maxMessage, type Socket } from "./socket.ts";

/** Calls of one socket that run at the same time. */
const maxInFlight = 32;
/** Characters of the messages that ask for them. */
const maxPending = 16 * 1024 * 1024;
/** Answers wait while more bytes than this wait to be sent. */
const fullAt = 1024 * 1024;
/** A client that lets more than this pile up does not read. */
const maxBuffered = 16 * 1024 * 1024;
/** Milliseconds between looks at a send buffer that is full. */
const drainEvery = 20;
/** How often calls under way are held against a newer manifest, in milliseconds. New messages are at once. */
const checkEvery = 10_000;
/** The longest time a timer takes, about 25 days. */
const maxTimer = 2 ** 31 - 1;

/**
 * Serves MCP messages on an open socket until either side ends it. Each request is served as the `POST` that it would have been,
 * so that there is no second path through handshakes, policy or relay.
 */
export function serveSocket(socket: Socket, context: ProtocolContext): void {
  const inFlight = new Map<RequestId, AbortController>();
  let pending = 0;
  let open = true;
  const expiry = setTimeout(
    () => end(closeCode.unauthorized, "the token has expired"),
    Math.min(context.expires - Date.now(), maxTimer),
  );
  const watch = setInterval(() => {
    if (inFlight.size > 0) context.check().catch(fail);
  }, checkEvery);

  socket.addEventListener("message", ({ data }) => {
    if (open) receive(data);
  });
  socket.addEventListener("close", stop);
  socket.addEventListener("error", stop);

  function receive(data: unknown): void {
    if (typeof data !== "string") return end(closeCode.unsupportedData, "messages are text");
    if (isTooLarge(data)) return end(closeCode.tooLarge, `a message has at most ${maxMessage} bytes`);
    let message: unknown;
    try {
      message = parseJson(data);
    } catch {
      return sendError(null, code.parse, "Parse error: the message is not JSON");
    }
    if (!isFields(message) || message["jsonrpc"] !== "2.0")
      return sendError(null, code.invalidRequest, "Invalid request: one JSON-RPC 2.0 object in each message");
    const { id, method } = message;
    if (method === "notifications/cancelled") return cancel(message["params"]);
    // Other notifications and answers: nothing here waits for one.
    if (id === undefined || method === undefined) return;
    if (!isRequestId(id) || typeof method !== "string")
      return sendError(null, code.invalidRequest, "Invalid request: id or method has the wrong type");
    if (inFlight.has(id)) return sendError(id, code.invalidRequest, "Invalid request: the id is in use");
    if (inFlight.size >= maxInFlight || pending + data.length > maxPending) {
      const limit = `at most ${maxInFlight} calls with ${maxPending} characters run on one socket`;
      return sendError(id, code.unavailable, limit, { retryable: true });
    }
    const controller = new AbortController();
    inFlight.set(id, controller);
    pending += data.length;
    ask(id, method, data, message, controller.signal)
      .catch((cause: unknown) => fail(cause, id))
      .finally(() => {
        inFlight.delete(id);
        pending -= data.length;
      });
  }

  async function ask(id: RequestId, method: string, text: string, message: Fields, signal: AbortSignal): Promise<void> {
    const request = toHttp(`${context.url}/mcp`, method, text, message, signal);
    if (!request) return sendError(id, code.methodNotFound, "Method not found");
    const response = await context.mcp(request);
    const streamed = response.headers.get("content-type")?.startsWith("text/event-stream");
    const parts = textParts(response, Number.POSITIVE_INFINITY);
    for await (const answer of streamed ? eventData(parts) : whole(parts)) {
      // Not reading on is what holds the source back while the client is slow.
      while (!signal.aborted && (socket.bufferedAmount ?? 0) > fullAt)
        await new Promise((done) => setTimeout(done, drainEvery));
      // Nobody waits for the answer of a cancelled call.
      if (signal.aborted) return;
      send(answer);
    }
  }

  function cancel(params: unknown): void {
    const id = isFields(params) ? params["requestId"] : undefined;
    if (isRequestId(id)) inFlight.get(id)?.abort(new Error("the caller cancelled the request"));
  }

  function fail(cause: unknown, id: RequestId | null = null): void {
    if (!open) return;
    if (cause instanceof Unauthorized) return end(closeCode.unauthorized, cause.message);
    if (id !== null && inFlight.get(id)?.signal.aborted) return;
    console.error(
      JSON.stringify({ error: "a message failed", cause: cause instanceof Error ? cause.stack : String(cause) }),
    );
    if (id !== null) sendError(id, code.internal, "Internal error");
  }

  function sendError(id: RequestId | null, errorCode: number, message: string, data?: Fields): void {
    send(JSON.stringify({ jsonrpc: "2.0", id, error: { code: errorCode, message, ...(data && { data }) } }));
  }

  function send(text: string): void {
    if (!open) return;
    socket.send(text);
    if ((socket.bufferedAmount ?? 0) > maxBuffered) end(closeCode.policy, "the client does not read what it is sent");
  }

  function end(closing: number, reason: string): void {
    stop();
    // A reason has at most 123 bytes (RFC 6455).
    socket.close(closing, reason.replace(/[^\x20-\x7e]/g, "?").slice(0, 123));
  }

  function stop(): void {
    open = false;
    clearTimeout(expiry);
    clearInterval(watch);
    for (const controller of inFlight.values()) controller.abort(new Error("the socket was closed"));
  }
}

/** Counts bytes only where the number of characters leaves it open. */
function isTooLarge(text: string): boolean {
  return (
    text.length > maxMessage || (text.length * 3 > maxMessage && new TextEncoder().encode(text).length > maxMessage)
  );
}

async function* whole(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let text = "";
  for await (const part of parts) text += part;
  if (text !== "") yield text;
}
