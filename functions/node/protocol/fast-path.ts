import type { HeaderReader, PostRequest } from "../platform.ts";
import type { Answer } from "./answer.ts";
import type { Call, Logger } from "./call.ts";
import { bridgedCapabilities } from "./capabilities.ts";
import { callMeta, paramHeaders, serverInfo } from "./envelope.ts";
import { type Era, inEra } from "./era.ts";
import { decodeHeaderValue } from "./header-value.ts";
import type { LogLevel } from "../define.ts";
import type { LegacySession, LegacySessions } from "./legacy-session.ts";
import { isLogLevel, reaches } from "./log-level.ts";
import type { Listen } from "./listen.ts";
import { completionMethod, isCallMethod, isListMethod, listenMethod, mirroredName } from "./methods.ts";
import { faultReply, progressTokenOf, type Reply, reply, resultReply, type Send, takesEvents } from "./reply.ts";
import { type Fields, isFields, metaKey, modernVersion, reservedMetaPrefix, RpcError } from "./rpc.ts";
import type { Admission } from "./sdk.ts";

/** A request that needs no SDK: one well-formed question. */
interface PlainRequest {
  readonly era: Era;
  readonly id: string | number;
  readonly method: Call["method"] | typeof listenMethod;
  readonly params: Fields;
}

/** Questions that one call may ask in a row. */
const maxRounds = 16;
const legacyVersions = new Set(["2025-03-26", "2025-06-18", "2025-11-25"]);

/**
 * Answers lists and calls without building the SDK's objects, which cost twenty times the rest of the work.
 * Undefined for everything out of the ordinary (batches, handshakes, faults of any kind): the SDK owns those answers.
 */
export async function answerFast(
  request: Pick<PostRequest, "headers" | "signal">,
  admission: Admission,
  body: unknown,
  { answer, listen, sessions }: { readonly answer: Answer; readonly listen: Listen; readonly sessions: LegacySessions },
): Promise<Response | Reply | undefined> {
  const plain = readPlain(request.headers, body);
  if (!plain) return undefined;
  if (plain.method === listenMethod) {
    try {
      return await listen(admission, plain.id, plain.params, request.signal);
    } catch (cause) {
      if (!(cause instanceof RpcError)) throw cause;
      return faultReply(plain.id, cause, true);
    }
  }
  if (isCallMethod(plain.method) && takesEvents(request) && mayNotify(plain))
    return await reply(request, async (send, signal) => {
      const work = async (ended: AbortSignal) => await answerPlain(plain, ended, send);
      const { session } = admission;
      return plain.era === "legacy" && session
        ? await sessions.cancellable(session, plain.id, signal, work)
        : await work(signal);
    });
  return await answerPlain(plain, request.signal);

  async function answerPlain({ era, id, method, params }: PlainRequest, signal: AbortSignal, send?: Send) {
    const { _meta, ...rest } = params;
    if (method === listenMethod) throw new Error("a subscription is no call");
    const session = era === "legacy" ? admission.session : undefined;
    try {
      const call: Call = {
        ...admission,
        method,
        params: rest,
        meta: callMeta(_meta),
        headers: paramHeaders(request.headers),
        capabilities:
          session?.capabilities ?? bridgedCapabilities(isFields(_meta) ? _meta[metaKey.clientCapabilities] : undefined),
        signal,
        ...(send && notifiers(era, _meta, send, session && (async () => await sessions.level(session)))),
      };
      const first = await answer(call);
      const result = inEra(era, method, session && send ? await answered(call, first, session, send) : first);
      return resultReply(id, era === "modern" ? withServerInfo(result) : result);
    } catch (cause) {
      if (!(cause instanceof RpcError)) throw cause;
      return faultReply(id, cause, era === "modern");
    }
  }

  /** Questions of the call, as clients before 2026-07-28 know them: requests of the server, on the stream of the call. */
  async function answered(call: Call, result: Fields, session: LegacySession, send: Send): Promise<Fields> {
    for (let round = 0; result["resultType"] === "input_required" && round < maxRounds; round += 1) {
      const { inputRequests, requestState } = result;
      const inputResponses = await sessions.ask(
        session,
        isFields(inputRequests) ? inputRequests : {},
        send,
        call.signal,
      );
      const params = { ...call.params, inputResponses, ...(requestState !== undefined && { requestState }) };
      result = await answer({ ...call, params });
    }
    return result;
  }
}

