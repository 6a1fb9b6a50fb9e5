import { DurableObject } from "cloudflare:workers";
import type { DurableObjectNamespace, DurableObjectState } from "cloudflare:workers";
import { checkKey, encodeValue, expiry, logKey, pageSize } from "../../functions/node/state/state.ts";
import type { Json, State, StateEntry, WriteOptions } from "../../functions/node/state/state.ts";

/** An entry as it is stored and as it crosses the RPC: its value is JSON text. */
type Row = { readonly key: string; readonly value: string; readonly version: number };

/** What the object offers over RPC; keys, values and limits were checked by the caller. */
export interface Store {
  read(key: string): Promise<Row | undefined>;
  /** `expected` undefined = write unconditionally, 0 = only while the key is absent. */
  write(
    key: string,
    expected: number | undefined,
    value: string,
    ttlSeconds: number | undefined,
  ): Promise<number | undefined>;
  append(log: string, value: string, ttlSeconds: number | undefined): Promise<string>;
  appendAll(log: string, values: readonly string[], ttlSeconds: number | undefined): Promise<void>;
  scan(prefix: string, after: string, limit: number): Promise<Row[]>;
}

/** A node has one object, so one place orders all writes to its state. */
const objectName = "node";

/** The state of the node whose Worker has `namespace` bound. */
export function durableState(namespace: DurableObjectNamespace<Store>): State {
  // A stub belongs to the request that made it, so each call makes its own; making one is free.
  const store = (): Store => namespace.getByName(objectName);
  return {
    async get(key) {
      checkKey(key);
      const row = await store().read(key);
      return row && entry(row);
    },

    async put(key, value, options) {
      checkKey(key);
      return (await store().write(key, undefined, encodeValue(key, value), ttl(options))) as number;
    },

    async cas(key, expected, value, options) {
      checkKey(key);
      return store().write(key, expected, encodeValue(key, value), ttl(options));
    },

    async append(log, value, options) {
      checkKey(logKey(log, 0));
      return store().append(log, encodeValue(log, value), ttl(options));
    },

    async appendAll(log, values, options) {
      checkKey(logKey(log, 0));
      await store().appendAll(
        log,
        values.map((value) => encodeValue(log, value)),
        ttl(options),
      );
    },

    async list(prefix, options) {
      const limit = pageSize(options);
      // One more than asked for tells whether another page follows.
      const rows = await store().scan(prefix, options?.after ?? "", limit + 1);
      const entries = rows.slice(0, limit).map(entry);
      const last = entries.at(-1);
      return rows.length > limit && last ? { entries, next: last.key } : { entries };
    },
  };
}

function entry(row: Row): StateEntry {
  return { key: row.key, value: JSON.parse(row.value) as Json, version: row.version };
}

/** The object's clock decides when an entry expires, so the span travels and not the moment. */
function ttl(options: WriteOptions | undefined): number | undefined {
  expiry(options, 0);
  return options?.ttlSeconds;
}

const schemaVersion = 1;
const schema = `
  CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL, expires REAL) WITHOUT ROWID;
  CREATE INDEX entries_by_expiry ON entries (expires) WHERE expires IS NOT NULL;
  CREATE TABLE sequences (log TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;`;

/** Between the end of an expired entry and the moment its row goes. Reads never show it in between. */
const sweepDelayMs = 3_600_000;
/** Sorts after every character a key may have. */
const afterAnyKey = "\u007f";

/**
 * The Durable Object class that holds a node's state in its SQLite storage.
 *
 * Its methods do not wait for anything, so each runs alone and what it wrote is stored as one: that makes them atomic.
 */
export class NodeState extends DurableObject implements Store {
  readonly #sql = this.ctx.storage.sql;
  /** Whether an alarm is known to be set; asked of the storage once per life of the object. */
  #sweeps = false;

  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env);
    this.#prepare();
  }

  async read(key: string): Promise<Row | undefined> {
    return this.#alive(key);
  }

  async write(
    key: string,
    expected: number | undefined,
    value: string,
    ttlSeconds: number | undefined,
  ): Promise<number | undefined> {
    const version = this.ctx.storage.transactionSync(() => {
      const current = this.#alive(key)?.version ?? 0;
      if (expected !== undefined && expected !== current) return undefined;
      this.#store(key, value, current + 1, ttlSeconds);
      return current + 1;
    });
    if (ttlSeconds !== undefined) await this.#sweepLater();
    return version;
  }

  async append(log: string, value: string, ttlSeconds: number | undefined): Promise<string> {
    const key = this.ctx.storage.transactionSync(() => this.#append(log, value, ttlSeconds));
    if (ttlSeconds !== undefined) await this.#sweepLater();
    return key;
  }

  async appendAll(log: string, values: readonly string[], ttlSeconds: number | undefined): Promise<void> {
    this.ctx.storage.transactionSync(() => {
      for (const value of values) this.#append(log, value, ttlSeconds);
    });
    if (ttlSeconds !== undefined) await this.#sweepLater();
  }

  async scan(prefix: string, after: string, limit: number): Promise<Row[]> {
    return this.#sql
      .exec<Row>(
        `SELECT key, value, version FROM entries
         WHERE key >= ? AND key < ? AND key > ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?`,
        prefix,
        prefix + afterAnyKey,
        after,
        Date.now(),
        limit,
      )
      .toArray();
  }

  /** Called by the platform at the time of the alarm. */
  override async alarm(): Promise<void> {
    this.#sweeps = false;
    this.#sql.exec("DELETE FROM entries WHERE expires <= ?", Date.now());
    if (this.#sql.exec("SELECT 1 AS one FROM entries WHERE expires IS NOT NULL LIMIT 1").toArray().length > 0)
      await this.#sweepLater();
  }

  #alive(key: string): Row | undefined {
    return this.#sql
      .exec<Row>(
        "SELECT key, value, version FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)",
        key,
        Date.now(),
      )
      .toArray()[0];
  }

  #append(log: string, value: string, ttlSeconds: number | undefined): string {
    const [row] = this.#sql
      .exec<{ last: number }>(
        "INSERT INTO sequences (log, last) VALUES (?, 1) ON CONFLICT (log) DO UPDATE SET last = last + 1 RETURNING last",
        log,
      )
      .toArray();
    const key = logKey(log, row!.last);
    this.#store(key, value, (this.#alive(key)?.version ?? 0) + 1, ttlSeconds);
    return key;
  }

  #store(key: string, value: string, version: number, ttlSeconds: number | undefined): void {
    const expires = ttlSeconds === undefined ? null : Date.now() + ttlSeconds * 1000;
    this.#sql.exec(
      "INSERT OR REPLACE INTO entries (key, value, version, expires) VALUES (?, ?, ?, ?)",
      key,
      value,
      version,
      expires,
    );
  }

  async #sweepLater(): Promise<void> {
    if (this.#sweeps) return;
    this.#sweeps = true;
    const { storage } = this.ctx;
    if ((await storage.getAlarm()) === null) await storage.setAlarm(Date.now() + sweepDelayMs);
  }

  #prepare(): void {
    this.ctx.storage.transactionSync(() => {
      this.#sql.exec("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)");
      const [row] = this.#sql.exec<{ value: number }>("SELECT value FROM meta WHERE name = 'schema'").toArray();
      if (row?.value === schemaVersion) return;
      if (row)
        throw new Error(
          `the state has schema ${row.value}; this code knows ${schemaVersion}: deploy the version that wrote it, or a newer one`,
        );
      this.#sql.exec(schema);
      this.#sql.exec("INSERT INTO meta (name, value) VALUES ('schema', ?)", schemaVersion);
    });
  }
}
