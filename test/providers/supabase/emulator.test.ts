import { gzipSync } from "node:zlib";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { claimSql, schemaSql } from "../../../providers/supabase/schema.ts";
import { projectRef, SupabaseCloud } from "./cloud.ts";
import { compileNode, nodeConfig, nodeKey } from "./node.ts";

const cloud = new SupabaseCloud();
let code: string;

beforeAll(async () => {
  await cloud.start();
  code = await compileNode();
  await cloud.query(schemaSql + claimSql("test"));
});
afterAll(() => cloud.remove());

async function ask(slug: string, path: string, init?: RequestInit): Promise<any> {
  const response = await fetch(cloud.functionUrl(slug) + path, init);
  expect(response.status, await response.clone().text()).toBe(200);
  return response.json();
}

function secrets(slug: string, node: string, kid: string): { name: string; value: string }[] {
  const suffix = slug.toUpperCase().replaceAll("-", "_");
  return [
    { name: `FEDERATION_CONFIG_${suffix}`, value: nodeConfig(node, cloud.functionUrl(slug)) },
    { name: `FEDERATION_KEY_${suffix}`, value: nodeKey(kid) },
  ];
}

/** Polls while a restart is under way; every answer on the way must be a 200. */
async function until(slug: string, done: (answer: any) => boolean): Promise<any> {
  for (let tries = 0; tries < 100; tries++) {
    const answer = await ask(slug, "/");
    if (done(answer)) return answer;
    await sleep(50);
  }
  throw new Error(`never so; log:\n${cloud.lines.join("\n")}`);
}

