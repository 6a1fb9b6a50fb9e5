import { defineProtocol } from "../protocol.ts";
import { serveSocket } from "./serve-socket.ts";
import { isUpgrade } from "./socket.ts";

const subprotocol = "mcp";
/** A browser cannot set headers on a handshake; what it can set are subprotocols, which stay out of URLs and so out of logs. */
const bearer = "bearer.";

/** MCP 2026-07-28 over a WebSocket at `/mcp`: one JSON-RPC message in each text frame. */
export const webSocketProtocol = defineProtocol({
  name: "websocket",
  match: (request) => isUpgrade(request) && new URL(request.url).pathname === "/mcp",
  token: (request) =>
    offered(request)
      .find((name) => name.startsWith(bearer))
      ?.slice(bearer.length),
  async serve(request, context) {
    if (!context.upgrade)
      return refusal(501, "this node's platform has no WebSocket; send each message with POST to the same URL");
    if (!offered(request).includes(subprotocol))
      return refusal(400, `the handshake must offer the subprotocol ${subprotocol} (Sec-WebSocket-Protocol)`);
    const { response, socket } = context.upgrade(request, subprotocol);
    serveSocket(socket, context);
    return response;
  },
});

function offered(request: Request): readonly string[] {
  const names = request.headers.get("sec-websocket-protocol") ?? "";
  return names.split(",").map((name) => name.trim());
}

function refusal(status: number, error: string): Response {
  return Response.json({ error }, { status, headers: { "cache-control": "no-store" } });
}
