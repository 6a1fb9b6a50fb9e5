import { checkKey, encodeValue, expiry, type Json, logKey, pageSize, type State, type WriteOptions } from "./state.ts";

interface Stored {
  /** JSON text, so that nobody shares an object with the store. */
  readonly text: string;
  readonly version: number;
  readonly expires: number | null;
}

/** A state that lives as long as the process: for tests, and the reference of what a store must do. */
export function memoryState(now: () => number = () => Date.now()): State {
  const stored = new Map<string, Stored>();
  const sequences = new Map<string, number>();

  const live = (key: string): Stored | undefined => {
    const entry = stored.get(key);
    if (entry === undefined || entry.expires === null || entry.expires > now()) return entry;
    stored.delete(key);
    return undefined;
  };
  const write = (key: string, value: Json, version: number, options?: WriteOptions): number => {
    stored.set(key, { text: encodeValue(key, value), version, expires: expiry(options, now()) });
    return version;
  };
  const read = (key: string, { text, version }: Stored) => ({ key, value: JSON.parse(text) as Json, version });

  return {
    async get(key) {
      checkKey(key);
      const entry = live(key);
      return entry && read(key, entry);
    },
    async put(key, value, options) {
      checkKey(key);
      return write(key, value, (live(key)?.version ?? 0) + 1, options);
    },
    async cas(key, expected, value, options) {
      checkKey(key);
      encodeValue(key, value);
      if ((live(key)?.version ?? 0) !== expected) return undefined;
      return write(key, value, expected + 1, options);
    },
    async append(log, value, options) {
      const sequence = (sequences.get(log) ?? 0) + 1;
      const key = logKey(log, sequence);
      checkKey(key);
      write(key, value, 1, options);
      sequences.set(log, sequence);
      return key;
    },
    async appendAll(log, values, options) {
      for (const value of values) encodeValue(log, value);
      for (const value of values) await this.append(log, value, options);
    },
    async list(prefix, options) {
      const limit = pageSize(options);
      const after = options?.after ?? "";
      const keys = [...stored.keys()]
        .filter((key) => key.startsWith(prefix) && key > after && live(key) !== undefined)
        .toSorted(byCodeUnit);
      const entries = keys.slice(0, limit).map((key) => read(key, stored.get(key) as Stored));
      const next = keys.length > limit ? entries.at(-1)?.key : undefined;
      return next === undefined ? { entries } : { entries, next };
    },
  };
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
