import { type Fields, isFields, type RpcError } from "./rpc.ts";

/** A JSON-RPC response and its HTTP status, which a stream that has begun can no longer tell. */
export interface Reply {
  readonly status: number;
  readonly message: Fields;
}

/** Sends one message, a notification or a question to the client, ahead of the response. */
export type Send = (message: Fields) => void;

/**
 * Answers with plain JSON, or, from the first other message on, with a stream of events.
 * `work` gets a signal that also knows when the client drops the stream.
 */
export async function reply(
  request: Pick<Request, "signal">,
  work: (send: Send, signal: AbortSignal) => Promise<Reply>,
): Promise<Response | Reply> {
  const left = new AbortController();
  const leave = () => left.abort(request.signal.reason);
  if (request.signal.aborted) leave();
  request.signal.addEventListener("abort", leave, { once: true });
  let stream: EventStream | undefined;
  let open!: (opened: EventStream) => void;
  const opened = new Promise<EventStream>((resolve) => (open = resolve));

  const finished = work((message) => {
    if (!stream) open((stream = eventStream((reason) => left.abort(reason))));
    stream.send(message);
  }, left.signal).finally(() => request.signal.removeEventListener("abort", leave));
  const first = await Promise.race([finished, opened]);
  if ("message" in first) return first;
  void finished.then(
    ({ message }) => {
      first.send(message);
      first.close();
    },
    (cause: unknown) => first.fail(cause),
  );
  return first.response;
}

/** A response of server-sent events (WHATWG HTML). Sending after its end is no error: who left, left. */
export interface EventStream {
  readonly response: Response;
  send(message: Fields): void;
  /** A comment, which keeps the connection alive. */
  ping(): void;
  close(): void;
  fail(cause: unknown): void;
}

/** `onLeave` is told when the client drops the stream. */
export function eventStream(onLeave: (reason: unknown) => void): EventStream {
  const encoder = new TextEncoder();
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  let ended = false;
  const body = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel(reason) {
      ended = true;
      onLeave(reason);
    },
  });
  const write = (text: string) => {
    if (!ended) controller.enqueue(encoder.encode(text));
  };
  const end = (how: () => void) => {
    if (!ended) how();
    ended = true;
  };
  return {
    response: new Response(body, { headers: { "content-type": "text/event-stream", "x-accel-buffering": "no" } }),
    send: (message) => write(`event: message\ndata: ${JSON.stringify(message)}\n\n`),
    ping: () => write(": keep-alive\n\n"),
    close: () => end(() => controller.close()),
    fail: (cause) => end(() => controller.error(cause)),
  };
}

/** True when the client takes a stream instead of JSON. */
export function takesEvents(request: { readonly headers: Pick<Headers, "get"> }): boolean {
  return /text\/event-stream|\*\/\*/.test(request.headers.get("accept") ?? "");
}

const statuses: Readonly<Record<number, number>> = { [-32020]: 400, [-32021]: 400, [-32022]: 400, [-32601]: 404 };

/** A fault as a JSON-RPC response. `modern` clients read the HTTP status too (MCP 2026-07-28, transports). */
export function faultReply(id: unknown, cause: RpcError, modern: boolean): Reply {
  const { code, message, data } = cause;
  const error = { code, message, ...(data !== undefined && { data }) };
  return { status: (modern ? statuses[code] : undefined) ?? 200, message: { jsonrpc: "2.0", id, error } };
}

export function resultReply(id: unknown, result: Fields): Reply {
  return { status: 200, message: { result, jsonrpc: "2.0", id } };
}

/** The token under which the caller wants progress; undefined when it does not. */
export function progressTokenOf(meta: unknown): string | number | undefined {
  const token = isFields(meta) ? meta["progressToken"] : undefined;
  return typeof token === "string" || typeof token === "number" ? token : undefined;
}
