import type { RunOwn } from "../protocol/own-call.ts";
import type { FindRoute } from "../protocol/route.ts";
import { subjectOf } from "../protocol/methods.ts";
import type { StateSeal } from "../security/sealed-state.ts";
import type { AskPeer } from "./peer-client.ts";
import { askRound } from "./round.ts";
import { upstreamLabel } from "./upstream-label.ts";

export interface PartRunnerOptions {
  readonly runFunction: RunOwn;
  readonly route: FindRoute;
  readonly ask: AskPeer;
  readonly seal: StateSeal;
  /** Milliseconds that a call of an upstream may take. */
  readonly deadline: number;
}

/** Runs what is the node's own: a function's thing here, an upstream's there. Whoever calls it has asked the policy. */
export function partRunner({ runFunction, route, ask, seal, deadline }: PartRunnerOptions): RunOwn {
  return async (call, name) => {
    const { kind } = subjectOf(call.method, call.params);
    const way = route(call.held, kind, name);
    if (way.to !== "upstream") return await runFunction(call, name);
    const maker = upstreamLabel(way.upstream);
    return await askRound({ call, maker, target: way.target, ask, seal, deadline });
  };
}
