import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoNode, flyCloud, keyText, machineConfig, nodeBundle } from "./cloud.ts";
import type { FlyCloud } from "./cloud.ts";

let cloud: FlyCloud;
let code: string;

beforeAll(async () => {
  [cloud, code] = await Promise.all([flyCloud(), nodeBundle(echoNode)]);
}, 30_000);
afterAll(() => cloud.remove());

async function app(name: string): Promise<void> {
  expect((await cloud.call("POST", "/apps", { name, org_slug: "acme" })).status).toBe(201);
  await cloud.call("POST", `/apps/${name}/secrets`, { values: { FEDERATION_KEY: keyText } });
}

/** An app with a machine that serves. */
async function node(
  name: string,
  change: (config: Record<string, unknown>) => void = () => undefined,
): Promise<{ machine: any; volume: string }> {
  await app(name);
  const volume = (await cloud.call("POST", `/apps/${name}/volumes`, { name: "data", region: "ams", size_gb: 1 })).body
    .id as string;
  const config = machineConfig(`${cloud.url}/${name}`, code, volume);
  change(config);
  const made = await cloud.call("POST", `/apps/${name}/machines`, { name: "node", region: "ams", config });
  expect(made.status).toBe(200);
  return { machine: made.body, volume };
}

const started = (name: string, machine: any) =>
  cloud.call(
    "GET",
    `/apps/${name}/machines/${machine.id}/wait?state=started&timeout=20&instance_id=${machine.instance_id}`,
  );

describe("a node on real Node.js", { timeout: 30_000 }, () => {
  test("serves below /{app}, with its config, secret, state and Fly's variables", async () => {
    const { machine } = await node("serves");
    expect(machine.state).toMatch(/created|starting/);
    expect((await started("serves", machine)).body).toMatchObject({
      ok: true,
      state: "started",
      version: machine.instance_id,
    });
    const answer = await fetch(`${cloud.url}/serves/mcp?a=1&b=%2F`, { method: "POST", body: "hällo" });
    const seen = (await answer.json()) as any;
    expect(seen).toMatchObject({
      path: "/mcp?a=1&b=%2F",
      method: "POST",
      body: "hällo",
      node: "acme/hub",
      kid: "kid-1",
    });
    expect(seen.env).toMatchObject({
      FLY_APP_NAME: "serves",
      FLY_MACHINE_ID: machine.id,
      FLY_ALLOC_ID: machine.id,
      FLY_REGION: "ams",
      FLY_MACHINE_VERSION: machine.instance_id,
      FLY_VM_MEMORY_MB: "256",
      HOST: "127.0.0.1",
    });
    expect(seen.env.FLY_API_TOKEN).toBeUndefined();
  });

  test("its checks really run, and a failing one shows", async () => {
    const { machine } = await node("checked");
    await started("checked", machine);
    const checks = async (name: string, id: string): Promise<any[]> => {
      for (let tries = 0; tries < 60; tries += 1) {
        const { checks: now } = (await cloud.call("GET", `/apps/${name}/machines/${id}`)).body;
        if (now.every((check: any) => check.output !== "not checked yet" && check.status !== "warning")) return now;
        await new Promise((done) => setTimeout(done, 100));
      }
      throw new Error("no result");
    };
    expect(await checks("checked", machine.id)).toMatchObject([
      { name: "servicecheck-00-http-8080", status: "passing", output: "200 ok" },
    ]);

    const unwell = await node("unwell", (config: any) => {
      config.checks = { bad: { type: "http", port: 8080, path: "/bad", interval: "1s", timeout: "1s" } };
      config.services[0].checks = [{ type: "tcp", port: 8080, interval: "1s" }];
    });
    await started("unwell", unwell.machine);
    expect(await checks("unwell", unwell.machine.id)).toMatchObject([
      { name: "bad", status: "critical", output: "503 unwell" },
      { name: "servicecheck-00-tcp-8080", status: "passing" },
    ]);
  });

  test("a restart of the local cloud brings machines and their data back", async () => {
    const { machine } = await node("lasting");
    await started("lasting", machine);
    const count = async (): Promise<unknown> => (await fetch(`${cloud.url}/lasting/count`)).json();
    expect(await count()).toEqual({ count: 1 });
    const stopped = await node("resting");
    await started("resting", stopped.machine);
    await cloud.call("POST", `/apps/resting/machines/${stopped.machine.id}/stop`, {});
    await cloud.restart();
    expect(await count()).toEqual({ count: 2 });
    expect((await cloud.call("GET", `/apps/lasting/machines/${machine.id}`)).body).toMatchObject({
      state: "started",
      instance_id: machine.instance_id,
    });
    expect((await cloud.call("GET", `/apps/resting/machines/${stopped.machine.id}`)).body.state).toBe("stopped");
    expect((await fetch(`${cloud.url}/resting/count`)).status).toBe(503);
    await cloud.call("POST", `/apps/resting/machines/${stopped.machine.id}/start`);
    await started("resting", stopped.machine);
    expect((await fetch(`${cloud.url}/resting/count`)).status).toBe(200);
  });

  test("secrets reach a machine when it is updated, not before", async () => {
    const { machine } = await node("secretive");
    await started("secretive", machine);
    const kid = async (): Promise<unknown> => ((await (await fetch(`${cloud.url}/secretive/`)).json()) as any).kid;
    const set = await cloud.call("POST", "/apps/secretive/secrets", {
      values: { FEDERATION_KEY: keyText.replace("kid-1", "kid-2") },
    });
    expect(set.body.version).toBe(2);
    await cloud.call("POST", `/apps/secretive/machines/${machine.id}/restart`);
    await started("secretive", machine);
    expect(await kid()).toBe("kid-1");
    const tooNew = { config: machine.config, min_secrets_version: 3 };
    expect((await cloud.call("POST", `/apps/secretive/machines/${machine.id}`, tooNew)).status).toBe(400);
    const updated = await cloud.call("POST", `/apps/secretive/machines/${machine.id}`, {
      ...tooNew,
      min_secrets_version: 2,
    });
    expect(updated.body.instance_id).not.toBe(machine.instance_id);
    await started("secretive", updated.body);
    expect(await kid()).toBe("kid-2");
  });

  test("one that does not start is failed, with the reason in its events", async () => {
    const cases: readonly (readonly [string, (config: any) => void, RegExp])[] = [
      ["fails-image", (config) => (config.image = "nginx:latest"), /no image but node/],
      ["fails-command", (config) => (config.init = { cmd: ["sh", "-c", "true"] }), /runs node/],
      [
        "fails-code",
        (config) => (config.files[0].raw_value = Buffer.from("throw new Error('no luck')").toString("base64")),
        /no luck/,
      ],
    ];
    for (const [name, change, reason] of cases) {
      const { machine } = await node(name, change);
      const wait = await cloud.call("GET", `/apps/${name}/machines/${machine.id}/wait?state=settled&timeout=20`);
      expect(wait.body).toMatchObject({ state: "failed" });
      const { state, events } = (await cloud.call("GET", `/apps/${name}/machines/${machine.id}`)).body;
      expect(state).toBe("failed");
      expect(events[0]).toMatchObject({ type: "exit", status: "failed" });
      expect(events[0].request.exit_event.error).toMatch(reason);
    }
  });
});

