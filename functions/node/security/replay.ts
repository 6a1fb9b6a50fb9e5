import { clockSkew } from "./principal.ts";

/** Above this many live tokens the guard refuses rather than forgets. */
const maxLive = 200_000;

/** Remembers the ids of tokens until they expire, so that each opens the door once. One per isolate. */
export class ReplayGuard {
  readonly #expiries = new Map<string, number>();
  #sweepAt = 1_024;

  /** True the first time an id is seen. `expires` is in seconds since 1970. */
  firstUse(id: string, expires: number): boolean {
    if (this.#expiries.has(id)) return false;
    if (this.#expiries.size >= this.#sweepAt) this.#sweep();
    if (this.#expiries.size >= maxLive) return false;
    this.#expiries.set(id, expires + clockSkew);
    return true;
  }

  #sweep(): void {
    const now = Date.now() / 1000;
    for (const [id, expires] of this.#expiries) if (expires < now) this.#expiries.delete(id);
    // Doubling keeps the cost of sweeping constant per token.
    this.#sweepAt = Math.max(1_024, this.#expiries.size * 2);
  }
}
