import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";

/** Answers one request. A throw becomes a bare 500, and the error goes to `onError`. */
export type FetchHandler = (request: Request) => Promise<Response>;

export interface ServeOptions {
  readonly hostname: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Scheme and authority of the requests the handler sees: the public ones, whatever a proxy put in `Host`. */
  readonly origin: string;
  /** Told about faults of the handler and of response streams; requests are answered all the same. */
  onError(error: unknown): void;
}

export interface HttpServer {
  readonly port: number;
  /** Stops accepting, lets requests finish for up to `graceMs` milliseconds, then aborts the rest. */
  close(graceMs: number): Promise<void>;
}

/** Bodies up to this size whose length is announced are read before the handler starts: cheaper than a stream. */
const smallBody = 65_536;
/** Longer than the idle time of the proxies in front, so that they close first and never reuse a dying connection. */
const keepAliveMs = 75_000;

/** Serves a fetch handler over `node:http`: bodies stream both ways, and a client that leaves aborts `request.signal`. */
export async function serve(handler: FetchHandler, options: ServeOptions): Promise<HttpServer> {
  const inFlight = new Set<AbortController>();
  let closing = false;
  const server = createServer({ keepAliveTimeout: keepAliveMs }, (incoming, outgoing) => {
    const abort = new AbortController();
    inFlight.add(abort);
    if (closing) outgoing.shouldKeepAlive = false;
    outgoing.once("close", () => {
      inFlight.delete(abort);
      if (!outgoing.writableFinished) abort.abort(new Error("the client left before the response was complete"));
      if (closing) server.closeIdleConnections();
    });
    answer(handler, incoming, outgoing, abort.signal, options).catch((error: unknown) => {
      if (!abort.signal.aborted) options.onError(error);
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(500, { "content-type": "text/plain" }).end("internal error\n");
    });
  });
  server.listen(options.port, options.hostname);
  await once(server, "listening");

  return {
    port: (server.address() as AddressInfo).port,
    async close(graceMs) {
      closing = true;
      const closed = once(server, "close");
      server.close();
      const deadline = setTimeout(() => {
        for (const abort of inFlight) abort.abort(new Error("the server is shutting down"));
        server.closeAllConnections();
      }, graceMs);
      await closed;
      clearTimeout(deadline);
    },
  };
}

async function answer(
  handler: FetchHandler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  signal: AbortSignal,
  options: ServeOptions,
): Promise<void> {
  const response = await handler(await toRequest(incoming, signal, options.origin));
  if (outgoing.destroyed) {
    await response.body?.cancel(signal.reason);
    return;
  }
  const cookies = response.headers.getSetCookie();
  for (const [name, value] of response.headers) if (name !== "set-cookie") outgoing.setHeader(name, value);
  if (cookies.length > 0) outgoing.setHeader("set-cookie", cookies);
  outgoing.writeHead(response.status);
  if (incoming.method === "HEAD" || !response.body) {
    await response.body?.cancel();
    outgoing.end();
    return;
  }
  await pump(response.body, outgoing, signal);
}

async function toRequest(incoming: IncomingMessage, signal: AbortSignal, origin: string): Promise<Request> {
  const headers = new Headers();
  for (let n = 0; n < incoming.rawHeaders.length; n += 2) {
    headers.append(incoming.rawHeaders[n] as string, incoming.rawHeaders[n + 1] as string);
  }
  const method = incoming.method ?? "GET";
  const url = origin + pathOf(incoming.url ?? "/");
  const length = Number(
    incoming.headers["content-length"] ?? (incoming.headers["transfer-encoding"] ? Number.POSITIVE_INFINITY : 0),
  );
  if (method === "GET" || method === "HEAD" || length === 0) return new Request(url, { method, headers, signal });
  if (length <= smallBody) return new Request(url, { method, headers, signal, body: await readAll(incoming, length) });
  const body = Readable.toWeb(incoming) as ReadableStream<Uint8Array>;
  return new Request(url, { method, headers, signal, body, duplex: "half" } as RequestInit);
}

/** The path of a request target, which RFC 9112 allows to be a whole URL (or `*`). Never parsed against the origin: `//host` is a path. */
function pathOf(target: string): string {
  if (target.startsWith("/")) return target;
  if (!URL.canParse(target)) return "/";
  const url = new URL(target);
  return url.pathname + url.search;
}

async function readAll(incoming: IncomingMessage, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const body = new Uint8Array(length);
  let offset = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

async function pump(body: ReadableStream<Uint8Array>, outgoing: ServerResponse, signal: AbortSignal): Promise<void> {
  const reader = body.getReader();
  // A source that is waiting for data would never notice the client's end by itself.
  const cancel = (): void => void reader.cancel(signal.reason).catch(() => undefined);
  signal.addEventListener("abort", cancel, { once: true });
  for (;;) {
    const { done, value } = await reader.read();
    if (done || signal.aborted) break;
    if (!outgoing.write(value)) await drained(outgoing, signal);
  }
  signal.removeEventListener("abort", cancel);
  outgoing.end();
}

function drained(outgoing: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    outgoing.once("drain", done);
    signal.addEventListener("abort", () => done(), { once: true });
  });
}
