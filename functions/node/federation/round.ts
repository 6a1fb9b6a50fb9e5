import type { Call } from "../protocol/call.ts";
import { checkInputRequests } from "../protocol/capabilities.ts";
import { type CallMethodName, renamed } from "../protocol/methods.ts";
import { type Fields, isFields, reservedMetaPrefix } from "../protocol/rpc.ts";
import type { StateSeal } from "../security/sealed-state.ts";
import { type PeerName, prefixResult } from "./names.ts";
import { type AskPeer, PeerFailure } from "./peer-client.ts";

/** One round of a call that another server answers. */
export interface Round {
  readonly call: Call<CallMethodName>;
  /** Who answers: a peer's id, or `upstream <name>`. */
  readonly maker: string;
  /** The thing as the maker calls it. */
  readonly target: PeerName;
  readonly ask: AskPeer;
  readonly seal: StateSeal;
  /** Milliseconds. */
  readonly deadline: number;
}

/**
 * Asks, and answers the result with its URIs prefixed and without the maker's identity; fields that we do not know stay.
 * The maker's `requestState` is sealed: the maker knows only this node, so only this node can tell whose state it is.
 */
export async function askRound({ call, maker, target, ask, seal, deadline }: Round): Promise<Fields> {
  const { method, params, principal, held, callId, meta, headers, capabilities, signal, progress, log } = call;
  const bound = { subject: principal.subject, maker, method, params };
  const brought = params["requestState"];
  const opened = brought === undefined ? {} : { requestState: await seal.open(String(brought), bound) };
  const result = await ask({
    peer: maker,
    method,
    params: { ...renamed(method, params, target.name), ...opened },
    meta,
    held,
    principal,
    callId,
    deadline,
    signal,
    headers,
    capabilities,
    onProgress: progress,
    log,
  });
  const { resultType = "complete", requestState: state } = result;
  const theirs = isFields(result["_meta"]) ? result["_meta"] : {};
  const _meta = Object.fromEntries(Object.entries(theirs).filter(([key]) => !key.startsWith(reservedMetaPrefix)));
  const relayed = { ...prefixResult(target.prefix, result), _meta };
  if (resultType === "complete") return relayed;
  if (resultType !== "input_required")
    throw new PeerFailure(maker, "answered in terms of an extension that this node does not know", {
      sample: "answer",
    });
  checkInputRequests(result["inputRequests"], capabilities);
  return typeof state === "string" ? { ...relayed, requestState: await seal.seal(state, bound) } : relayed;
}
