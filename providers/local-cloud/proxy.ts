import {
  Agent,
  request,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
  type ServerResponse,
} from "node:http";
import { pipeline, type Duplex } from "node:stream";
import type { Route, Runtime } from "./emulator.ts";
import { isCode } from "./process.ts";

/** Finds the runtime of a route; waits for one that is being restarted. */
export type Locate = (runtime: string) => Promise<Runtime | undefined>;

/** Passes requests of the data plane to runtimes on loopback ports: bodies stream both ways, nothing is buffered. */
export interface Proxy {
  forward(route: Route, locate: Locate, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void>;
  /** The same for a WebSocket handshake: afterwards the two sockets are joined. */
  upgrade(route: Route, locate: Locate, incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
  close(): void;
}

/** Answers a problem with a request in JSON. */
export type Refuse = (outgoing: ServerResponse, status: number, message: string) => void;

// RFC 9110 7.6.1, and Expect: the front has answered it with 100 itself.
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
]);
/** Tries after a runtime refused the connection because it went down a moment ago. */
const connectAttempts = 3;

export function createProxy(refuse: Refuse): Proxy {
  // Idle connections end before the 5 s after which Node.js servers close them, or a request could meet the close.
  const agent = new Agent({ keepAlive: true, timeout: 4_000 });
  return { forward, upgrade, close: () => agent.destroy() };

  async function forward(
    route: Route,
    locate: Locate,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    attempt = 1,
  ): Promise<void> {
    const runtime = await locate(route.runtime);
    if (outgoing.destroyed) return;
    if (!runtime) return refuse(outgoing, 503, `runtime ${route.runtime} does not serve; its log says why`);
    const headers = endToEnd(incoming);
    if (incoming.headers["transfer-encoding"] !== undefined) headers.push("Transfer-Encoding", "chunked");
    const upstream = request(target(route, runtime, incoming, headers, agent));
    const abort = () => upstream.destroy();
    outgoing.once("close", abort);
    upstream.once("error", (error) => {
      outgoing.off("close", abort);
      if (outgoing.destroyed) return;
      if (outgoing.headersSent) outgoing.destroy(error);
      // Nothing was sent yet, so another try cannot run a call twice.
      else if (isCode(error, "ECONNREFUSED") && attempt < connectAttempts)
        setTimeout(() => void forward(route, locate, incoming, outgoing, attempt + 1), 50);
      else refuse(outgoing, 502, `runtime ${route.runtime} ended the request without an answer (${error.message})`);
    });
    upstream.once("response", (response) => {
      outgoing.writeHead(response.statusCode!, response.statusMessage, endToEnd(response));
      outgoing.flushHeaders();
      pipeline(response, outgoing, () => undefined); // destroys the other side when one fails; nothing is left to answer
    });
    sendOnceConnected(upstream, incoming);
  }

  async function upgrade(
    route: Route,
    locate: Locate,
    incoming: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): Promise<void> {
    socket.on("error", () => socket.destroy());
    const runtime = await locate(route.runtime);
    if (socket.destroyed) return;
    if (!runtime)
      return void socket.end("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    const headers = [...endToEnd(incoming), "Connection", "Upgrade", "Upgrade", incoming.headers.upgrade!];
    const upstream = request(target(route, runtime, incoming, headers, false));
    const abort = () => upstream.destroy();
    socket.once("close", abort);
    upstream.once("error", () =>
      socket.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    );
    upstream.once("upgrade", (response: IncomingMessage, other: Duplex, otherHead: Buffer) => {
      socket.off("close", abort);
      socket.write(
        headLines(response, [...endToEnd(response), "Connection", "Upgrade", "Upgrade", response.headers.upgrade!]),
      );
      if (otherHead.length > 0) socket.write(otherHead);
      if (head.length > 0) other.write(head);
      pipeline(socket, other, () => other.destroy());
      pipeline(other, socket, () => socket.destroy());
    });
    upstream.once("response", (response) => {
      socket.write(headLines(response, [...endToEnd(response), "Connection", "close"]));
      pipeline(response, socket, () => socket.destroy());
    });
    upstream.end();
  }
}

function target(
  { path }: Route,
  { port }: Runtime,
  { method }: IncomingMessage,
  headers: string[],
  agent: Agent | false,
): RequestOptions {
  return { host: "127.0.0.1", port, method: method!, path, headers, agent };
}

/** Leaves the body unread until there is a connection, so that a refused connection can be tried again. */
function sendOnceConnected(upstream: ClientRequest, incoming: IncomingMessage): void {
  upstream.once("socket", (socket) => {
    if (socket.connecting) socket.once("connect", () => incoming.pipe(upstream));
    else incoming.pipe(upstream);
  });
}

/** The headers that are for the other end, flat as in `rawHeaders`: order, case and repetitions stay. */
function endToEnd({ rawHeaders, headers }: IncomingMessage): string[] {
  const named = new Set((headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase()));
  const kept: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    if (!hopByHop.has(name) && !named.has(name)) kept.push(rawHeaders[i]!, rawHeaders[i + 1]!);
  }
  return kept;
}

function headLines(response: IncomingMessage, headers: readonly string[]): string {
  let lines = `HTTP/1.1 ${response.statusCode} ${response.statusMessage}\r\n`;
  for (let i = 0; i < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${lines}\r\n`;
}
