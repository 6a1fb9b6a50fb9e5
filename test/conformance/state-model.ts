import { expect } from "vitest";
import type { Json, ListOptions, StateEntry, StatePage } from "../../functions/node/state/state.ts";

/** The simplest thing that behaves like a State without expiry; it takes over the versions and sequences the store chose, and checks them. */
export class StateModel {
  readonly #entries = new Map<string, StateEntry>();
  readonly #lastOfLog = new Map<string, string>();

  get(key: string): StateEntry | undefined {
    return this.#entries.get(key);
  }

  version(key: string): number {
    return this.#entries.get(key)?.version ?? 0;
  }

  wrote(key: string, value: Json, version: number): void {
    const before = this.version(key);
    if (before === 0) expect(version).toBe(1);
    else expect(version).toBeGreaterThan(before);
    this.#entries.set(key, { key, value, version });
  }

  appended(log: string, value: Json, key: string): void {
    expect(key.slice(0, log.length + 1)).toBe(`${log}/`);
    expect(key.slice(log.length + 1)).toMatch(/^\d{16}$/);
    expect(key > (this.#lastOfLog.get(log) ?? "")).toBe(true);
    this.#lastOfLog.set(log, key);
    this.#entries.set(key, { key, value, version: 1 });
  }

  list(prefix: string, options: ListOptions): StatePage {
    const keys = [...this.#entries.keys()].filter((key) => key.startsWith(prefix) && key > (options.after ?? ""));
    const limit = options.limit ?? 100;
    const entries = keys
      .toSorted((a, b) => (a < b ? -1 : 1))
      .slice(0, limit)
      .map((key) => this.#entries.get(key) as StateEntry);
    const next = keys.length > limit ? entries.at(-1)?.key : undefined;
    return next === undefined ? { entries } : { entries, next };
  }
}
