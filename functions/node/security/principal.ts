import type { NodeId } from "../federation/manifest.ts";
import type { Party } from "./policy.ts";

/** Who is behind a request, proven by its token. */
export interface Principal extends Party {
  /** `name@organization` of the user; for a node that acts for itself, its id. */
  readonly subject: string;
  /** Nodes that relayed the request, the nearest last; empty for a user's own request. */
  readonly via: readonly NodeId[];
  /** Set when a node sent the request. */
  readonly hop?: Hop;
}

/** What a hop token says beside who. */
export interface Hop {
  /** The node that sent the request. */
  readonly caller: NodeId;
  readonly callId: string;
  /** The one thing that the token allows: `tools/call echo`, `tools/list`, `manifest`. */
  readonly scope: string;
  /** Serial of the caller's manifest. */
  readonly serial: number;
}

/** A request may be relayed over at most this many nodes. */
export const maxHops = 4;
/** Longest life of a hop token in seconds. */
export const hopLifetime = 60;
/** How far clocks may be apart, in seconds. */
export const clockSkew = 5;
