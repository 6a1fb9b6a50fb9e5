import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { FlyApi, UncertainError } from "../../../providers/fly/api.ts";
import { maxFileBytes, machineFiles } from "../../../providers/fly/files.ts";
import types from "../../../providers/fly/resources.ts";
import { ResourceError } from "../../../providers/plugin/resource.ts";
import type { ResourceContext, ResourceType } from "../../../providers/plugin/resource.ts";
import { echoNode, flyCloud, keyText, machineConfig, nodeBundle } from "./cloud.ts";
import type { FlyCloud } from "./cloud.ts";

const context: ResourceContext = { config: {}, log: () => undefined, signal: new AbortController().signal };
const type = (name: string): ResourceType =>
  types.find(({ token }) => token === `federation:index:${name}`) as ResourceType;

/** What the front does with the next requests instead of passing them on. */
type Fault = (
  method: string,
  path: string,
) => "lose-answer" | { status: number; headers?: Record<string, string> } | undefined;

describe("the Fly types", { timeout: 60_000 }, () => {
  let cloud: FlyCloud;
  let front: Server;
  let api: string;
  let fault: Fault = () => undefined;
  const seen: string[] = [];
  const folder = mkdtempSync(join(tmpdir(), "fly-project-"));
  const code = { guestPath: "/app/node.mjs", path: "node.mjs", sha256: "" };

  beforeAll(async () => {
    cloud = await flyCloud();
    // A front that can fail as networks and the vendor do.
    front = createServer(async (incoming, outgoing) => {
      const [method, path] = [incoming.method ?? "", incoming.url ?? ""];
      seen.push(`${method} ${path.replace(/\?.*/, "")}`);
      const broken = fault(method, path);
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks);
      if (typeof broken === "object") return void outgoing.writeHead(broken.status, broken.headers).end("{}");
      const headers = Object.fromEntries(
        Object.entries(incoming.headers).filter(([name]) =>
          ["authorization", "content-type", "fly-machine-lease-nonce"].includes(name),
        ),
      );
      const answer = await fetch(cloud.api + path, {
        method,
        headers: headers as Record<string, string>,
        ...(body.length > 0 && { body }),
      });
      if (broken === "lose-answer") return void outgoing.destroy();
      outgoing.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
    }).listen(0, "127.0.0.1");
    await once(front, "listening");
    api = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
    vi.stubEnv("FLY_API_TOKEN", cloud.token);
    const text = await nodeBundle(echoNode);
    writeFileSync(join(folder, "node.mjs"), text);
    writeFileSync(join(folder, "Pulumi.yaml"), "name: test");
    code.sha256 = createHash("sha256").update(text).digest("hex");
    vi.spyOn(process, "cwd").mockReturnValue(folder);
  }, 30_000);
  afterEach(() => {
    fault = () => undefined;
    seen.length = 0;
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    front.close();
    front.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
    await cloud.remove();
  });

  const appInputs = (name: string): object => ({ api, name, organization: "acme", addresses: ["shared_v4", "v6"] });
  const machineInputs = (app: string, secretsVersion: number): Record<string, any> => {
    const { files: _, ...config } = machineConfig(`${cloud.url}/${app}`, "");
    return {
      api,
      app,
      name: "node",
      region: "ams",
      config: { ...config, env: { ...(config["env"] as object), FEDERATION_DATA: "." } },
      files: [code],
      secretsVersion,
      state: "started",
    };
  };
  /** An app with its key and a machine that serves. */
  const node = async (name: string): Promise<{ inputs: Record<string, any>; made: { id: string; outputs: any } }> => {
    await type("FlyApp").create(appInputs(name), context);
    const { outputs } = await type("FlySecrets").create(
      { api, app: name, values: { FEDERATION_KEY: keyText } },
      context,
    );
    const inputs = machineInputs(name, (outputs as any).version);
    return { inputs, made: await type("FlyMachine").create(inputs, context) };
  };

  test("an app name that is taken is a user error that says why", async () => {
    await cloud.call("POST", "/apps", { name: "global", org_slug: "globex" });
    // Fly hides apps of other organizations from a token.
    fault = (method, path) => (method === "GET" && path === "/apps/global" ? { status: 404 } : undefined);
    const made = type("FlyApp").create(appInputs("global"), context);
    await expect(made).rejects.toThrow(/"global" is taken: app names are global among all Fly customers/);
    await expect(made).rejects.toBeInstanceOf(ResourceError);
  });

  test("an app with machines of somebody else is not taken over; an empty one, left by a crash, is", async () => {
    await cloud.call("POST", "/apps", { name: "left", org_slug: "acme" });
    expect((await type("FlyApp").create(appInputs("left"), context)).outputs).toMatchObject({
      ips: [expect.any(String), expect.any(String)],
    });
    expect((await type("FlyApp").create(appInputs("left"), context)).outputs).toMatchObject({
      ips: [expect.any(String), expect.any(String)],
    });
    await cloud.call("POST", "/apps/left/machines", { config: machineConfig("x", "") });
    await expect(type("FlyApp").create(appInputs("left"), context)).rejects.toThrow(
      /1 machine\(s\) that this stack did not make/,
    );
  });

  test("a lost answer to the creation of a machine is its own error, and the next run finds the machine", async () => {
    await type("FlyApp").create(appInputs("lost"), context);
    await type("FlySecrets").create({ api, app: "lost", values: { FEDERATION_KEY: keyText } }, context);
    const inputs = machineInputs("lost", 1);
    fault = (method, path) => (method === "POST" && path === "/apps/lost/machines" ? "lose-answer" : undefined);
    const made = type("FlyMachine").create(inputs, context);
    await expect(made).rejects.toBeInstanceOf(UncertainError);
    await expect(made).rejects.toThrow(/POST \/apps\/lost\/machines is uncertain/);
    fault = () => undefined;
    await type("FlyMachine").create(inputs, context);
    expect((await cloud.call("GET", "/apps/lost/machines")).body).toHaveLength(1);
  });

  test("429 is waited out as long as the API says, 5xx is tried again where that is safe, 401 says which variable", async () => {
    await type("FlyApp").create(appInputs("limited"), context);
    seen.length = 0;
    let left = 1;
    fault = () => (left-- > 0 ? { status: 429, headers: { "retry-after": "2" } } : undefined);
    const begun = Date.now();
    await new FlyApi(api, context.signal).app("limited");
    expect(Date.now() - begun).toBeGreaterThan(1900);
    expect(seen).toEqual(["GET /apps/limited", "GET /apps/limited"]);
    left = 1;
    fault = () => (left-- > 0 ? { status: 503 } : undefined);
    expect(await new FlyApi(api, context.signal).app("limited")).toMatchObject({ name: "limited" });
    left = 1;
    await expect(new FlyApi(api, context.signal).createApp("other", "acme")).rejects.toBeInstanceOf(UncertainError);
    fault = () => ({ status: 401 });
    await expect(new FlyApi(api, context.signal).app("limited")).rejects.toThrow(/FLY_API_TOKEN/);
  });

  test("a machine's update takes the lease, is in place, and does nothing when nothing differs", async () => {
    const { inputs, made } = await node("rolled");
    const stored = { id: made.id, inputs, outputs: made.outputs };
    seen.length = 0;
    await type("FlyMachine").update(made.id, inputs, stored, context);
    expect(seen.filter((line) => !line.startsWith("GET"))).toEqual([]);
    const changed = { ...inputs, config: { ...inputs["config"], env: { ...inputs["config"].env, MORE: "1" } } };
    const { outputs } = await type("FlyMachine").update(made.id, changed, stored, context);
    const path = `/apps/rolled/machines/${made.outputs.machine}`;
    expect(seen.filter((line) => !line.startsWith("GET"))).toEqual([
      `POST ${path}/lease`,
      `POST ${path}`,
      `DELETE ${path}/lease`,
    ]);
    expect((outputs as any).machine).toBe(made.outputs.machine);
    expect((outputs as any).instance).not.toBe(made.outputs.instance);
    expect(((await (await fetch(`${cloud.url}/rolled/`)).json()) as any).env.MORE).toBe("1");
  });

  test("an update waits for somebody else's lease", async () => {
    const { inputs, made } = await node("waiting");
    await cloud.call("POST", `/apps/waiting/machines/${made.outputs.machine}/lease?ttl=2`);
    const changed = { ...inputs, config: { ...inputs["config"], env: { ...inputs["config"].env, MORE: "1" } } };
    const begun = Date.now();
    await type("FlyMachine").update(made.id, changed, { id: made.id, inputs, outputs: made.outputs }, context);
    expect(Date.now() - begun).toBeGreaterThan(1000);
    expect(
      (await cloud.call("GET", `/apps/waiting/machines/${made.outputs.machine}/lease`)).status,
      "and releases its own",
    ).toBe(404);
  });

  test("read answers what was stored while nothing changed, without stored values too (import), and undefined when gone", async () => {
    const { inputs, made } = await node("imported");
    const stored = { id: made.id, inputs, outputs: made.outputs };
    expect(await type("FlyMachine").read(made.id, stored, context)).toEqual({
      id: made.id,
      inputs,
      outputs: made.outputs,
    });
    vi.stubEnv("FLY_FLAPS_BASE_URL", cloud.api.replace(/\/v1$/, ""));
    const imported = await type("FlyMachine").read(made.id, undefined, context);
    expect(imported?.inputs).toMatchObject({
      api: cloud.api,
      app: "imported",
      name: "node",
      region: "ams",
      config: inputs["config"],
      files: [{ ...code, path: "" }],
      state: "started",
    });
    expect(await type("FlyApp").read("imported", undefined, context)).toMatchObject({
      inputs: { name: "imported", organization: "acme", addresses: ["shared_v4", "v6"] },
    });
    expect(await type("FlySecrets").read("imported", undefined, context)).toMatchObject({
      inputs: { app: "imported", values: {} },
    });
    await expect(type("FlyMachine").read("imported", undefined, context)).rejects.toThrow("must be <app>/<machine>");

    for (const again of [1, 2])
      await expect(type("FlyMachine").delete(made.id, stored, context), `delete ${again}`).resolves.toBeUndefined();
    expect(await type("FlyMachine").read(made.id, stored, context)).toBeUndefined();
    const app = { id: "imported", inputs: appInputs("imported"), outputs: { ips: [] } };
    for (const again of [1, 2])
      await expect(type("FlyApp").delete("imported", app, context), `delete ${again}`).resolves.toBeUndefined();
    expect(await type("FlyApp").read("imported", undefined, context)).toBeUndefined();
    expect(await type("FlySecrets").read("imported", undefined, context)).toBeUndefined();
    const secrets = {
      id: "imported",
      inputs: { api, app: "imported", values: { FEDERATION_KEY: "x" } },
      outputs: { version: 1, digests: {} },
    };
    await expect(type("FlySecrets").delete("imported", secrets, context)).resolves.toBeUndefined();
  });

  test("volumes grow and do not shrink", async () => {
    await type("FlyApp").create(appInputs("disks"), context);
    const inputs = { api, app: "disks", name: "data", region: "ams", sizeGb: 1 };
    const made = await type("FlyVolume").create(inputs, context);
    expect((await type("FlyVolume").create(inputs, context)).id, "an interrupted create finds its volume").toBe(
      made.id,
    );
    const stored = { id: made.id, inputs, outputs: made.outputs };
    await type("FlyVolume").update(made.id, { ...inputs, sizeGb: 3 }, stored, context);
    expect((await type("FlyVolume").read(made.id, stored, context))?.inputs).toEqual({ ...inputs, sizeGb: 3 });
    await expect(type("FlyVolume").update(made.id, inputs, stored, context)).rejects.toThrow(
      /has 3 GB and cannot shrink to 1/,
    );
    for (const again of [1, 2])
      await expect(type("FlyVolume").delete(made.id, stored, context), `delete ${again}`).resolves.toBeUndefined();
    expect(await type("FlyVolume").read(made.id, stored, context)).toBeUndefined();
  });

  test("files that are missing, changed or too large are refused before anything is sent", async () => {
    writeFileSync(join(folder, "large.mjs"), "x".repeat(maxFileBytes + 1));
    const sha256 = createHash("sha256")
      .update("x".repeat(maxFileBytes + 1))
      .digest("hex");
    await expect(machineFiles([{ guestPath: "/a", path: "large.mjs", sha256 }])).rejects.toThrow(
      `have ${maxFileBytes + 1} bytes; the limit is ${maxFileBytes}`,
    );
    await expect(machineFiles([{ guestPath: "/a", path: "none.mjs", sha256 }])).rejects.toThrow(
      /none.mjs is not in the project/,
    );
    await expect(machineFiles([{ ...code, sha256 }])).rejects.toThrow(/was planned/);
    expect(seen).toEqual([]);
  });
});
