import { BodyTooLarge, readText } from "../federation/body.ts";
import type { Authenticated } from "../security/authenticate.ts";
import { Unauthorized } from "../security/unauthorized.ts";
import type { Answer } from "./answer.ts";
import { answerFast } from "./fast-path.ts";
import { isCallMethod, isListMethod, scopeOf } from "./methods.ts";
import { code, isFields, RpcError } from "./rpc.ts";
import { type Admission, sdkServer } from "./sdk.ts";

/** Serves `/mcp` to a caller whose token was checked. Throws `Unauthorized` for a hop token that does not allow the request. */
export type McpEndpoint = (request: Request, authenticated: Authenticated) => Promise<Response>;

const maxBody = 4 * 1024 * 1024;

export function mcpEndpoint(answer: Answer): McpEndpoint {
  const serveBySdk = sdkServer(answer);
  return async (request, { principal, held }) => {
    const admission: Admission = { principal, held, callId: principal.hop?.callId ?? crypto.randomUUID() };
    let body: unknown;
    if (request.method === "POST") {
      let text: string;
      try {
        text = await readText(request, maxBody);
      } catch (cause) {
        if (cause instanceof BodyTooLarge) return rpcFault(413, code.invalidRequest, cause.message);
        throw cause;
      }
      try {
        body = JSON.parse(text);
      } catch {
        return rpcFault(400, code.parse, "Parse error: the body is not JSON");
      }
    }
    if (principal.hop) checkScope(principal.hop.scope, body);
    const response =
      (await answerFast(request, admission, body, answer)) ?? (await serveBySdk(request, admission, body));
    const headers = new Headers(response.headers);
    headers.set("federation-serial", String(held.serial));
    headers.set("cache-control", "no-store");
    return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
  };
}

/** A hop token allows one question, so nothing but that question may be in the body: no batch, no handshake, no other name. */
function checkScope(scope: string, body: unknown): void {
  const method = isFields(body) && typeof body["method"] === "string" ? body["method"] : "";
  if (isListMethod(method) || isCallMethod(method)) {
    const params = isFields(body) && isFields(body["params"]) ? body["params"] : {};
    try {
      if (scopeOf(method, params) === scope) return;
    } catch (cause) {
      if (!(cause instanceof RpcError)) throw cause;
    }
  }
  throw new Unauthorized(403, "insufficient_scope", "the hop token was minted for another request");
}

function rpcFault(status: number, errorCode: number, message: string): Response {
  return Response.json({ jsonrpc: "2.0", id: null, error: { code: errorCode, message } }, { status });
}
