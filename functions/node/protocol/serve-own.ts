import { type Audit, type AuditRecord, outcomeOf } from "../observe/audit.ts";
import type { NodeConfig } from "../platform.ts";
import { decide } from "../security/policy.ts";
import { countCall, secondsToNextWindow } from "../security/rate.ts";
import type { State } from "../state/state.ts";
import type { Call } from "./call.ts";
import { type CallMethodName, subjectOf } from "./methods.ts";
import type { RunOwn } from "./own-call.ts";
import { callIdKey, code, type Fields, isFields, RpcError, unknownName } from "./rpc.ts";

/** Serves one of the node's own things under policy, rate and audit. Throws `RpcError`. */
export type ServeOwn = (call: Call<CallMethodName>, name: string) => Promise<Fields>;

export interface ServeOwnOptions {
  readonly config: NodeConfig;
  readonly state: State;
  readonly audit: Audit;
  readonly run: RunOwn;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

export function ownServer({ config, state, audit, run, waitUntil }: ServeOwnOptions): ServeOwn {
  return async (call, name) => {
    const { method, principal, held, callId } = call;
    const { kind, what } = subjectOf(method, call.params);
    const started = Date.now();
    const base = {
      time: new Date(started).toISOString(),
      callId,
      node: config.node,
      direction: principal.hop ? "in" : "local",
      method,
      name,
      subject: principal.subject,
      via: principal.via,
      ...(principal.hop && { peer: principal.hop.caller }),
    } as const satisfies Partial<AuditRecord>;

    const decision = decide({ manifest: held.manifest, node: config.node, party: principal, kind, name, now: started });
    if (!decision.allow) {
      waitUntil(audit.writeLater({ ...base, decision: "deny", reason: decision.reason, outcome: "denied", ms: 0 }));
      throw unknownName(what, name);
    }
    const exhausted = await countCall(state, decision.grants, started);
    if (exhausted) {
      const reason = `rate of ${exhausted.rate} a minute used up`;
      waitUntil(audit.writeLater({ ...base, decision: "deny", reason, grant: exhausted.id, outcome: "denied", ms: 0 }));
      const retryAfterSeconds = secondsToNextWindow(started);
      throw new RpcError(
        code.rateExceeded,
        `The grant ${exhausted.id} allows ${exhausted.rate} calls a minute; try again in ${retryAfterSeconds} s`,
        {
          retryable: true,
          retryAfterSeconds,
        },
      );
    }

    const allowed = {
      ...base,
      decision: "allow",
      ...(decision.grants.length > 0 && { grant: decision.grants.map(({ id }) => id).join(",") }),
    } as const;
    let result: Fields | undefined;
    try {
      result = await run(call, name);
      if (!result) throw unknownName(what, name);
    } catch (cause) {
      const outcome = `error ${cause instanceof RpcError ? cause.code : code.internal}`;
      waitUntil(audit.writeLater({ ...allowed, outcome, ms: Date.now() - started }));
      throw cause;
    }
    // Fails closed: an answer that nobody can account for does not leave the node. The caller learns that the call may have had its effect.
    try {
      await audit.write({
        ...allowed,
        outcome: outcomeOf(result),
        ms: Date.now() - started,
      });
    } catch (cause) {
      console.error(JSON.stringify({ error: "an audit record could not be stored", callId, cause: String(cause) }));
      throw new RpcError(code.unavailable, "The call ran but could not be recorded, so its result is withheld", {
        callId,
      });
    }
    return { ...result, _meta: { ...(isFields(result["_meta"]) && result["_meta"]), [callIdKey]: callId } };
  };
}
