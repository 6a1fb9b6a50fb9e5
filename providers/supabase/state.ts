import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import {
  checkKey,
  encodeValue,
  expiry,
  type Json,
  type ListOptions,
  logKey,
  pageSize,
  type State,
  type StateEntry,
  type StatePage,
  type WriteOptions,
} from "../../functions/node/state/state.ts";

/** Connects to a project's database over its REST API, with a key of the `service_role`. */
export function connect(url: string, serviceKey: string): SupabaseClient {
  // With `accessToken` the client makes no session and no timers; null leaves the service key as the bearer.
  return createClient(url, serviceKey, { accessToken: async () => null });
}

/** The state of one node, kept apart from other nodes of the project by its slug. Each method is one call of a function of `schema.ts`. */
export function openState(client: SupabaseClient, slug: string): State {
  return { get, put, cas, append, appendAll, list };

  async function get(key: string): Promise<StateEntry | undefined> {
    checkKey(key);
    const row = await call<{ value: string; version: number } | null>("get", { p_key: key });
    return row ? { key, value: JSON.parse(row.value) as Json, version: row.version } : undefined;
  }

  async function put(key: string, value: Json, options?: WriteOptions): Promise<number> {
    checkKey(key);
    return call<number>("put", { p_key: key, p_value: encodeValue(key, value), p_ttl: ttl(options) });
  }

  async function cas(key: string, expected: number, value: Json, options?: WriteOptions): Promise<number | undefined> {
    checkKey(key);
    const args = { p_key: key, p_expected: expected, p_value: encodeValue(key, value), p_ttl: ttl(options) };
    return (await call<number | null>("cas", args)) ?? undefined;
  }

  async function append(log: string, value: Json, options?: WriteOptions): Promise<string> {
    const longest = logKey(log, 0);
    checkKey(longest);
    const sequence = await call<number>("append", {
      p_log: log,
      p_value: encodeValue(longest, value),
      p_ttl: ttl(options),
    });
    return logKey(log, sequence);
  }

  async function appendAll(log: string, values: readonly Json[], options?: WriteOptions): Promise<void> {
    const longest = logKey(log, 0);
    checkKey(longest);
    const texts = values.map((value) => encodeValue(longest, value));
    await call<null>("append_all", { p_log: log, p_values: texts, p_ttl: ttl(options) });
  }

  async function list(prefix: string, options?: ListOptions): Promise<StatePage> {
    const args = { p_prefix: prefix, p_after: options?.after ?? "", p_limit: pageSize(options) };
    const page = await call<{ entries: { key: string; value: string; version: number }[]; more: boolean }>(
      "list",
      args,
    );
    const entries = page.entries.map(({ key, value, version }) => ({ key, value: JSON.parse(value) as Json, version }));
    const last = entries.at(-1);
    return page.more && last ? { entries, next: last.key } : { entries };
  }

  async function call<Result>(
    method: string,
    args: Record<string, string | readonly string[] | number | null>,
  ): Promise<Result> {
    const { data, error, status } = await client.rpc(`federation_state_${method}`, { p_node: slug, ...args });
    if (!error) return data as Result;
    // Of the error only the code: details of a database error may quote the row.
    const reason = error.code ? `code ${error.code}` : status ? `HTTP status ${status}` : "no answer";
    const remedy = schemaCodes.has(error.code)
      ? "; the project lacks the toolkit's schema or the key is not one of service_role"
      : "";
    throw new Error(`state ${method} failed: the database gave ${reason}${remedy}`);
  }
}

/** Function or table not found, permission denied. */
const schemaCodes = new Set(["PGRST202", "42883", "42P01", "42501"]);

/** Seconds, for the database's own clock; null for never. */
function ttl(options: WriteOptions | undefined): number | null {
  const milliseconds = expiry(options, 0);
  return milliseconds === null ? null : milliseconds / 1000;
}
