import { DatabaseSync } from "node:sqlite";
import { checkKey, encodeValue, expiry, logKey, pageSize } from "../../functions/node/state/state.ts";
import type {
  Json,
  ListOptions,
  State,
  StateEntry,
  StatePage,
  WriteOptions,
} from "../../functions/node/state/state.ts";

/** A {@link State} in a SQLite file. */
export interface SqliteState extends State {
  /** Closes the file; no method may be called after that. */
  close(): void;
}

interface Row {
  readonly key: string;
  readonly value: string;
  readonly version: number;
}

// WAL with `synchronous = normal` survives the end of the process at any moment; a power cut may take the last writes, never the file.
const schema = `
  PRAGMA journal_mode = wal;
  PRAGMA synchronous = normal;
  CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL, expires REAL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires) WHERE expires IS NOT NULL;
  CREATE TABLE IF NOT EXISTS sequences (log TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`;

const alive = "(expires IS NULL OR expires > :now)";
const sweepInterval = 60_000;
/** Sorts after every character a key may have. */
const afterAnyKey = "\u007f";

/** Opens a state in one SQLite file (made when absent); `:memory:` keeps it in memory. */
export function openState(path: string): SqliteState {
  const database = new DatabaseSync(path, { timeout: 5000 });
  database.exec(schema);
  const get = database.prepare(`SELECT key, value, version FROM entries WHERE key = :key AND ${alive}`);
  const put = database.prepare(`
    INSERT INTO entries (key, value, version, expires) VALUES (:key, :value, 1, :expires)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires,
      version = CASE WHEN ${alive.replaceAll("expires", "entries.expires")} THEN version + 1 ELSE 1 END
    RETURNING version`);
  const create = database.prepare(`
    INSERT INTO entries (key, value, version, expires) VALUES (:key, :value, 1, :expires)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires, version = 1
    WHERE entries.expires <= :now
    RETURNING version`);
  const replace = database.prepare(`
    UPDATE entries SET value = :value, expires = :expires, version = version + 1
    WHERE key = :key AND version = :expected AND ${alive}
    RETURNING version`);
  const nextSequence = database.prepare(`
    INSERT INTO sequences (log, last) VALUES (:log, :count)
    ON CONFLICT (log) DO UPDATE SET last = last + :count RETURNING last`);
  const list = database.prepare(`
    SELECT key, value, version FROM entries
    WHERE key >= :prefix AND key < :end AND key > :after AND ${alive}
    ORDER BY key LIMIT :limit`);
  const sweep = database.prepare("DELETE FROM entries WHERE expires <= :now");
  let sweptAt = 0;

  return {
    async get(key) {
      checkKey(key);
      const row = get.get({ key, now: Date.now() }) as Row | undefined;
      return row && entry(row);
    },

    async put(key, value, options) {
      checkKey(key);
      return write(key, value, options);
    },

    async cas(key, expected, value, options) {
      checkKey(key);
      const now = Date.now();
      const fields = { key, value: encodeValue(key, value), expires: expiry(options, now), now };
      const row = expected === 0 ? create.get(fields) : replace.get({ ...fields, expected });
      return (row as Pick<Row, "version"> | undefined)?.version;
    },

    async append(log, value, options) {
      checkKey(logKey(log, 0));
      encodeValue(log, value);
      expiry(options, 0);
      return transaction(() => {
        const { last } = nextSequence.get({ log, count: 1 }) as { last: number };
        const key = logKey(log, last);
        write(key, value, options);
        return key;
      });
    },

    async appendAll(log, values, options) {
      checkKey(logKey(log, 0));
      transaction(() => {
        const { last } = nextSequence.get({ log, count: values.length }) as { last: number };
        values.forEach((value, n) => write(logKey(log, last - values.length + 1 + n), value, options));
      });
    },

    async list(prefix, options) {
      return page(prefix, options);
    },

    close() {
      database.close();
    },
  };

  function write(key: string, value: Json, options: WriteOptions | undefined): number {
    const now = Date.now();
    if (now - sweptAt > sweepInterval) {
      sweep.run({ now });
      sweptAt = now;
    }
    return (put.get({ key, value: encodeValue(key, value), expires: expiry(options, now), now }) as unknown as Row)
      .version;
  }

  function page(prefix: string, options: ListOptions | undefined): StatePage {
    const limit = pageSize(options);
    // One more than asked for tells whether another page follows.
    const rows = list.all({
      prefix,
      end: prefix + afterAnyKey,
      after: options?.after ?? "",
      limit: limit + 1,
      now: Date.now(),
    });
    const entries = (rows as unknown as Row[]).slice(0, limit).map(entry);
    const last = entries.at(-1);
    return rows.length > limit && last ? { entries, next: last.key } : { entries };
  }

  function transaction<T>(work: () => T): T {
    database.exec("BEGIN IMMEDIATE");
    try {
      const answer = work();
      database.exec("COMMIT");
      return answer;
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  }
}

function entry(row: Row): StateEntry {
  return { key: row.key, value: JSON.parse(row.value) as Json, version: row.version };
}
