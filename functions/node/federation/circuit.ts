import { code, RpcError } from "../protocol/rpc.ts";
import { BoundedMap } from "../state/bounded-map.ts";
import type { NodeId } from "./manifest.ts";

/** What one request to a peer showed: an answer (even an error one), a fault of the peer, or silence until the deadline. */
export type Sample = "answer" | "fault" | "silence";

/** How many requests of an epoch may be under way: 0 = ejected until then, 1 = a probe. An epoch ends with an ejection. */
export interface Allowance {
  readonly requests: number;
  readonly epoch: number;
  /** Milliseconds since 1970 at which an ejected peer may be asked again; 0 when it may be asked. */
  readonly until: number;
}

interface Health {
  /** Share of faults among recent requests, 0 to 1. */
  faults: number;
  /** Mean duration of recent answers in milliseconds; undefined before the first. */
  latency: number | undefined;
  faultsInRow: number;
  sampledAt: number;
  answeredAt: number;
  epoch: number;
  /** Requests allowed under way; infinite for a peer in good health. */
  allowed: number;
  until: number;
  /** How often the peer was ejected without a long good time in between. */
  ejections: number;
  restoredAt: number;
}

/** Milliseconds. */
const firstPause = 1_000;
const longestPause = 30_000;
/** After this long in good health, the next ejection is a short one again. */
const forgivenAfter = 60_000;
/** A sample weighs at least this much; after a quiet time more, since what was before says little. */
const leastWeight = 0.1;
const memory = 5_000;
const faultsToEject = 3;
const shareToEject = 0.5;
/** The allowance doubles with each answer; from here on it is no limit any more. */
const unlimitedFrom = 64;
const maxPeers = 4_096;

/**
 * Passive health of peers. A peer is ejected after three faults in a row that make up half of its recent requests: for 1 s, then twice as
 * long each time, at most 30 s. After that one request probes it; each answer doubles what is allowed, a fault ejects it again.
 */
export class Circuits {
  readonly #peers = new BoundedMap<NodeId, Health>(maxPeers);

  allowance(peer: NodeId, now: number): Allowance {
    const health = this.#peers.get(peer);
    if (!health) return { requests: Number.POSITIVE_INFINITY, epoch: 0, until: 0 };
    const ejected = now < health.until;
    return { requests: ejected ? 0 : health.allowed, epoch: health.epoch, until: ejected ? health.until : 0 };
  }

  /** Mean duration of the peer's recent answers in milliseconds; 0 when it gave none. */
  latency(peer: NodeId): number {
    return this.#peers.get(peer)?.latency ?? 0;
  }

  /** Takes note of a request of `epoch` that ran from `started` to `now`. Requests from before an ejection no longer say anything. */
  observe(peer: NodeId, epoch: number, sample: Sample, started: number, now: number): void {
    const health = this.#peers.get(peer) ?? fresh(now);
    if (health.epoch !== epoch) return;
    // A peer that answers others meanwhile is not down: what was asked of it is slow.
    if (sample === "silence" && health.answeredAt > started) return;
    this.#peers.set(peer, health);
    const weight = Math.max(leastWeight, 1 - Math.exp((health.sampledAt - now) / memory));
    health.faults += weight * ((sample === "answer" ? 0 : 1) - health.faults);
    health.sampledAt = now;
    if (sample === "answer") {
      const took = now - started;
      health.latency = health.latency === undefined ? took : health.latency + weight * (took - health.latency);
      health.answeredAt = now;
      health.faultsInRow = 0;
      if (health.allowed < unlimitedFrom && (health.allowed *= 2) >= unlimitedFrom) {
        health.allowed = Number.POSITIVE_INFINITY;
        health.restoredAt = now;
      }
      return;
    }
    health.faultsInRow += 1;
    const recovering = Number.isFinite(health.allowed);
    if (recovering || (health.faultsInRow >= faultsToEject && health.faults >= shareToEject)) eject(peer, health, now);
  }
}

function fresh(now: number): Health {
  return {
    faults: 0,
    latency: undefined,
    faultsInRow: 0,
    sampledAt: Number.NEGATIVE_INFINITY,
    answeredAt: Number.NEGATIVE_INFINITY,
    epoch: 0,
    allowed: Number.POSITIVE_INFINITY,
    until: 0,
    ejections: 0,
    restoredAt: now,
  };
}

function eject(peer: NodeId, health: Health, now: number): void {
  const forgiven = Number.isFinite(health.allowed) ? false : now - health.restoredAt >= forgivenAfter;
  health.ejections = forgiven ? 1 : health.ejections + 1;
  const pause = Math.min(longestPause, firstPause * 2 ** (health.ejections - 1));
  health.until = now + pause;
  health.allowed = 1;
  health.epoch += 1;
  console.error(
    JSON.stringify({
      error: "a peer is ejected",
      peer,
      ms: pause,
      faults: Number(health.faults.toFixed(2)),
      latencyMs: health.latency === undefined ? null : Math.round(health.latency),
    }),
  );
}

/** The answer to a request for a peer that may not be asked now. */
export function ejected(peer: NodeId, { until }: Allowance, now: number): RpcError {
  const seconds = until > now ? Math.ceil((until - now) / 1000) : 1;
  const message =
    until > now
      ? `${peer} failed repeatedly and is not asked again until ${new Date(until).toISOString()} (${seconds} s)`
      : `${peer} failed repeatedly and is not asked again until the request that probes it is answered`;
  return new RpcError(code.unavailable, message, { peer, retryable: true, retryAfterSeconds: seconds });
}
