import { createClient } from "@supabase/supabase-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { State } from "../../../functions/node/state/state.ts";
import {
  claimSql,
  observeSql,
  presentSql,
  releaseSql,
  schemaSql,
  schemaVersion,
} from "../../../providers/supabase/schema.ts";
import { connect, openState } from "../../../providers/supabase/state.ts";
import { stateContract } from "../../conformance/state-contract.ts";
import { SupabaseCloud } from "./cloud.ts";

const cloud = new SupabaseCloud();
let serviceKey: string;
let secretKey: string;
let nodes = 0;

beforeAll(async () => {
  await cloud.start();
  await cloud.query(schemaSql + claimSql("first"));
  serviceKey = await cloud.key("legacy", "service_role");
  secretKey = await cloud.key("secret", "default");
});
afterAll(() => cloud.remove());

async function open(): Promise<State> {
  return openState(connect(cloud.projectUrl, secretKey), `node-${++nodes}`);
}

stateContract("Supabase", open);

describe("the state of two nodes of a project", () => {
  test("does not mix", async () => {
    const client = connect(cloud.projectUrl, serviceKey);
    const [a, b] = [openState(client, "mix-a"), openState(client, "mix-b")];
    await a.put("k", "a");
    expect(await a.append("log", 1)).toBe("log/0000000000000001");
    expect(await b.get("k")).toBeUndefined();
    expect(await b.list("")).toEqual({ entries: [] });
    expect(await b.append("log", 1)).toBe("log/0000000000000001");
    expect(await b.cas("k", 0, "b")).toBe(1);
    expect((await a.get("k"))?.value).toBe("a");
  });
});

describe("a failed call", () => {
  test("names the method and the code, not the key or the value", async () => {
    const state = openState(connect(cloud.projectUrl, await cloud.key("legacy", "anon")), "x");
    const error: Error = await state.put("secret-key", "secret-value").then(
      () => expect.unreachable(),
      (error: Error) => error,
    );
    expect(error.message).toContain("state put failed: the database gave code 42501");
    expect(error.message).not.toContain("secret-");
    expect(error.cause).toBeUndefined();
  });

  test("without an answer throws too", async () => {
    const state = openState(connect("http://127.0.0.1:1", serviceKey), "x");
    await expect(state.get("a")).rejects.toThrow("state get failed: the database gave no answer");
  });
});

describe("who may call the functions of the state", () => {
  const calls = {
    federation_state_get: { p_node: "n", p_key: "k" },
    federation_state_put: { p_node: "n", p_key: "k", p_value: "1", p_ttl: null },
    federation_state_cas: { p_node: "n", p_key: "k", p_expected: 0, p_value: "1", p_ttl: null },
    federation_state_append: { p_node: "n", p_log: "l", p_value: "1", p_ttl: null },
    federation_state_append_all: { p_node: "n", p_log: "l", p_values: ["1"], p_ttl: null },
    federation_state_list: { p_node: "n", p_prefix: "", p_after: "", p_limit: 1 },
  };

  test.each([
    ["legacy", "anon"],
    ["publishable", "default"],
  ])("a %s key %s may call none", async (type, name) => {
    const client = createClient(cloud.projectUrl, await cloud.key(type, name), { auth: { persistSession: false } });
    for (const [routine, args] of Object.entries(calls)) {
      const { error, status } = await client.rpc(routine, args);
      expect({ routine, status, code: error?.code }).toEqual({ routine, status: 401, code: "42501" });
    }
  });

  test.each(["authenticated", "anon"])("the role %s has no right to any function or table", async (role) => {
    const functions = await cloud.query(
      `select count(*)::int as n from pg_proc p join pg_namespace s on s.oid = p.pronamespace
       where (s.nspname = 'federation' or p.proname like 'federation\\_%') and has_function_privilege('${role}', p.oid, 'execute')`,
    );
    expect(functions).toEqual([{ n: 0 }]);
    const schema = await cloud.query(`select has_schema_privilege('${role}', 'federation', 'usage') as usage`);
    expect(schema).toEqual([{ usage: false }]);
  });
});

describe("the schema", () => {
  test("may be applied again, from several deployments at once, and keeps what is stored", async () => {
    const state = await open();
    await state.put("kept", 1);
    await Promise.all([cloud.query(schemaSql + claimSql("first")), cloud.query(schemaSql + claimSql("se'cond"))]);
    expect((await state.get("kept"))?.version).toBe(1);
    expect(await cloud.query(observeSql("se'cond"))).toEqual([{ version: schemaVersion, claimed: true }]);
    expect(await cloud.query(observeSql("other"))).toEqual([{ version: schemaVersion, claimed: false }]);
  });

  test("expired rows do not pile up", async () => {
    const state = await open();
    await cloud.query(
      `insert into federation.entry select 'old', n::text, '1', 1, now() - interval '1 minute' from generate_series(1, 40) n`,
    );
    for (let n = 0; n < 3; n++) await state.put("fresh", n, { ttlSeconds: 60 });
    expect(await cloud.query("select count(*)::int as n from federation.entry where expires_at < now()")).toEqual([
      { n: 0 },
    ]);
  });

  test("goes with its last owner, and may go twice", async () => {
    await cloud.query(releaseSql("first"));
    expect(await cloud.query(presentSql)).toEqual([{ present: true }]);
    await cloud.query(releaseSql("se'cond"));
    await cloud.query(releaseSql("se'cond"));
    expect(await cloud.query(presentSql)).toEqual([{ present: false }]);
    const left = await cloud.query("select count(*)::int as n from pg_proc where proname like 'federation\\_%'");
    expect(left).toEqual([{ n: 0 }]);
    await expect((await open()).get("a")).rejects.toThrow("code PGRST202; the project lacks the toolkit's schema");
  });
});
