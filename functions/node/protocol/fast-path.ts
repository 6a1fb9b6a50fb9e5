import type { Answer } from "./answer.ts";
import type { Call } from "./call.ts";
import { callMeta, paramHeaders, serverInfo } from "./envelope.ts";
import { type Era, inEra } from "./era.ts";
import { decodeHeaderValue } from "./header-value.ts";
import { callMethods, isCallMethod, isListMethod } from "./methods.ts";
import { type Fields, isFields, metaKey, modernVersion, reservedMetaPrefix, RpcError } from "./rpc.ts";
import type { Admission } from "./sdk.ts";

/** A request that needs no SDK: one well-formed question, one JSON answer. */
interface PlainRequest {
  readonly era: Era;
  readonly id: string | number;
  readonly method: Call["method"];
  readonly params: Fields;
}

const legacyVersions = new Set(["2025-03-26", "2025-06-18", "2025-11-25"]);

/**
 * Answers lists and calls without building the SDK's objects, which cost twenty times the rest of the work.
 * Undefined for everything out of the ordinary (streams, batches, handshakes, faults of any kind): the SDK owns those answers.
 */
export async function answerFast(
  request: Request,
  admission: Admission,
  body: unknown,
  answer: Answer,
): Promise<Response | undefined> {
  const plain = readPlain(request, body);
  if (!plain) return undefined;
  const { era, id, method } = plain;
  const { _meta, ...params } = plain.params;
  try {
    const call: Call = {
      ...admission,
      method,
      params,
      meta: callMeta(_meta),
      headers: paramHeaders(request.headers),
      signal: request.signal,
    };
    const result = inEra(era, method, await answer(call));
    return Response.json({ result: era === "modern" ? withServerInfo(result) : result, jsonrpc: "2.0", id });
  } catch (cause) {
    if (!(cause instanceof RpcError)) throw cause;
    const error = { code: cause.code, message: cause.message, ...(cause.data !== undefined && { data: cause.data }) };
    return Response.json({ jsonrpc: "2.0", id, error });
  }
}

function readPlain(request: Request, body: unknown): PlainRequest | undefined {
  if (!isFields(body) || body["jsonrpc"] !== "2.0") return undefined;
  const { id, method, params = {} } = body;
  if ((typeof id !== "string" && !Number.isSafeInteger(id)) || typeof method !== "string" || !isFields(params))
    return undefined;
  if (!isListMethod(method) && !isCallMethod(method)) return undefined;
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  const accept = request.headers.get("accept") ?? "";
  if (type !== "application/json" || !/application\/json|\*\/\*/.test(accept)) return undefined;
  const meta = params["_meta"] ?? {};
  if (
    !isFields(meta) ||
    meta["progressToken"] !== undefined ||
    params["inputResponses"] !== undefined ||
    params["requestState"] !== undefined
  )
    return undefined;
  const era = readEra(request.headers, method, params, meta);
  return era && { era, id: id as string | number, method, params };
}

function readEra(headers: Headers, method: Call["method"], params: Fields, meta: Fields): Era | undefined {
  const version = headers.get("mcp-protocol-version");
  if (!Object.keys(meta).some((key) => key.startsWith(reservedMetaPrefix))) {
    const legacy = version === null || legacyVersions.has(version);
    return legacy ? "legacy" : undefined;
  }
  if (
    version !== modernVersion ||
    meta[metaKey.protocolVersion] !== modernVersion ||
    headers.get("mcp-method") !== method
  )
    return undefined;
  const capabilities = meta[metaKey.clientCapabilities];
  const client = meta[metaKey.clientInfo];
  if (!isFields(capabilities) || !Object.values(capabilities).every(isFields)) return undefined;
  if (client !== undefined && !isPlainIdentity(client)) return undefined;
  const others = Object.keys(meta).filter((key) => key.startsWith(reservedMetaPrefix) && !everyday.has(key));
  if (others.length > 0) return undefined;
  if (!isCallMethod(method)) return "modern";
  const name = decodeHeaderValue(headers.get("mcp-name") ?? "");
  return name !== undefined && name === params[callMethods[method].subject] ? "modern" : undefined;
}

const everyday: ReadonlySet<string> = new Set([
  metaKey.protocolVersion,
  metaKey.clientCapabilities,
  metaKey.clientInfo,
]);

function isPlainIdentity(client: unknown): boolean {
  return isFields(client) && typeof client["name"] === "string" && typeof client["version"] === "string";
}

function withServerInfo(result: Fields): Fields {
  return { ...result, _meta: { ...(isFields(result["_meta"]) && result["_meta"]), [metaKey.serverInfo]: serverInfo } };
}
