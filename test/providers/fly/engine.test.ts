import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Bundle } from "../../../providers/adapter.ts";
import type { Project } from "../plugin/project.ts";
import { configText, echoNode, flyCloud, keyText, nodeBundle } from "./cloud.ts";
import type { FlyCloud } from "./cloud.ts";
import { flyProject, writeBundle } from "./project.ts";

const secret = '"d":"d"';

describe("pulumi up with the Fly adapter", { timeout: 120_000 }, () => {
  let cloud: FlyCloud;
  let project: Project;
  let bundle: Bundle;
  const url = (name: string): string => `${cloud.url}/${name}`;
  const settings = (): object => ({ organization: "acme", region: "ams", api: cloud.api, url: `${cloud.url}/{name}` });
  const declare = (nodes: Record<string, object>): Promise<void> => project.input({ settings: settings(), nodes });
  const hub = (change: object = {}): object => ({
    bundle,
    config: configText(url("net-hub")),
    key: keyText,
    ...change,
  });
  const machine = async (): Promise<any> => (await cloud.call("GET", "/apps/net-hub/machines")).body[0];
  /** Control-plane requests since the start that could have changed something. */
  const mutations = async (): Promise<number> => {
    const counted = (await (await fetch(`${cloud.url.replace(/\/fly$/, "")}/requests`)).json()) as Record<
      string,
      Record<string, number>
    >;
    return Object.entries(counted["fly"] ?? {}).reduce(
      (sum, [method, count]) => (method === "GET" ? sum : sum + count),
      0,
    );
  };

  beforeAll(async () => {
    cloud = await flyCloud();
    project = await flyProject("fly-engine", { FLY_API_TOKEN: cloud.token });
    bundle = await writeBundle(project, await nodeBundle(echoNode));
  }, 60_000);

  afterAll(async () => {
    await project?.remove();
    await cloud?.remove();
  });

  test("a missing token is a message that says what to set, without a stack", async () => {
    const bare = await flyProject("fly-bare", { FLY_API_TOKEN: "" });
    await bare.input({ settings: settings(), nodes: { "net-hub": hub() } });
    const run = await bare.up();
    expect(run.code).not.toBe(0);
    expect(run.text).toMatch(/error: The variable FLY_API_TOKEN is not set\./);
    expect(run.text).not.toMatch(/^\s+at /m);
    await bare.remove();
    expect((await cloud.call("GET", "/apps/net-hub")).status).toBe(404);
  });

  test("makes a node that serves, and leaves no secret, code or absolute path in the state", async () => {
    await declare({ "net-hub": hub() });
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(run.text).not.toContain(secret);
    expect((await project.outputs())["urls"]).toEqual({ "net-hub": url("net-hub") });
    expect(((await (await fetch(`${url("net-hub")}/mcp`)).json()) as any).kid).toBe("kid-1");
    const state = await project.state();
    expect(state).not.toContain(JSON.stringify(secret).slice(1, -1));
    expect(state).not.toContain("raw_value");
    expect(state).not.toContain(project.dir);
    expect(state).not.toContain(cloud.token);
    expect((await machine()).config.services[0].autostop).toBe("off");
    expect((await cloud.call("GET", "/apps/net-hub/ip_assignments")).body.ips).toHaveLength(2);
  });

  test("a second update changes nothing and sends no changing request", async () => {
    const before = await mutations();
    const run = await project.up("--expect-no-changes");
    expect(run.code, run.text).toBe(0);
    expect(run.text).toMatch(/6 unchanged/);
    expect(await mutations()).toBe(before);
    expect((await project.pulumi("refresh", "--yes", "--expect-no-changes", "--stack", "test")).code).toBe(0);
    expect(await mutations()).toBe(before);
  });

  test("a change of the configuration updates the machine in place and nothing else; its data stays", async () => {
    const [old, before] = [await machine(), await mutations()];
    expect(await (await fetch(`${url("net-hub")}/count`)).json()).toEqual({ count: 1 });
    await declare({ "net-hub": hub({ config: configText(url("net-hub")).replace("acme/hub", "acme/renamed") }) });
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(run.text).toMatch(/1 updated\s+5 unchanged/);
    const now = await machine();
    expect(now.id).toBe(old.id);
    expect(now.instance_id).not.toBe(old.instance_id);
    expect(await mutations(), "lease, update, release").toBe(before + 3);
    expect(((await (await fetch(url("net-hub"))).json()) as any).node).toBe("acme/renamed");
    expect(await (await fetch(`${url("net-hub")}/count`)).json()).toEqual({ count: 2 });
  });

  test("a new key reaches the machine", async () => {
    await declare({ "net-hub": hub({ key: keyText.replace("kid-1", "kid-2") }) });
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(run.text).toMatch(/2 updated\s+4 unchanged/);
    expect(((await (await fetch(url("net-hub"))).json()) as any).kid).toBe("kid-2");
  });

  test("drift of variables, files, secrets, size and state shows in a refresh and is mended", async () => {
    const path = `/apps/net-hub/machines/${(await machine()).id}`;
    const { config } = await machine();
    const drifted = structuredClone(config);
    drifted.env.EXTRA = "added by hand";
    drifted.guest.memory_mb = 512;
    drifted.files[0].raw_value = Buffer.from(
      `${Buffer.from(config.files[0].raw_value, "base64").toString()}\n// changed by hand\n`,
    ).toString("base64");
    await cloud.call("POST", path, { config: drifted });
    await cloud.call("POST", `${path}/stop`);
    await cloud.call("POST", "/apps/net-hub/secrets", {
      values: { FEDERATION_KEY: keyText.replace("kid-1", "kid-3") },
    });
    const refresh = await project.pulumi("refresh", "--yes", "--diff", "--stack", "test");
    expect(refresh.code, refresh.text).toBe(0);
    for (const sign of ["EXTRA", "512", "sha256", '"stopped"', "values"]) expect(refresh.text).toContain(sign);
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect((await machine()).config.env.EXTRA).toBeUndefined();
    expect((await machine()).config).toMatchObject({ guest: { memory_mb: 256 }, files: config.files });
    expect(((await (await fetch(url("net-hub"))).json()) as any).kid).toBe("kid-2");
  });

  test("a code that does not start fails with the reason, keeps the machine, and the next update mends it", async () => {
    const id = (await machine()).id;
    await declare({
      "net-hub": hub({
        bundle: await writeBundle(project, "throw new Error('no luck');"),
        key: keyText.replace("kid-1", "kid-2"),
      }),
    });
    const failed = await project.up();
    expect(failed.code).not.toBe(0);
    expect(failed.text).toMatch(/machine \w+ of the Fly app net-hub is failed/);
    expect(failed.text).toContain("no luck");
    await declare({ "net-hub": hub({ key: keyText.replace("kid-1", "kid-2") }) });
    const mended = await project.up();
    expect(mended.code, mended.text).toBe(0);
    expect((await machine()).id).toBe(id);
    expect(((await (await fetch(url("net-hub"))).json()) as any).kid).toBe("kid-2");
  });

  test("a name that another organization took is explained", async () => {
    await cloud.call("POST", "/apps", { name: "net-taken", org_slug: "globex" });
    await declare({ "net-hub": hub({ key: keyText.replace("kid-1", "kid-2") }), "net-taken": hub() });
    const run = await project.up();
    expect(run.code).not.toBe(0);
    expect(run.text).toContain('The Fly app "net-taken" belongs to the organization "globex", not to "acme".');
  });

  test("destroy leaves nothing", async () => {
    const { id } = await machine();
    await declare({});
    const destroyed = await project.pulumi("destroy", "--yes", "--stack", "test");
    expect(destroyed.code, destroyed.text).toBe(0);
    expect((await cloud.call("GET", "/apps/net-hub")).status).toBe(404);
    expect((await cloud.call("GET", `/apps/net-hub/machines/${id}`)).status).toBe(404);
    expect((await fetch(url("net-hub"))).status).toBe(404);
  });
});