function mayNotify({ era, params: { _meta } }: PlainRequest): boolean {
  return progressTokenOf(_meta) !== undefined || logLevelOf(era, _meta) !== undefined;
}

/** A legacy client has no way to say a level without a session, so the node decides: no debug messages. */
function logLevelOf(era: Era, meta: unknown): Logger["level"] | undefined {
  if (era === "legacy") return "info";
  const level = isFields(meta) ? meta[metaKey.logLevel] : undefined;
  return isLogLevel(level) ? level : undefined;
}

/** `sessionLevel` is looked up with each message: it takes longer than most calls that log nothing. */
function notifiers(
  era: Era,
  meta: unknown,
  send: Send,
  sessionLevel: (() => Promise<LogLevel>) | undefined,
): Pick<Call, "progress" | "log"> {
  const progressToken = progressTokenOf(meta);
  const level = sessionLevel ? "debug" : logLevelOf(era, meta);
  const notify = async (method: string, params: Fields) => send({ jsonrpc: "2.0", method, params });
  return {
    ...(progressToken !== undefined && {
      progress: async (params) => await notify("notifications/progress", { ...params, progressToken }),
    }),
    ...(level && {
      log: {
        level,
        async send(params) {
          const wanted = (await sessionLevel?.()) ?? level;
          if (!isLogLevel(params["level"]) || reaches(params["level"], wanted))
            await notify("notifications/message", params);
        },
      },
    }),
  };
}

function readPlain(headers: HeaderReader, body: unknown): PlainRequest | undefined {
  if (!isFields(body) || body["jsonrpc"] !== "2.0") return undefined;
  const { id, method, params = {} } = body;
  if ((typeof id !== "string" && !Number.isSafeInteger(id)) || typeof method !== "string" || !isFields(params))
    return undefined;
  if (!isListMethod(method) && !isCallMethod(method) && method !== listenMethod) return undefined;
  const type = headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  const accept = headers.get("accept") ?? "";
  if (type !== "application/json" || !/application\/json|\*\/\*/.test(accept)) return undefined;
  const meta = params["_meta"] ?? {};
  if (!isFields(meta)) return undefined;
  if (meta["progressToken"] !== undefined && progressTokenOf(meta) === undefined) return undefined;
  const era = readEra(headers, method, params, meta);
  if (method === listenMethod && (era !== "modern" || !takesEvents({ headers }))) return undefined;
  return era && { era, id: id as string | number, method, params };
}

function readEra(headers: HeaderReader, method: PlainRequest["method"], params: Fields, meta: Fields): Era | undefined {
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
  const level = meta[metaKey.logLevel];
  if (level !== undefined && !isLogLevel(level)) return undefined;
  if (!isCallMethod(method) || method === completionMethod) return "modern";
  const name = decodeHeaderValue(headers.get("mcp-name") ?? "");
  return name !== undefined && name === mirroredName(method, params) ? "modern" : undefined;
}

const everyday: ReadonlySet<string> = new Set([
  metaKey.protocolVersion,
  metaKey.clientCapabilities,
  metaKey.clientInfo,
  metaKey.logLevel,
]);

function isPlainIdentity(client: unknown): boolean {
  return isFields(client) && typeof client["name"] === "string" && typeof client["version"] === "string";
}

function withServerInfo(result: Fields): Fields {
  return { ...result, _meta: { ...(isFields(result["_meta"]) && result["_meta"]), [metaKey.serverInfo]: serverInfo } };
}
