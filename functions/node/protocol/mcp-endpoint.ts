import { BodyTooLarge, readText } from "../federation/body.ts";
import type { HeldManifest } from "../federation/held-manifest.ts";
import { JsonTooDeep, parseJson } from "../federation/json-depth.ts";
import { type PlainResponse, type PostRequest, toResponse } from "../platform.ts";
import type { Authenticated } from "../security/authenticate.ts";
import { Unauthorized } from "../security/unauthorized.ts";
import type { Answer } from "./answer.ts";
import { answerFast } from "./fast-path.ts";
import { headerSplit } from "./header-split.ts";
import { writeList } from "./list-text.ts";
import type { Listener } from "./listen.ts";
import { isCallMethod, isListMethod, listenMethod, scopeOf } from "./methods.ts";
import type { LegacySession, LegacySessions } from "./legacy-session.ts";
import { faultReply, type Reply, resultReply, takesEvents } from "./reply.ts";
import { code, isFields, modernVersion, RpcError } from "./rpc.ts";
import { type Admission, sdkServer } from "./sdk.ts";

/** Serves `/mcp` to a caller whose token was checked. Throws `Unauthorized` for a hop token that does not allow the request. */
export type McpEndpoint = (request: Request, authenticated: Authenticated) => Promise<Response>;

/** The same for a `POST` whose body was read. */
export type PostMcp = (request: PostRequest, authenticated: Authenticated) => Promise<PlainResponse | Response>;

const maxBody = 4 * 1024 * 1024;

export function mcpEndpoint(
  answer: Answer,
  { listen, stream }: Listener,
  sessions: LegacySessions,
): { readonly serve: McpEndpoint; readonly post: PostMcp } {
  const serveBySdk = sdkServer(answer);
  return { serve, post };

  async function serve(request: Request, authenticated: Authenticated): Promise<Response> {
    if (request.method !== "POST") {
      const { principal, held } = authenticated;
      if (principal.hop) checkScope(principal.hop.scope, undefined);
      const session = await sessionOf(request.headers, authenticated);
      if (session === "unknown") return unknownSession();
      if (request.method === "GET" && session && takesEvents(request))
        return marked(
          stream(admissionOf(authenticated), async () => await sessions.uris(session), request.signal),
          held,
        );
      return marked(await serveBySdk(request, admissionOf(authenticated), undefined), held);
    }
    let body: string;
    try {
      body = await readText(request, maxBody);
    } catch (cause) {
      if (cause instanceof BodyTooLarge) return rpcFault(413, code.invalidRequest, cause.message);
      throw cause;
    }
    const { headers, signal } = request;
    return toResponse(await post({ headers, signal, body, toRequest: () => request }, authenticated));
  }

  async function post(request: PostRequest, authenticated: Authenticated): Promise<PlainResponse | Response> {
    const { principal, held } = authenticated;
    let body: unknown;
    try {
      body = parseJson(request.body);
    } catch (cause) {
      const what = cause instanceof JsonTooDeep ? cause.message : "not JSON";
      return rpcFault(400, code.parse, `Parse error: the body is ${what}`);
    }
    const split = headerSplit(request.headers, body);
    if (split !== undefined) return rpcFault(400, code.headerMismatch, `Header mismatch: ${split}`);
    if (principal.hop) checkScope(principal.hop.scope, body);
    const session = await sessionOf(request.headers, authenticated);
    if (session === "unknown") return unknownSession();
    const admission: Admission = { ...admissionOf(authenticated), session };
    const answered =
      (await answerFast(request, admission, body, { answer, listen, sessions })) ??
      (session && (await serveSession(session, body))) ??
      (await serveBySdk(request.toRequest(), admission, body));
    if (answered instanceof Response) return await begun(marked(answered, held), authenticated, body);
    const { status, message } = answered;
    const headers = { "content-type": "application/json", ...marks(held) };
    return { status, headers, body: writeList(message) ?? JSON.stringify(message) };
  }

  /** The session that a client of MCP 2025-11-25 and before names. Later ones have none, whatever a header says. */
  async function sessionOf(
    headers: Pick<Headers, "get">,
    { principal }: Authenticated,
  ): Promise<LegacySession | "unknown" | undefined> {
    const id = headers.get("mcp-session-id");
    if (id === null || headers.get("mcp-protocol-version") === modernVersion) return undefined;
    return (await sessions.find(principal, id)) ?? "unknown";
  }

  /** Gives a session to a client whose handshake went well. */
  async function begun(response: Response, { principal }: Authenticated, body: unknown): Promise<Response> {
    if (!response.ok || !isFields(body) || body["method"] !== "initialize" || !isFields(body["params"]))
      return response;
    response.headers.set("mcp-session-id", await sessions.begin(principal, body["params"]["capabilities"]));
    return response;
  }

  /** What belongs to a session alone; undefined for the rest. */
  async function serveSession(session: LegacySession, body: unknown): Promise<Response | Reply | undefined> {
    if (!isFields(body)) return undefined;
    const { id, method } = body;
    if (method === undefined && ("result" in body || "error" in body)) {
      await sessions.take(session, body);
      return new Response(null, { status: 202 });
    }
    const params = isFields(body["params"]) ? body["params"] : {};
    if (method === "notifications/cancelled") sessions.cancel(session, params["requestId"]);
    if (id === undefined) return undefined;
    try {
      if (method === "logging/setLevel") await sessions.setLevel(session, params["level"]);
      else if (method === "resources/subscribe") await sessions.subscribe(session, params["uri"], true);
      else if (method === "resources/unsubscribe") await sessions.subscribe(session, params["uri"], false);
      else return undefined;
      return resultReply(id, {});
    } catch (cause) {
      if (!(cause instanceof RpcError)) throw cause;
      return faultReply(id, cause, false);
    }
  }
}

/** The specification's word for a client that has to begin a new session. */
function unknownSession(): Response {
  return rpcFault(404, code.invalidRequest, "This session is unknown or over: begin a new one");
}

function admissionOf({ principal, held }: Authenticated): Admission {
  return { principal, held, callId: principal.hop?.callId ?? crypto.randomUUID() };
}

/** Headers of every answer. */
function marks({ serial }: HeldManifest): Readonly<Record<string, string>> {
  return { "federation-serial": String(serial), "cache-control": "no-store" };
}

function marked(response: Response, held: HeldManifest): Response {
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(marks(held))) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** A hop token allows one question, so nothing but that question may be in the body: no batch, no handshake, no other name. */
function checkScope(scope: string, body: unknown): void {
  const method = isFields(body) && typeof body["method"] === "string" ? body["method"] : "";
  if (isListMethod(method) || isCallMethod(method) || method === listenMethod) {
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
