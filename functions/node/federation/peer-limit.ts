import { RpcError } from "../protocol/rpc.ts";
import type { Circuits, Sample } from "./circuit.ts";
import { type AskPeer, PeerFailure } from "./peer-client.ts";
import type { PeerSlots } from "./peer-slots.ts";

export interface PeerLimitOptions {
  readonly slots: PeerSlots;
  readonly circuits: Circuits;
  readonly now?: () => number;
}

/** Puts limits, queue and health before a way to ask peers. The time in the queue counts towards the request's deadline. */
export function limitPeers(ask: AskPeer, { slots, circuits, now = () => Date.now() }: PeerLimitOptions): AskPeer {
  return async (request) => {
    const { peer, principal, deadline, signal } = request;
    const asked = now();
    const slot = await slots.enter({ peer, subject: principal.subject, deadline, signal });
    const started = now();
    const observe = (sample: Sample) => circuits.observe(peer, slot.epoch, sample, started, now());
    try {
      const result = await ask({ ...request, deadline: Math.max(1, deadline - (started - asked)) });
      observe("answer");
      return result;
    } catch (cause) {
      const sample = sampleOf(cause);
      if (sample && !signal?.aborted) observe(sample);
      throw cause;
    } finally {
      slots.leave(slot);
    }
  };
}

/** Undefined for what says nothing about the peer: a caller that left, a fault of this node. */
function sampleOf(cause: unknown): Sample | undefined {
  if (cause instanceof PeerFailure) return cause.sample;
  return cause instanceof RpcError ? "answer" : undefined;
}
