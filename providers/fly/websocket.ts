import "./require.ts";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { WebSocket, WebSocketServer } from "ws";
import type { Platform } from "../../functions/node/platform.ts";
import { maxMessage } from "../../functions/node/protocol/websocket/socket.ts";

/** What `node:http` gives for a request that asks to leave HTTP. */
export interface Handshake {
  readonly incoming: IncomingMessage;
  readonly socket: Socket;
  readonly head: Buffer;
}

/** Keeps connections alive through proxies, and finds dead ones: a socket that did not answer the last ping is ended. Milliseconds. */
const pingEvery = 30_000;

/** The WebSockets of one server. */
export class WebSockets {
  #server: WebSocketServer | undefined;
  readonly #handshakes = new WeakMap<Request, Handshake>();
  readonly #upgraded = new WeakSet<Response>();

  /** Remembers whose handshake the handler is about to be asked about. The first one loads `ws`, which no start has to wait for. */
  async offer(request: Request, handshake: Handshake): Promise<void> {
    const { WebSocketServer } = await import("ws");
    this.#server ??= new WebSocketServer({ noServer: true, maxPayload: maxMessage, perMessageDeflate: false });
    this.#handshakes.set(request, handshake);
  }

  /** Is this the answer of a request that was accepted, and so already on the wire? */
  accepted(response: Response): boolean {
    return this.#upgraded.has(response);
  }

  /** `Platform.upgrade` of a node behind this server. */
  readonly upgrade: NonNullable<Platform["upgrade"]> = (request, subprotocol) => {
    const handshake = this.#handshakes.get(request);
    if (!handshake || !this.#server) throw new Error("the request is no WebSocket handshake");
    this.#server.options.handleProtocols = () => subprotocol;
    let accepted: WebSocket | undefined;
    // Without an asynchronous check of the client, `ws` answers before it returns.
    this.#server.handleUpgrade(handshake.incoming, handshake.socket, handshake.head, (socket) => (accepted = socket));
    if (!accepted) throw new Error("the WebSocket handshake could not be answered");
    keepAlive(accepted);
    const response = new Response(null);
    this.#upgraded.add(response);
    return { response, socket: accepted };
  };

  /** Tells every client that the server goes away; who does not answer is cut off after `graceMs` milliseconds. */
  close(graceMs: number): void {
    const clients = this.#server?.clients ?? [];
    for (const socket of clients) socket.close(1001, "the node is shutting down");
    setTimeout(() => {
      for (const socket of clients) socket.terminate();
    }, graceMs).unref();
  }
}

/** Does the request ask for a WebSocket? */
export function isHandshake({ method, headers }: IncomingMessage): boolean {
  return method === "GET" && headers.upgrade?.toLowerCase() === "websocket";
}

/** What makes a handshake one that `ws` takes (RFC 6455, 4.2.1): undefined, or the status and headers to refuse it with. */
export function handshakeFault({
  headers,
}: IncomingMessage): { readonly status: number; readonly headers: Record<string, string> } | undefined {
  if (headers["sec-websocket-version"] !== "13") return { status: 426, headers: { "sec-websocket-version": "13" } };
  if (!/^[+/0-9A-Za-z]{22}==$/.test(headers["sec-websocket-key"] ?? "")) return { status: 400, headers: {} };
  return undefined;
}

function keepAlive(socket: WebSocket): void {
  let alive = true;
  socket.on("pong", () => (alive = true));
  const timer = setInterval(() => {
    if (!alive) return socket.terminate();
    alive = false;
    socket.ping();
  }, pingEvery);
  socket.on("close", () => clearInterval(timer));
}
