import { BodyTooLarge, readText } from "../../federation/body.ts";
import { parseJson } from "../../federation/json-depth.ts";
import { type callMethods, type Kind, type ListMethodName, listMethods } from "../methods.ts";
import { defineProtocol, type ProtocolContext } from "../protocol.ts";
import { eventStream } from "../reply.ts";
import { callIdKey, type Fields, isFields, peersKey, RpcError } from "../rpc.ts";
import { openApi } from "./openapi.ts";
import { Problem, problemOf } from "./problem.ts";

const calls = {
  tools: { method: "tools/call", verb: "POST" },
  prompts: { method: "prompts/get", verb: "POST" },
  resources: { method: "resources/read", verb: "GET" },
} as const;
const listMethodsOf = {
  tools: ["tools/list"],
  prompts: ["prompts/list"],
  resources: ["resources/list", "resources/templates/list"],
} as const satisfies Record<Kind, readonly ListMethodName[]>;

const maxBody = 4 * 1024 * 1024;
/** Whoever calls a tool by REST gets its questions in a 409, and can answer any of them. */
const capabilities = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };

/** The node's tools, resources and prompts as plain HTTP and JSON, and an OpenAPI document that describes them. */
export const restProtocol = defineProtocol({
  name: "rest",
  match: ({ url }) => /^\/(api\/|openapi\.json$)/.test(new URL(url).pathname),
  async serve(request, context) {
    try {
      return await route(request, context);
    } catch (cause) {
      const problem = toProblem(cause);
      if (!problem) throw cause;
      return problem.response(context.callId);
    }
  },
});

async function route(request: Request, context: ProtocolContext): Promise<Response> {
  const { pathname } = new URL(request.url);
  const [, root, kind = "", name, action, ...rest] = pathname.split("/");
  if (root === "openapi.json") {
    only(request, "GET");
    return await openApi(request, context);
  }
  const known = isKind(kind) && name !== "" && (action === undefined || action === "inputs") && rest.length === 0;
  if (!known) throw new Problem(404, `there is no ${pathname}; GET /openapi.json describes what there is`);
  if (name === undefined) {
    only(request, "GET");
    return ok(await lists(kind, context));
  }
  const { method, verb } = calls[kind];
  only(request, action ? "POST" : verb);
  const subject = kind === "resources" ? { uri: decoded(name) } : { name: decoded(name) };
  const body = request.method === "POST" ? await readBody(request) : {};
  if (!action)
    return await called(request, context, method, kind === "resources" ? subject : { ...subject, arguments: body });
  const { arguments: args = {}, inputResponses, requestState } = body;
  const again = { ...subject, ...(kind !== "resources" && { arguments: args }), inputResponses, requestState };
  return await called(request, context, method, again);
}

async function lists(kind: Kind, { answer }: ProtocolContext): Promise<Fields> {
  const parts = await Promise.all(
    listMethodsOf[kind].map(async (method) => ({ ...listMethods[method], result: await answer(method, {}) })),
  );
  const meta = parts[0]?.result["_meta"];
  const peers = (isFields(meta) && meta[peersKey]) || [];
  return { ...Object.fromEntries(parts.map(({ items, result }) => [items, result[items]])), peers };
}

/** One call, answered when it is done, or as a stream of its progress for who asks for that. */
async function called(
  request: Request,
  context: ProtocolContext,
  method: keyof typeof callMethods,
  params: Fields,
): Promise<Response> {
  if (!takesStream(request)) return ok(outcome(await context.answer(method, params, { capabilities })));
  const left = new AbortController();
  const stream = eventStream((reason) => left.abort(reason));
  const signal = AbortSignal.any([left.signal, request.signal]);
  const progress = async (note: Fields) => stream.send({ progress: note });
  void context
    .answer(method, params, { capabilities, signal, progress })
    .then((result) => stream.send({ result: outcome(result) }))
    .catch((cause: unknown) => {
      const problem = toProblem(cause);
      if (problem) stream.send({ problem: problem.details(context.callId) });
      else stream.fail(cause);
    })
    .finally(() => stream.close());
  return stream.response;
}

/** A finished result. Throws the problem that a failed or unfinished one is. */
function outcome({ resultType = "complete", ttlMs: _ttl, cacheScope: _scope, ...result }: Fields): Fields {
  if (resultType === "input_required")
    throw new Problem(409, "the call asks back; POST the answers to the same path with /inputs behind it", result);
  if (resultType !== "complete")
    throw new Problem(502, `the result is of a kind that REST has no form for: ${String(resultType)}`);
  const { isError, ...rest } = result;
  if (isError === true) throw new Problem(422, firstText(rest["content"]) ?? "the tool reports an error", rest);
  return result;
}

function firstText(content: unknown): string | undefined {
  const text = (Array.isArray(content) ? content : []).find((block) => isFields(block) && block["type"] === "text");
  return isFields(text) ? String(text["text"]) : undefined;
}

function ok(result: Fields): Response {
  const meta = isFields(result["_meta"]) ? result["_meta"] : {};
  const callId = meta[callIdKey];
  const headers = {
    "cache-control": "no-store",
    ...(callId !== undefined && { "federation-call-id": String(callId) }),
  };
  return Response.json(result, { headers });
}

function isKind(kind: string): kind is Kind {
  return Object.hasOwn(calls, kind);
}

function only(request: Request, method: "GET" | "POST"): void {
  const given = request.method === "HEAD" ? "GET" : request.method;
  if (given !== method) throw new Problem(405, `this takes ${method}, not ${request.method}`, {}, { allow: method });
}

/** The JSON object in the body; an absent one is empty. */
async function readBody(request: Request): Promise<Fields> {
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  // Also keeps pages from posting forms without a preflight.
  if (type !== undefined && type !== "application/json")
    throw new Problem(415, `the body must be application/json, not ${type}`);
  const text = await readText(request, maxBody);
  let body: unknown;
  try {
    body = text === "" ? {} : parseJson(text);
  } catch {
    throw new Problem(400, "the body is not JSON");
  }
  if (!isFields(body)) throw new Problem(400, "the body must be a JSON object");
  return body;
}

function decoded(part: string | undefined): string {
  try {
    return decodeURIComponent(part ?? "");
  } catch {
    throw new Problem(400, `the name in the path is not percent-encoded UTF-8`);
  }
}

function takesStream(request: Request): boolean {
  return request.headers.get("accept")?.includes("text/event-stream") ?? false;
}

/** What the caller may know of a fault; undefined for a fault of the node. */
function toProblem(cause: unknown): Problem | undefined {
  if (cause instanceof Problem) return cause;
  if (cause instanceof RpcError) return problemOf(cause);
  if (cause instanceof BodyTooLarge) return new Problem(413, cause.message);
  return undefined;
}
