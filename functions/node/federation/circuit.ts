import type { NodeId } from "./manifest.ts";

const firstPause = 1_000;
const longestPause = 30_000;

/** Leaves a peer alone for a while after it failed: 1 s, then twice as long each time, at most 30 s. */
export class Circuits {
  readonly #failures = new Map<NodeId, { count: number; until: number }>();

  /** Milliseconds until the peer may be asked again; 0 when it may be asked now. */
  pause(peer: NodeId, now: number): number {
    return Math.max(0, (this.#failures.get(peer)?.until ?? 0) - now);
  }

  succeeded(peer: NodeId): void {
    this.#failures.delete(peer);
  }

  failed(peer: NodeId, now: number): void {
    // Requests that were under way together fail together: that is one failure.
    if (this.pause(peer, now) > 0) return;
    const count = (this.#failures.get(peer)?.count ?? 0) + 1;
    this.#failures.set(peer, { count, until: now + Math.min(longestPause, firstPause * 2 ** (count - 1)) });
  }
}
