import { defineFunction, defineProtocol, RpcError } from "../../../../functions/node/define.ts";

/** Codes of the Connect protocol and their HTTP statuses, by the node's own codes. https://connectrpc.com/docs/protocol */
const codes: Readonly<Record<number, readonly [code: string, status: number]>> = {
  [-32602]: ["invalid_argument", 400],
  429: ["resource_exhausted", 429],
  502: ["unavailable", 503],
  503: ["unavailable", 503],
  504: ["deadline_exceeded", 504],
};

/** Tools for clients of Connect: its unary calls, in JSON. No protobuf, no streams. */
const connect = defineProtocol({
  name: "connect",
  match: ({ url }) => new URL(url).pathname.startsWith("/federation.v1.Tools/"),
  async serve(request, { answer, callId }) {
    if (request.method !== "POST") return new Response(null, { status: 405, headers: { allow: "POST" } });
    if (!/^application\/json\b/.test(request.headers.get("content-type") ?? ""))
      return new Response(null, { status: 415, headers: { "accept-post": "application/json" } });
    const timeout = Number(request.headers.get("connect-timeout-ms") ?? Number.NaN);
    const signal = timeout > 0 ? AbortSignal.any([request.signal, AbortSignal.timeout(timeout)]) : request.signal;
    try {
      const message = (await request.json()) as { name?: unknown; arguments?: unknown };
      switch (new URL(request.url).pathname.split("/")[2]) {
        case "List": {
          const { tools } = await answer("tools/list", {}, { signal });
          return Response.json({ tools });
        }
        case "Call": {
          const params = { name: message.name, arguments: message.arguments ?? {} };
          const { content, structuredContent, isError = false } = await answer("tools/call", params, { signal });
          return Response.json({ content, structuredContent, isError });
        }
        default:
          return fault("unimplemented", 501, "the service has List and Call", callId);
      }
    } catch (cause) {
      if (cause instanceof SyntaxError) return fault("invalid_argument", 400, "the message is not JSON", callId);
      if (!(cause instanceof RpcError)) throw cause;
      if (signal.aborted && !request.signal.aborted) return fault("deadline_exceeded", 504, "out of time", callId);
      const [code, status] = codes[cause.code] ?? ["internal", 500];
      return fault(code, status, cause.message, callId);
    }
  },
});

function fault(code: string, status: number, message: string, callId: string): Response {
  return Response.json({ code, message }, { status, headers: { "federation-call-id": callId } });
}

export default defineFunction({ name: "connect", protocols: [connect] });
