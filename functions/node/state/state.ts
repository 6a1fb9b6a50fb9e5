/** Any value that survives a round trip through JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A stored value and the version that {@link State.cas} compares. */
export interface StateEntry {
  readonly key: string;
  readonly value: Json;
  /** Starts at 1 and grows with every write of the key. */
  readonly version: number;
}

export interface WriteOptions {
  /** Seconds until the entry is gone; without it the entry stays. Must be above 0. */
  readonly ttlSeconds?: number;
}

export interface ListOptions {
  /** Only keys that sort after this one (exclusive): the `next` of the page before. */
  readonly after?: string;
  /** Entries per page, 1 to 1000; 100 when absent. */
  readonly limit?: number;
}

export interface StatePage {
  /** Sorted by key in code-unit order of the UTF-8 text. */
  readonly entries: readonly StateEntry[];
  /** Pass as `after` to get the next page; absent on the last one. */
  readonly next?: string;
}

/**
 * A node's durable state: one small interface over each platform's own database.
 *
 * Keys are 1 to 512 characters of `A-Za-z0-9._:/@-`, values at most 64 KiB of JSON; a store refuses others with a `StateError`.
 * Every method is one atomic operation. An expired entry is absent for all methods.
 */
export interface State {
  /** The entry, or undefined where there is none. */
  get(key: string): Promise<StateEntry | undefined>;
  /** Writes unconditionally; answers the new version. */
  put(key: string, value: Json, options?: WriteOptions): Promise<number>;
  /**
   * Compare and set: writes only while the stored version is `expected` (0 = the key is absent).
   * Answers the new version, or undefined when somebody else was first.
   */
  cas(key: string, expected: number, value: Json, options?: WriteOptions): Promise<number | undefined>;
  /**
   * Adds a value under `log/` + a sequence of 16 digits, so that `list(log + "/")` reads in order of writing.
   * Answers the whole key. Sequences of one log grow and are never given twice.
   */
  append(log: string, value: Json, options?: WriteOptions): Promise<string>;
  /** As {@link append} for each value in turn, but all or none, at little more than the cost of one. */
  appendAll(log: string, values: readonly Json[], options?: WriteOptions): Promise<void>;
  /** The entries whose keys start with `prefix`, a page at a time. */
  list(prefix: string, options?: ListOptions): Promise<StatePage>;
}

/** A key or value outside the limits of {@link State}; every store refuses it with this error. */
export class StateError extends Error {
  override readonly name = "StateError";
}

export const maxKeyLength = 512;
export const maxValueBytes = 65_536;
const keyPattern = /^[A-Za-z0-9._:/@-]+$/;

/** Throws a {@link StateError} for a key that no store accepts. */
export function checkKey(key: string): void {
  if (key.length > maxKeyLength || !keyPattern.test(key)) {
    throw new StateError(
      `state key ${JSON.stringify(key.slice(0, 80))} must be 1 to ${maxKeyLength} characters of A-Z a-z 0-9 . _ : / @ -`,
    );
  }
}

/** The JSON text of a value; throws a {@link StateError} when it is larger than a store accepts. */
export function encodeValue(key: string, value: Json): string {
  const text = JSON.stringify(value);
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > maxValueBytes) {
    throw new StateError(`the value of state key "${key}" has ${bytes} bytes of JSON; the limit is ${maxValueBytes}`);
  }
  return text;
}

/** The moment, in milliseconds since 1970, at which an entry written now expires; null for never. */
export function expiry(options: WriteOptions | undefined, now: number): number | null {
  if (options?.ttlSeconds === undefined) return null;
  if (!(options.ttlSeconds > 0)) throw new StateError(`ttlSeconds is ${options.ttlSeconds}; it must be above 0`);
  return now + options.ttlSeconds * 1000;
}

/** The key of an appended value: `log/0000000000000042`. */
export function logKey(log: string, sequence: number): string {
  return `${log}/${String(sequence).padStart(16, "0")}`;
}

/** A page size within the limits of {@link ListOptions.limit}. */
export function pageSize(options: ListOptions | undefined): number {
  const limit = options?.limit ?? 100;
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
    throw new StateError(`limit is ${limit}; it must be 1 to 1000`);
  return limit;
}
