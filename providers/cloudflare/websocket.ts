import type { Platform } from "../../functions/node/platform.ts";
import type { Socket } from "../../functions/node/protocol/websocket/socket.ts";

/** A socket that a Worker ends itself. https://developers.cloudflare.com/workers/runtime-apis/websockets/ */
interface WorkerSocket extends Socket {
  accept(): void;
}

declare const WebSocketPair: new () => { readonly 0: unknown; readonly 1: WorkerSocket };

/** Accepts a WebSocket handshake: one end goes to the client with the response, the other is the node's. */
export const upgrade: NonNullable<Platform["upgrade"]> = (_request, subprotocol) => {
  const { 0: client, 1: socket } = new WebSocketPair();
  socket.accept();
  const headers = { "sec-websocket-protocol": subprotocol };
  const response = new Response(null, { status: 101, webSocket: client, headers } as ResponseInit);
  return { response, socket };
};
