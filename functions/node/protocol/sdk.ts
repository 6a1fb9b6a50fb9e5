import { createMcpHandler, Server } from "@modelcontextprotocol/server";
import type { Answer } from "./answer.ts";
import type { Call } from "./call.ts";
import { type Era, inEra } from "./era.ts";
import { isCallMethod, isListMethod } from "./methods.ts";
import { type Fields, isFields } from "./rpc.ts";
import { callMeta, paramHeaders, serverInfo } from "./envelope.ts";

/** What the HTTP layer found out about a request. */
export type Admission = Pick<Call, "principal" | "held" | "callId">;

/** Serves one admitted `POST`, `GET` or `DELETE`; `body` is the parsed JSON of a `POST`. */
export type ServeMcp = (request: Request, admission: Admission, body: unknown) => Promise<Response>;

/**
 * The official SDK on both eras: handshake, discovery, envelopes, header checks, streams.
 * What it does not know how to answer, that is everything we serve, goes to `answer` as it came: peers' schemas and results are not ours to validate.
 */
export function sdkServer(answer: Answer): ServeMcp {
  const handler = createMcpHandler(
    ({ era, authInfo, requestInfo }) => {
      const admission = authInfo?.extra?.["admission"] as Admission;
      return mcpServer(era, answer, admission, paramHeaders(requestInfo?.headers ?? new Headers()));
    },
    { maxSubscriptions: 256 },
  );
  return async (request, admission, body) =>
    await handler.fetch(request, {
      // The token itself stays outside: nothing behind this line has a use for it.
      authInfo: { token: "", clientId: admission.principal.subject, scopes: [], extra: { admission } },
      ...(body !== undefined && { parsedBody: body }),
    });
}

function mcpServer(era: Era, answer: Answer, admission: Admission, headers: Readonly<Record<string, string>>): Server {
  const server = new Server(serverInfo, { capabilities: { tools: {}, resources: {}, prompts: {} } });
  server.fallbackRequestHandler = async (request, context) => {
    const { method } = request;
    if (!isListMethod(method) && !isCallMethod(method))
      throw Object.assign(new Error("Method not found"), { code: -32601 });
    const { _meta, ...params } = (request.params ?? {}) as Fields;
    const token = isFields(_meta) ? _meta["progressToken"] : undefined;
    const progress =
      token === undefined
        ? undefined
        : async (note: Fields) => {
            await context.mcpReq.notify({
              method: "notifications/progress",
              params: { ...note, progressToken: token },
            });
          };
    const call: Call = {
      ...admission,
      method,
      params,
      meta: callMeta(_meta),
      headers,
      signal: context.mcpReq.signal,
      progress,
    };
    return inEra(era, method, await answer(call));
  };
  return server;
}
