import type { State } from "../state/state.ts";
import { isFields } from "./rpc.ts";

/** What may change: one of the lists, or a resource. */
export type Change = "tools" | "resources" | "prompts" | { readonly uri: string };

const log = "changes";
/** Longer than any reader sleeps. */
const ttlSeconds = 60;
const pageSize = 100;

/**
 * Changes that functions announce. They go through the node's state, since the subscriber's stream may be served by another isolate.
 */
export class Changes {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  async announce(change: Change): Promise<void> {
    await this.#state.append(log, change, { ttlSeconds });
  }

  /** The place in the log after which everything is news. */
  async now(): Promise<string> {
    let last = "";
    for (;;) {
      const page = await this.#state.list(`${log}/`, { limit: 1000, ...(last !== "" && { after: last }) });
      last = page.entries.at(-1)?.key ?? last;
      if (page.next === undefined) return last;
    }
  }

  /** What was announced after a place, oldest first, and the place to go on from. */
  async since(place: string): Promise<{ readonly changes: readonly Change[]; readonly place: string }> {
    const page = await this.#state.list(`${log}/`, { limit: pageSize, ...(place !== "" && { after: place }) });
    const changes = page.entries.map(
      ({ value }) => (isFields(value) ? { uri: String(value["uri"]) } : value) as Change,
    );
    return { changes, place: page.entries.at(-1)?.key ?? place };
  }
}
