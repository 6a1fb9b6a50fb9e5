import type { Platform } from "../../functions/node/platform.ts";
import type { Socket } from "../../functions/node/protocol/websocket/socket.ts";

declare const Deno: {
  upgradeWebSocket(
    request: Request,
    options: { readonly protocol: string; readonly idleTimeout: number },
  ): { readonly response: Response; readonly socket: Socket };
};

/** Seconds of silence after which Deno pings the client, and then closes. */
const idleTimeout = 30;

/** Deno upgrades only the request that it made, and the node sees another one: the same with its path below the function's. */
const incoming = new WeakMap<Request, Request>();

/** Remembers which of Deno's requests stands behind the node's. */
export function standFor(inner: Request, outer: Request): Request {
  incoming.set(inner, outer);
  return inner;
}

/** Accepts a WebSocket handshake. */
export const upgrade: NonNullable<Platform["upgrade"]> = (request, protocol) =>
  Deno.upgradeWebSocket(incoming.get(request) ?? request, { protocol, idleTimeout });