describe("the real bridge in real Deno", () => {
  test("two nodes share a bundle and keep apart", async () => {
    const all = [...secrets("net-acme-hub", "acme/hub", "k1"), ...secrets("net-beta-x1", "beta/x1", "k2")];
    expect((await cloud.manage("POST", "/secrets", all)).status).toBe(201);
    for (const slug of ["net-acme-hub", "net-beta-x1"]) {
      const deployed = await cloud.deploy(slug, code);
      expect(deployed.status, await deployed.clone().text()).toBe(201);
      expect(await deployed.json()).toMatchObject({ slug, status: "ACTIVE", version: 1, verify_jwt: false });
    }
    const init = { method: "POST", body: "hello", headers: { "x-test": "yes" } };
    expect(await ask("net-acme-hub", "/mcp/a%2Fb?q=1&q=%20", init)).toEqual({
      start: 1,
      node: "acme/hub",
      url: cloud.functionUrl("net-acme-hub"),
      kid: "k1",
      method: "POST",
      path: "/mcp/a%2Fb?q=1&q=%20",
      header: "yes",
      body: "hello",
      worker: "undefined",
    });
    expect(await ask("net-beta-x1", "")).toMatchObject({ node: "beta/x1", kid: "k2", path: "/", start: 1 });
    expect(await ask("net-beta-x1", "/?a=b")).toMatchObject({ path: "/?a=b", start: 1 });
  });

  test("state goes to the project's database, a part for each node", async () => {
    expect(await ask("net-acme-hub", "/count")).toEqual({ node: "acme/hub", version: 1 });
    expect(await ask("net-acme-hub", "/count")).toEqual({ node: "acme/hub", version: 2 });
    expect(await ask("net-beta-x1", "/count")).toEqual({ node: "beta/x1", version: 1 });
  });

  test("streams are passed as they are made", async () => {
    const response = await fetch(`${cloud.functionUrl("net-acme-hub")}/stream`);
    const arrivals: number[] = [];
    for await (const _ of response.body!) arrivals.push(performance.now());
    expect(arrivals).toHaveLength(3);
    expect(arrivals[2]! - arrivals[0]!).toBeGreaterThan(150);
  });

  test("work goes on after the answer", async () => {
    expect((await fetch(`${cloud.functionUrl("net-acme-hub")}/later`)).status).toBe(202);
    await sleep(500);
    expect(await ask("net-acme-hub", "/later/seen")).toBe(true);
  });

  test("a node without its secrets says which one is missing", async () => {
    expect((await cloud.deploy("net-gamma-y", code)).status).toBe(201);
    const response = await fetch(`${cloud.functionUrl("net-gamma-y")}/mcp`);
    expect(response.status).toBe(500);
    expect((await response.json()).error).toContain("FEDERATION_CONFIG is not set");
    expect((await cloud.manage("DELETE", "/functions/net-gamma-y")).status).toBe(200);
  });

  test("what the bundle costs", () => {
    const bytes = Buffer.byteLength(code);
    const gzip = gzipSync(code).length;
    console.info(`bridge, state and supabase-js: ${bytes} bytes, ${gzip} gzip`);
    expect(bytes).toBeLessThan(36_200);
    expect(gzip).toBeLessThan(12_200);
    expect(code).not.toMatch(/from"npm:|from"jsr:|from"https?:/);
  });
});

describe("secrets", () => {
  test("a changed one reaches running functions, and no request is lost", async () => {
    const before = await ask("net-acme-hub", "/");
    expect(before.kid).toBe("k1");
    await cloud.manage("POST", "/secrets", secrets("net-acme-hub", "acme/hub", "k9"));
    expect((await until("net-acme-hub", ({ kid }) => kid === "k9")).node).toBe("acme/hub");
    // The other side of the pair of runtimes has its turn, and the old one ends.
    await sleep(1_500);
    expect(await ask("net-acme-hub", "/")).toMatchObject({ kid: "k9" });
  });

  test("an unchanged one restarts nothing", async () => {
    const started = cloud.lines.length;
    await cloud.manage("POST", "/secrets", secrets("net-acme-hub", "acme/hub", "k9"));
    await sleep(600);
    expect(cloud.lines.slice(started)).toEqual([]);
  });

  test("are on disk for the owner only, and in no log", () => {
    const file = join(cloud.dir, "supabase", "projects", projectRef, "project.json");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const logs = join(cloud.dir, "runtimes", "supabase");
    const text =
      cloud.lines.join("\n") +
      readdirSync(logs)
        .map((name) => readFileSync(join(logs, name), "utf8"))
        .join("\n");
    expect(text).not.toContain("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
  });
});

describe("a deployment that does not boot", () => {
  test.each([
    ["a syntax error", "export const = 1;", "expression expected|Expression expected|Unexpected token|Expected"],
    ["a throw", "throw new Error('no luck');", "no luck"],
    ["a module from the network", "import 'npm:left-pad@1'; Deno.serve(() => new Response());", "npm"],
  ])("because of %s is refused in the API's shape, and what ran goes on", async (_, broken, words) => {
    const response = await cloud.deploy("net-beta-x1", broken);
    expect(response.status).toBe(400);
    expect((await response.json()).message).toMatch(new RegExp(words));
    expect(await ask("net-beta-x1", "/")).toMatchObject({ node: "beta/x1" });
    expect(await (await cloud.manage("GET", "/functions/net-beta-x1")).json()).toMatchObject({ version: 1 });
  });
});

describe("the gateway", () => {
  test("answers for functions that are not there", async () => {
    const response = await fetch(cloud.functionUrl("nobody"));
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({ code: "NOT_FOUND", message: "Requested function was not found" });
  });

  test("checks the token of a function that leaves it to the gateway", async () => {
    await cloud.deploy("guarded", "Deno.serve((r) => new Response(new URL(r.url).pathname + ' ' + r.method))", {
      verifyJwt: true,
    });
    const call = (headers: Record<string, string>) =>
      fetch(`${cloud.functionUrl("guarded")}/a`, { method: "POST", headers, body: "x" });
    expect((await call({})).status).toBe(401);
    expect((await call({ authorization: "Bearer nonsense" })).status).toBe(401);
    const passed = await call({ authorization: `Bearer ${await cloud.key("legacy", "anon")}` });
    expect(await passed.text()).toBe("/guarded/a POST");
    await cloud.manage("DELETE", "/functions/guarded");
  });
});

describe("the control plane", () => {
  test.each(["", "Bearer wrong", "Basic abc"])("refuses the authorization %j", async (authorization) => {
    const response = await fetch(`${cloud.url}/v1/projects/${projectRef}/secrets`, { headers: { authorization } });
    expect(response.status).toBe(401);
    expect(await response.json()).toEqual({ message: "Unauthorized" });
  });

  test.each([
    ["a reserved secret name", "POST", "/secrets", [{ name: "SUPABASE_X", value: "1" }], /SUPABASE_ prefix/],
    ["a secret too long", "POST", "/secrets", [{ name: "X", value: "v".repeat(24_577) }], /24576/],
    [
      "more than 100 secrets",
      "POST",
      "/secrets",
      Array.from({ length: 101 }, (_, n) => ({ name: `N${n}`, value: "1" })),
      /Maximum number/,
    ],
    ["a broken statement", "POST", "/database/query", { query: "selec 1" }, /Failed to run sql query: ERROR: {2}42601/],
    ["an unknown bundle", "PUT", "/functions", [{ slug: "net-beta-x1", ezbr_sha256: "0".repeat(64) }], /no bundle/],
  ])("refuses %s", async (_, method, path, body, message) => {
    const response = await cloud.manage(method, path, body);
    expect(response.status).toBe(400);
    expect((await response.json()).message).toMatch(message);
  });

  test.each(["../evil.js", "/etc/evil.js", "a//b.js"])("refuses the file path %s", async (path) => {
    const form = new FormData();
    form.set("metadata", JSON.stringify({ entrypoint_path: path }));
    form.append("file", new File(["1"], path));
    expect((await cloud.manage("POST", "/functions/deploy?slug=evil", form)).status).toBe(400);
  });

  test("a failed transaction does not stick to the connection", async () => {
    expect((await cloud.manage("POST", "/database/query", { query: "begin; select 1/0; commit" })).status).toBe(400);
    expect(await cloud.query("select 1 as one")).toEqual([{ one: 1 }]);
    expect(
      (await cloud.manage("POST", "/database/query", { query: "create table t (i int)", read_only: true })).status,
    ).toBe(400);
    await cloud.query("create table t (i int); drop table t");
  });
});

describe("the RPC endpoint", () => {
  const call = (headers: Record<string, string>, routine = "federation_state_get") =>
    fetch(`${cloud.projectUrl}/rest/v1/rpc/${routine}`, {
      method: "POST",
      headers,
      body: JSON.stringify({ p_node: "n", p_key: "k" }),
    });

  test("wants a key of the project", async () => {
    expect(await (await call({})).json()).toMatchObject({ message: "No API key found in request" });
    const wrong = await call({ apikey: "sb_secret_wrong" });
    expect(wrong.status).toBe(401);
    expect(await wrong.json()).toMatchObject({ message: "Invalid API key" });
    const forged = await call({ apikey: await cloud.key("secret", "default"), authorization: "Bearer a.b.c" });
    expect(forged.status).toBe(401);
    expect(await forged.json()).toMatchObject({ code: "PGRST301" });
  });

  test("acts as the role of the bearer token, not of the key", async () => {
    const service = await cloud.key("legacy", "service_role");
    const anon = await cloud.key("legacy", "anon");
    expect((await call({ apikey: anon, authorization: `Bearer ${service}` })).status).toBe(200);
    expect((await call({ apikey: service, authorization: `Bearer ${anon}` })).status).toBe(401);
  });

  test("answers sets, scalars, nothing, raised errors and unknown names as PostgREST does", async () => {
    await cloud.query(`
      create function public.t_set() returns table (a int, b text) language sql as $$ values (1, 'x'), (2, null) $$;
      create function public.t_default(x int, y int default 2) returns int language sql as $$ select x + y $$;
      create function public.t_void() returns void language sql as $$ select 1 $$;
      create function public.t_raise() returns void language plpgsql as $$ begin raise exception 'no' using detail = 'd', hint = 'h'; end $$;`);
    const headers = { apikey: await cloud.key("secret", "default") };
    const rpc = (name: string, args: object) =>
      fetch(`${cloud.projectUrl}/rest/v1/rpc/${name}`, { method: "POST", headers, body: JSON.stringify(args) });
    expect(await (await rpc("t_set", {})).json()).toEqual([
      { a: 1, b: "x" },
      { a: 2, b: null },
    ]);
    expect(await (await rpc("t_default", { x: 1 })).json()).toBe(3);
    expect((await rpc("t_void", {})).status).toBe(204);
    const raised = await rpc("t_raise", {});
    expect([raised.status, await raised.json()]).toEqual([
      400,
      { code: "P0001", details: "d", hint: "h", message: "no" },
    ]);
    const unknown = await rpc("t_default", { z: 1 });
    expect([unknown.status, (await unknown.json()).code]).toEqual([404, "PGRST202"]);
  });
});

describe("a restart of the local cloud", () => {
  test("brings functions, secrets and data back", async () => {
    const keys = await cloud.key("secret", "default");
    await cloud.stop();
    await cloud.start();
    expect(await ask("net-acme-hub", "/")).toMatchObject({ kid: "k9", node: "acme/hub" });
    expect(await cloud.key("secret", "default")).toBe(keys);
    expect(await ask("net-acme-hub", "/count")).toMatchObject({ version: 3 });
    expect((await (await cloud.manage("GET", "/functions")).json()).map(({ slug }: { slug: string }) => slug)).toEqual([
      "net-acme-hub",
      "net-beta-x1",
    ]);
  });
});
