import { createMcpHandler, Server } from "@modelcontextprotocol/server";
import type { Answer } from "./answer.ts";
import type { Call } from "./call.ts";
import { bridgedCapabilities, serverCapabilities } from "./capabilities.ts";
import { type Era, inEra } from "./era.ts";
import { isCallMethod, isListMethod } from "./methods.ts";
import { type Fields, isFields, metaKey } from "./rpc.ts";
import { callMeta, paramHeaders, serverInfo } from "./envelope.ts";

/** What the HTTP layer found out about a request. */
export type Admission = Pick<Call, "principal" | "held" | "callId" | "session">;

/** Serves one admitted `POST`, `GET` or `DELETE`; `body` is the parsed JSON of a `POST`. */
export type ServeMcp = (request: Request, admission: Admission, body: unknown) => Promise<Response>;

/**
 * The official SDK on both eras: handshake, discovery, envelopes, header checks, streams.
 * What it does not know how to answer, that is everything we serve, goes to `answer` as it came: peers' schemas and results are not ours to validate.
 */
export function sdkServer(answer: Answer): ServeMcp {
  const handler = createMcpHandler(
    ({ era, authInfo, requestInfo }) => {
      const { admission, body } = authInfo!.extra as { readonly admission: Admission; readonly body: unknown };
      const server = new Server(serverInfo, { capabilities: serverCapabilities });
      const headers = paramHeaders(requestInfo?.headers ?? new Headers());
      if (isFields(body)) serveOurs(server, { era, answer, admission, headers, body });
      return server;
    },
    // Subscriptions are served before the SDK is asked; those that come here are malformed.
    { maxSubscriptions: 0 },
  );
  return async (request, admission, body) =>
    await handler.fetch(request, {
      // The token itself stays outside: nothing behind this line has a use for it.
      authInfo: { token: "", clientId: admission.principal.subject, scopes: [], extra: { admission, body } },
      ...(body !== undefined && { parsedBody: body }),
    });
}

interface Ours {
  readonly era: Era;
  readonly answer: Answer;
  readonly admission: Admission;
  readonly headers: Readonly<Record<string, string>>;
  /** The request as it came: the SDK takes away what it has read. */
  readonly body: Fields;
}

/** What the SDK does not know is left to it where it is not ours either: it has the status codes for that. */
function serveOurs(server: Server, { era, answer, admission, headers, body }: Ours): void {
  const method = String(body["method"]);
  if (!isListMethod(method) && !isCallMethod(method)) return;
  server.fallbackRequestHandler = async (_request, context) => {
    const { _meta, ...params } = isFields(body["params"]) ? body["params"] : {};
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
      capabilities: bridgedCapabilities(isFields(_meta) ? _meta[metaKey.clientCapabilities] : undefined),
      signal: context.mcpReq.signal,
      progress,
    };
    return inEra(era, method, await answer(call));
  };
}
