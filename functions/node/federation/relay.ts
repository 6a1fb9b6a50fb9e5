import type { Audit, AuditRecord } from "../observe/audit.ts";
import type { NodeConfig } from "../platform.ts";
import type { Call } from "../protocol/call.ts";
import { type CallMethodName, callMethods } from "../protocol/methods.ts";
import {
  callIdKey,
  code,
  type Fields,
  isFields,
  peersKey,
  reservedMetaPrefix,
  RpcError,
  unknownName,
} from "../protocol/rpc.ts";
import { mayAsk } from "../security/policy.ts";
import { maxHops } from "../security/principal.ts";
import type { Circuits } from "./circuit.ts";
import type { NodeId } from "./manifest.ts";
import { type PeerName, prefixResult } from "./names.ts";
import { type AskPeer, PeerFailure } from "./peer-client.ts";
import type { PeerReport } from "./peer-lists.ts";

/** Relays a call to a peer. `name` is what the caller asked for, `target` what the peer calls it. Throws `RpcError`. */
export type Relay = (call: Call<CallMethodName>, name: string, peer: NodeId, target: PeerName) => Promise<Fields>;

export interface RelayOptions {
  readonly config: NodeConfig;
  readonly ask: AskPeer;
  readonly circuits: Circuits;
  readonly audit: Audit;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** Milliseconds. */
const deadline = 30_000;

/** The peer decides by its own grants; this node only refuses what cannot succeed or would run in circles. */
export function relayer({ config, ask, circuits, audit, waitUntil }: RelayOptions): Relay {
  return async (call, name, peer, target) => {
    const { method, principal, held, callId } = call;
    const started = Date.now();
    const base = {
      time: new Date(started).toISOString(),
      callId,
      node: config.node,
      direction: "out",
      method,
      name,
      subject: principal.subject,
      via: principal.via,
      peer,
    } as const satisfies Partial<AuditRecord>;
    // Written after the answer: the peer's own record, which it waits for, already accounts for the call.
    const record = (rest: Pick<AuditRecord, "decision" | "reason" | "outcome">) =>
      waitUntil(audit.writeLater({ ...base, ...rest, ms: Date.now() - started }));

    const refusal = refuse(call, name, peer);
    if (refusal) {
      record({ decision: "deny", reason: refusal.reason, outcome: "denied" });
      throw refusal.error;
    }
    try {
      const { subject } = callMethods[method];
      const result = await ask({
        peer,
        method,
        params: { ...call.params, [subject]: target.name },
        meta: call.meta,
        held,
        principal,
        callId,
        deadline,
        signal: call.signal,
        headers: call.headers,
        onProgress: call.progress,
      });
      circuits.succeeded(peer);
      record({ decision: "allow", outcome: result["isError"] === true ? "tool_error" : "ok" });
      return relayed(prefixResult(target.prefix, result), peer, callId);
    } catch (cause) {
      if (cause instanceof PeerFailure) circuits.failed(peer, Date.now());
      record({ decision: "allow", outcome: `error ${cause instanceof RpcError ? cause.code : code.internal}` });
      throw cause;
    }
  };

  function refuse(
    { method, principal, held }: Call<CallMethodName>,
    name: string,
    peer: NodeId,
  ): { readonly reason: string; readonly error: RpcError } | undefined {
    const { kind, what } = callMethods[method];
    if (principal.via.includes(peer)) {
      const reason = `loop: the call came through ${peer} before`;
      return {
        reason,
        error: new RpcError(code.loop, `${name}: the call came through ${peer} before`, { via: principal.via }),
      };
    }
    if (principal.via.length >= maxHops) {
      const reason = `more than ${maxHops} hops`;
      return {
        reason,
        error: new RpcError(code.loop, `${name}: a call goes over at most ${maxHops} nodes`, { via: principal.via }),
      };
    }
    const party = { organization: principal.organization, actors: [...principal.actors, config.node] };
    if (!mayAsk(held.manifest, peer, party, kind, Date.now()))
      return { reason: `no grant of ${peer} for the call's organizations`, error: unknownName(what, name) };
    return undefined;
  }
}

/** The peer's result with our marks instead of its identity; fields that we do not know stay. */
function relayed(result: Fields, peer: NodeId, callId: string): Fields {
  const theirs = isFields(result["_meta"]) ? result["_meta"] : {};
  const kept = Object.entries(theirs).filter(([key]) => !key.startsWith(reservedMetaPrefix));
  const report: PeerReport = { node: peer, status: "ok" };
  return { ...result, _meta: { ...Object.fromEntries(kept), [callIdKey]: callId, [peersKey]: [report] } };
}