describe("the API's rules", { timeout: 30_000 }, () => {
  test("a wrong or missing token is 401 on every route, and changes nothing", async () => {
    for (const headers of [
      { authorization: "Bearer wrong" },
      { authorization: "" },
      { authorization: cloud.token.slice(1) },
    ]) {
      expect((await cloud.call("POST", "/apps", { name: "stolen", org_slug: "acme" }, headers)).status).toBe(401);
      expect((await cloud.call("GET", "/nowhere", undefined, headers)).status).toBe(401);
    }
    expect((await cloud.call("GET", "/apps/stolen")).status).toBe(404);
  });

  test("app names are taken once, listed by organization, refused where no host name", async () => {
    await app("named");
    const again = await cloud.call("POST", "/apps", { name: "named", org_slug: "globex" });
    expect([again.status, again.body.status]).toEqual([422, "name_taken"]);
    for (const name of ["v1", "Upper", "-dash", "dash-", "a_b", ""]) {
      expect((await cloud.call("POST", "/apps", { name, org_slug: "acme" })).status, name).toBe(422);
    }
    expect((await cloud.call("GET", "/apps?org_slug=globex")).body).toEqual({ total_apps: 0, apps: [] });
    expect((await cloud.call("DELETE", "/apps/named")).status).toBe(202);
    expect((await cloud.call("GET", "/apps/named")).status).toBe(404);
  });

  test("a lease keeps others from changing the machine, but not its metadata", async () => {
    const { machine } = await node("leased");
    await started("leased", machine);
    const path = `/apps/leased/machines/${machine.id}`;
    const taken = await cloud.call("POST", `${path}/lease`, { ttl: 60 });
    expect([taken.status, taken.body.status, taken.body.data.version]).toEqual([201, "success", machine.instance_id]);
    const { nonce } = taken.body.data;
    const held = { "fly-machine-lease-nonce": nonce };
    for (const change of ["", "/start", "/stop", "/restart", "/suspend", "/cordon", "/lease"]) {
      expect((await cloud.call("POST", path + change, { config: machine.config })).status, change).toBe(409);
      expect(
        (await cloud.call("POST", path + change, { config: machine.config }, { "fly-machine-lease-nonce": "other" }))
          .status,
        change,
      ).toBe(409);
    }
    expect((await cloud.call("DELETE", `${path}?force=true`)).status).toBe(409);
    expect((await cloud.call("DELETE", `${path}/lease`)).status).toBe(409);
    expect((await cloud.call("POST", `${path}/metadata/tag`, { value: "v" })).status).toBe(204);
    const renewed = await cloud.call("POST", `${path}/lease?ttl=90`, undefined, held);
    expect(renewed.body.data.nonce, "a refresh keeps the nonce").toBe(nonce);
    expect(renewed.body.data.expires_at).toBeGreaterThan(taken.body.data.expires_at);
    expect((await cloud.call("GET", path)).body.nonce, "nobody else is told").toBeUndefined();
    expect((await cloud.call("DELETE", `${path}/lease`, undefined, held)).status).toBe(200);
    expect((await cloud.call("GET", `${path}/lease`)).status).toBe(404);
    const short = await cloud.call("POST", `${path}/lease?ttl=1`);
    expect(short.status).toBe(201);
    await new Promise((done) => setTimeout(done, 1100));
    expect((await cloud.call("POST", `${path}/cordon`)).status, "an expired lease binds nobody").toBe(200);
  });

  test("an update must know the current version, and gives a new one", async () => {
    const { machine } = await node("versioned");
    await started("versioned", machine);
    const path = `/apps/versioned/machines/${machine.id}`;
    expect(
      (await cloud.call("POST", path, { config: machine.config, current_version: "01ARZ3NDEKTSV4RRFFQ69G5FAV" }))
        .status,
    ).toBe(409);
    const updated = await cloud.call("POST", path, { config: machine.config, current_version: machine.instance_id });
    expect(updated.body.instance_id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(updated.body.instance_id > machine.instance_id).toBe(true);
    expect(updated.body.version).toBe(updated.body.instance_id);
    expect(
      (await cloud.call("GET", `${path}/wait?state=started&timeout=1&instance_id=${machine.instance_id}`)).status,
      "the old version never starts again",
    ).toBe(408);
    expect((await cloud.call("GET", `${path}/wait?state=started&timeout=61`)).status).toBe(400);
    await started("versioned", updated.body);
    expect((await cloud.call("GET", `${path}/versions`)).body.map((entry: any) => entry.version)).toEqual([
      updated.body.instance_id,
      machine.instance_id,
    ]);
  });

  test("a volume is in one machine at a time", async () => {
    const { machine, volume } = await node("attached");
    await started("attached", machine);
    expect((await cloud.call("DELETE", `/apps/attached/volumes/${volume}`)).status).toBe(412);
    const second = await cloud.call("POST", "/apps/attached/machines", {
      name: "two",
      region: "ams",
      config: machineConfig("http://x", code, volume),
    });
    expect(second.status).toBe(412);
    expect(
      (await cloud.call("DELETE", `/apps/attached/machines/${machine.id}`)).status,
      "a started machine needs force",
    ).toBe(412);
    expect((await cloud.call("DELETE", `/apps/attached/machines/${machine.id}?force=true`)).status).toBe(200);
    expect((await cloud.call("GET", `/apps/attached/machines/${machine.id}`)).body.state).toBe("destroyed");
    expect((await cloud.call("GET", "/apps/attached/machines")).body).toEqual([]);
    expect((await cloud.call("DELETE", `/apps/attached/volumes/${volume}`)).status).toBe(200);
  });

  test("a cordoned machine gets no requests", async () => {
    const { machine } = await node("cordoned");
    await started("cordoned", machine);
    const status = async (): Promise<number> => (await fetch(`${cloud.url}/cordoned/health`)).status;
    expect(await status()).toBe(200);
    await cloud.call("POST", `/apps/cordoned/machines/${machine.id}/cordon`);
    expect(await status()).toBe(503);
    await cloud.call("POST", `/apps/cordoned/machines/${machine.id}/uncordon`);
    expect(await status()).toBe(200);
  });

  test("secret values are answered only on request and lie in files that only the owner reads", async () => {
    await app("sealed");
    expect(JSON.stringify((await cloud.call("GET", "/apps/sealed/secrets")).body)).not.toContain("Ed25519");
    expect((await cloud.call("GET", "/apps/sealed/secrets?show_secrets=true")).body.secrets[0].value).toBe(keyText);
    const files = readdirSync(cloud.dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const holding = files
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => readFileSync(path, "utf8").includes('\\"d\\":\\"d\\"'));
    expect(holding.length).toBeGreaterThan(0);
    for (const path of holding) {
      expect(path).toMatch(/secrets\.json$/);
      expect(statSync(path).mode & 0o077).toBe(0);
    }
  });
});
