import { createServer, ServerResponse } from "node:http";
import type { IncomingMessage } from "node:http";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import { type PlainResponse, type PostRequest, shortBody } from "../../functions/node/platform.ts";
import { headersOf, readBody, send } from "./post.ts";
import { type Handshake, handshakeFault, isHandshake, type WebSockets } from "./websocket.ts";

/** Answers one request. A throw becomes a bare 500, and the error goes to `onError`. */
export type FetchHandler = (request: Request) => Promise<Response>;

/** Answers a `POST` to `path` whose body is short, without the cost of the objects that {@link FetchHandler} needs. */
export interface PostHandler {
  readonly path: string;
  post(request: PostRequest): Promise<PlainResponse | Response>;
}

export interface ServeOptions {
  readonly hostname: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Scheme and authority of the requests the handler sees: the public ones, whatever a proxy put in `Host`. */
  readonly origin: string;
  readonly posts?: PostHandler;
  /** Told about faults of the handler and of response streams; requests are answered all the same. */
  onError(error: unknown): void;
  /** Takes the handshakes that the handler accepts; without it a handshake is a request like any other. */
  readonly sockets?: WebSockets;
}

export interface HttpServer {
  readonly port: number;
  /** Stops accepting, lets requests finish for up to `graceMs` milliseconds, then aborts the rest. */
  close(graceMs: number): Promise<void>;
}

/** Longer than the idle time of the proxies in front, so that they close first and never reuse a dying connection. */
const keepAliveMs = 75_000;

/** Serves a fetch handler over `node:http`: bodies stream both ways, and a client that leaves aborts `request.signal`. */
export async function serve(handler: FetchHandler, options: ServeOptions): Promise<HttpServer> {
  const inFlight = new Set<Leaving>();
  let closing = false;
  const { sockets } = options;
  const take = (incoming: IncomingMessage, outgoing: ServerResponse, handshake?: Handshake): void => {
    const abort = new Leaving();
    inFlight.add(abort);
    // An accepted handshake leaves its response without an end.
    handshake?.socket.once("close", () => inFlight.delete(abort));
    if (closing) outgoing.shouldKeepAlive = false;
    outgoing.once("close", () => {
      inFlight.delete(abort);
      if (!outgoing.writableFinished) abort.abort(new Error("the client left before the response was complete"));
      if (closing) server.closeIdleConnections();
    });
    answer(handler, incoming, outgoing, abort, options, handshake).catch((error: unknown) => {
      if (!abort.left) options.onError(error);
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(500, { "content-type": "text/plain" }).end("internal error\n");
    });
  };
  const server = createServer(
    { keepAliveTimeout: keepAliveMs, ...(sockets && { shouldUpgradeCallback: isHandshake }) },
    (incoming, outgoing) => take(incoming, outgoing),
  );
  if (sockets)
    server.on("upgrade", (incoming, socket: Socket, head) => {
      const outgoing = new ServerResponse(incoming);
      outgoing.shouldKeepAlive = false;
      outgoing.assignSocket(socket);
      outgoing.once("finish", () => socket.end());
      socket.on("error", () => socket.destroy());
      take(incoming, outgoing, { incoming, socket, head });
    });
  server.listen(options.port, options.hostname);
  await once(server, "listening");

  return {
    port: (server.address() as AddressInfo).port,
    async close(graceMs) {
      closing = true;
      const closed = once(server, "close");
      sockets?.close(graceMs);
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
  leaving: Leaving,
  options: ServeOptions,
  handshake: Handshake | undefined,
): Promise<void> {
  const { posts, origin } = options;
  if (posts && isShortPost(incoming, posts.path)) {
    const headers = headersOf(incoming);
    const body = await readBody(incoming);
    const response = await posts.post({
      headers,
      body,
      get signal() {
        return leaving.signal;
      },
      toRequest: () =>
        new Request(origin + posts.path, { ...allHeaders(incoming), method: "POST", body, signal: leaving.signal }),
    });
    return response instanceof Response
      ? await sendResponse(response, incoming, outgoing, leaving.signal)
      : send(outgoing, response);
  }
  const { signal } = leaving;
  const fault = handshake && handshakeFault(incoming);
  if (fault) return void outgoing.writeHead(fault.status, fault.headers).end();
  const request = await toRequest(incoming, signal, options.origin);
  if (handshake) await options.sockets?.offer(request, handshake);
  const response = await handler(request);
  if (handshake && options.sockets?.accepted(response)) return outgoing.detachSocket(handshake.socket);
  await sendResponse(response, incoming, outgoing, signal);
}

function isShortPost({ method, url, headers }: IncomingMessage, path: string): boolean {
  return method === "POST" && url === path && Number(headers["content-length"]) <= shortBody;
}

async function sendResponse(
  response: Response,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
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

/** Whether the client of a request has left; the signal that says so is made only when somebody asks for it. */
class Leaving {
  #controller: AbortController | undefined;
  #reason: Error | undefined;

  get left(): boolean {
    return this.#reason !== undefined;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort(reason: Error): void {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
  }
}

function allHeaders({ rawHeaders }: IncomingMessage): { readonly headers: Headers } {
  const headers = new Headers();
  for (let n = 0; n < rawHeaders.length; n += 2) headers.append(rawHeaders[n] as string, rawHeaders[n + 1] as string);
  return { headers };
}

async function toRequest(incoming: IncomingMessage, signal: AbortSignal, origin: string): Promise<Request> {
  const { headers } = allHeaders(incoming);
  const method = incoming.method ?? "GET";
  const url = origin + pathOf(incoming.url ?? "/");
  const length = Number(
    incoming.headers["content-length"] ?? (incoming.headers["transfer-encoding"] ? Number.POSITIVE_INFINITY : 0),
  );
  if (method === "GET" || method === "HEAD" || length === 0) return new Request(url, { method, headers, signal });
  if (length <= shortBody) return new Request(url, { method, headers, signal, body: await readAll(incoming, length) });
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
