import { type Audit, type AuditRecord, outcomeOf } from "../observe/audit.ts";
import type { NodeConfig } from "../platform.ts";
import type { Call } from "../protocol/call.ts";
import { type CallMethodName, subjectOf } from "../protocol/methods.ts";
import { callIdKey, code, type Fields, peersKey, RpcError, unknownName } from "../protocol/rpc.ts";
import type { StateSeal } from "../security/sealed-state.ts";
import { mayAsk } from "../security/policy.ts";
import { maxHops } from "../security/principal.ts";
import type { NodeId } from "./manifest.ts";
import type { PeerName } from "./names.ts";
import type { AskPeer } from "./peer-client.ts";
import type { PeerReport } from "./peer-lists.ts";
import { askRound } from "./round.ts";

/** Relays a call to a peer. `name` is what the caller asked for, `target` what the peer calls it. Throws `RpcError`. */
export type Relay = (call: Call<CallMethodName>, name: string, peer: NodeId, target: PeerName) => Promise<Fields>;

export interface RelayOptions {
  readonly config: NodeConfig;
  readonly ask: AskPeer;
  /** Milliseconds that a call may take. */
  readonly deadline: number;
  readonly audit: Audit;
  readonly seal: StateSeal;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** The peer decides by its own grants; this node only refuses what cannot succeed or would run in circles. */
export function relayer({ config, ask, deadline, audit, seal, waitUntil }: RelayOptions): Relay {
  return async (call, name, peer, target) => {
    const { method, principal, callId } = call;
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
      const result = await askRound({ call, maker: peer, target, ask, seal, deadline });
      record({ decision: "allow", outcome: outcomeOf(result) });
      const report: PeerReport = { node: peer, status: "ok" };
      return { ...result, _meta: { ...(result["_meta"] as Fields), [callIdKey]: callId, [peersKey]: [report] } };
    } catch (cause) {
      record({ decision: "allow", outcome: `error ${cause instanceof RpcError ? cause.code : code.internal}` });
      throw cause;
    }
  };

  function refuse(
    { method, params, principal, held }: Call<CallMethodName>,
    name: string,
    peer: NodeId,
  ): { readonly reason: string; readonly error: RpcError } | undefined {
    const { kind, what } = subjectOf(method, params);
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
