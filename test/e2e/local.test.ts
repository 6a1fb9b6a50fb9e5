import { copyFileSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Era, type Sandbox, connect, eventually, makeSandbox, mutating } from "./sandbox.ts";

const nodeIds = ["acme/data", "acme/edge", "globex/compute"];
const own = ["create_meeting", "echo", "get_meeting", "list_meetings", "whoami"];

interface Outputs {
  readonly nodes: Record<string, { url: string }>;
  readonly manifest: { serial: number; digest: string };
  readonly issuers: Record<string, { key: string }>;
}

let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await makeSandbox();
});

afterAll(async () => {
  await sandbox?.remove();
});

async function outputs(): Promise<Outputs> {
  const { stdout } = await sandbox.pulumi("stack", "output", "--json", "--show-secrets", "-s", "local");
  return JSON.parse(stdout);
}

async function token(user: string, ...nodes: string[]): Promise<string> {
  const { code, stdout, stderr } = await sandbox.federation(
    "token",
    "--user",
    user,
    ...nodes.flatMap((id) => ["--node", id]),
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.trim();
}

function userOf(id: string): string {
  return id.startsWith("acme/") ? "ada@acme" : "grace@globex";
}

/** Names that a node lists, in one era. */
async function tools(id: string, era: Era): Promise<string[]> {
  const { url } = (await outputs()).nodes[id]!;
  const client = await connect(url, await token(userOf(id), id), era);
  const result = await client.listTools();
  await client.close();
  return result.tools.map(({ name }) => name).sort();
}

async function audit(id: string): Promise<any[]> {
  const { url } = (await outputs()).nodes[id]!;
  const response = await fetch(`${url}/audit?limit=1000`, {
    headers: { authorization: `Bearer ${await token(userOf(id), id)}` },
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { records: any[] }).records;
}

async function call(id: string, name: string, input: object): Promise<any> {
  const { url } = (await outputs()).nodes[id]!;
  const client = await connect(url, await token(userOf(id), id), "modern");
  try {
    return await client.callTool({ name, arguments: { ...input } });
  } finally {
    await client.close();
  }
}

describe("a federation on this machine", () => {
  it("comes up with one command", { timeout: 300_000 }, async () => {
    const { code, stdout, stderr } = await sandbox.federation("up");
    expect({ code, stderr: code === 0 ? "" : stderr + stdout }).toEqual({ code: 0, stderr: "" });
    for (const id of nodeIds) expect(stdout).toContain(id.split("/")[1]);
    expect((await outputs()).manifest.serial).toBe(1);
  });

  it.each(nodeIds.flatMap((id) => (["legacy", "modern"] as const).map((era) => [id, era] as const)))(
    "%s lists its own tools and those of its peers to a %s client",
    async (id, era) => {
      const federated: Record<string, string[]> = {
        "acme/data": [...own.map((name) => `acme-edge.${name}`), ...own.map((name) => `globex-compute.${name}`)],
        "acme/edge": [...own.map((name) => `acme-data.${name}`), ...own.map((name) => `globex-compute.${name}`)],
        "globex/compute": ["acme-data.get_meeting", "acme-data.list_meetings"],
      };
      expect(await tools(id, era)).toEqual([...own, ...federated[id]!].sort());
    },
  );

  it("runs a call of acme's Worker on globex's machine, under one call id in both audits", async () => {
    const result = await call("acme/edge", "globex-compute.whoami", {});
    expect(result.structuredContent).toMatchObject({
      caller: { subject: "ada@acme" },
      node: "globex/compute",
      via: ["acme/edge"],
    });
    const callId = result._meta["io.github.ai-federation/callId"];
    await eventually(10, async () => {
      const [out, into] = await Promise.all([audit("acme/edge"), audit("globex/compute")]);
      const sent = out.find((record) => record.callId === callId && record.direction === "out");
      const received = into.find((record) => record.callId === callId && record.direction === "in");
      return sent?.decision === "allow" && received?.decision === "allow" ? true : undefined;
    });
  });

  it("refuses the other way round what no grant allows, and both audits say so", async () => {
    await expect(call("globex/compute", "acme-data.create_meeting", {})).rejects.toThrow();
    await eventually(10, async () => {
      const [out, into] = await Promise.all([audit("globex/compute"), audit("acme/data")]);
      const denied = into.find(
        ({ decision, direction, name }) => decision === "deny" && direction === "in" && name === "create_meeting",
      );
      return denied && out.some(({ callId }) => callId === denied.callId) ? true : undefined;
    });
  });

  it("keeps what a function stored, on each runtime, and shows it to those with a grant", async () => {
    for (const id of nodeIds) {
      const created = await call(id, "create_meeting", {
        title: `Review at ${id}`,
        start: "2027-03-01T09:00:00Z",
        durationMinutes: 30,
      });
      expect(created.isError).not.toBe(true);
    }
    const listed = await call("globex/compute", "acme-data.list_meetings", {});
    expect(JSON.stringify(listed.structuredContent)).toContain("Review at acme/data");
  });

  it("changes nothing and sends no mutating request the second time", { timeout: 120_000 }, async () => {
    const before = mutating(await sandbox.requests());
    const { code, stdout } = await sandbox.pulumi(
      "up",
      "-s",
      "local",
      "--yes",
      "--skip-preview",
      "--expect-no-changes",
    );
    expect({ code, stdout: code === 0 ? "" : stdout }).toEqual({ code: 0, stdout: "" });
    expect(mutating(await sandbox.requests()) - before).toBe(0);
  });

  it("shows every peer's URL in the first preview, and touches nothing", { timeout: 120_000 }, async () => {
    const stacks = join(sandbox.root, "stacks");
    copyFileSync(join(stacks, "Pulumi.local.yaml"), join(stacks, "Pulumi.other.yaml"));
    expect((await sandbox.pulumi("stack", "init", "other")).code).toBe(0);
    const before = await sandbox.requests();
    const { code, stdout } = await sandbox.pulumi("preview", "-s", "other", "--diff");
    expect(code, stdout).toBe(0);
    expect(stdout).toContain("22 to create");
    const wiring = stdout.slice(stdout.indexOf("federation:index:Wiring"));
    for (const { url } of Object.values((await outputs()).nodes)) expect(wiring).toMatch(new RegExp(`url +: "${url}"`));
    expect(await sandbox.requests()).toEqual(before);
  });

  it("keeps private keys and tokens out of state, outputs and logs", async () => {
    const secrets = Object.values((await outputs()).issuers).map(({ key }) => JSON.parse(key).d as string);
    const exported = JSON.parse((await sandbox.pulumi("stack", "export", "--show-secrets", "-s", "local")).stdout);
    for (const { outputs: values } of exported.deployment.resources) {
      const text = JSON.stringify(values ?? {});
      for (const match of text.matchAll(/\\+"d\\+":\\+"([A-Za-z0-9_-]{43})/g)) secrets.push(match[1]!);
    }
    const env = readFileSync(join(sandbox.root, ".federation", "env"), "utf8");
    for (const match of env.matchAll(/_TOKEN=['"]?([^'"\s]+)/g)) secrets.push(match[1]!);
    const passphrase = readFileSync(join(sandbox.root, ".federation", "passphrase"), "utf8").trim();
    // Root, two issuers, three nodes; three providers' tokens; the passphrase.
    expect(new Set([...secrets, passphrase]).size).toBeGreaterThanOrEqual(10);

    const shown = (await sandbox.pulumi("stack", "output", "--json", "-s", "local")).stdout;
    const places = new Map([["stack output", shown]]);
    for (const folder of [".federation/state", ".federation/cloud"]) {
      for (const file of readdirSync(join(sandbox.root, folder), { recursive: true, encoding: "utf8" })) {
        if (folder === ".federation/cloud" && !file.endsWith(".log")) continue;
        const path = join(sandbox.root, folder, file);
        try {
          places.set(path, readFileSync(path, "latin1"));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EISDIR") throw error;
        }
      }
    }
    expect([...places.keys()].some((path) => path.endsWith(".log"))).toBe(true);
    expect([...places.keys()].some((path) => path.endsWith("local.json"))).toBe(true);
    for (const [place, text] of places) {
      for (const secret of [...secrets, passphrase]) expect(text.includes(secret), place).toBe(false);
    }
  });

  it("adds an organization by an edit: its own resources and one manifest update", { timeout: 180_000 }, async () => {
    sandbox.edit(({ organizations }) => {
      organizations.initech = {
        users: ["peter"],
        providers: { fly: { ...organizations.globex.providers.fly, organization: "initech" } },
        nodes: { printer: { provider: "fly", functions: ["echo", "meeting-info"] } },
        accepts: ["globex"],
      };
      organizations.globex.grants.push({ to: "initech", tools: ["echo"] });
    });
    const { code, stdout } = await sandbox.pulumi("up", "-s", "local", "--yes", "--skip-preview", "--json");
    expect(code, stdout).toBe(0);
    const steps = resourceSteps(stdout);
    expect(steps.filter(({ op }) => op !== "create")).toEqual([
      { op: "update", urn: expect.stringMatching(/Wiring::manifest$/) },
    ]);
    expect(steps.filter(({ op }) => op === "create").every(({ urn }) => urn.includes("initech"))).toBe(true);
    expect((await outputs()).manifest.serial).toBe(2);

    const initech = (await outputs()).nodes["initech/printer"]!;
    const client = await connect(initech.url, await token("peter@initech", "initech/printer"), "modern");
    const result = await client.callTool({ name: "globex-compute.echo", arguments: { text: "hello" } });
    await client.close();
    expect(JSON.stringify(result.content)).toContain("hello");
  });

  it("takes an organization's access away the moment it is removed", { timeout: 180_000 }, async () => {
    const { url } = (await outputs()).nodes["globex/compute"]!;
    const before = await token("peter@initech", "globex/compute");
    sandbox.edit(({ organizations }) => {
      delete organizations.initech;
      organizations.globex.grants.pop();
    });
    const { code, stdout } = await sandbox.pulumi("up", "-s", "local", "--yes", "--skip-preview");
    expect(code, stdout).toBe(0);
    expect((await outputs()).manifest.serial).toBe(3);
    const response = await fetch(`${url}/mcp`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${before}`,
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: {} }),
    });
    expect(response.status).toBe(401);
  });

  it("brings a killed runtime back and heals without a deploy", { timeout: 120_000 }, async () => {
    const { providers } = await sandbox.cloud();
    const runtimes = Object.values(providers).flatMap((provider) => provider.runtimes);
    expect(runtimes).toHaveLength(3);
    for (const { pid } of runtimes) process.kill(pid, "SIGKILL");
    for (const id of nodeIds) {
      await eventually(30, async () => ((await tools(id, "modern")).length > own.length ? true : undefined));
    }
    const listed = await call("globex/compute", "list_meetings", {});
    expect(JSON.stringify(listed.structuredContent)).toContain("Review at globex/compute");
  });

  it("converges after the local cloud was killed in the middle of an up", { timeout: 300_000 }, async () => {
    sandbox.edit(({ organizations }) => {
      organizations.acme.nodes.spare = { provider: "supabase", functions: ["echo"] };
    });
    const count = mutating(await sandbox.requests());
    const running = sandbox.pulumi("up", "-s", "local", "--yes", "--skip-preview");
    await eventually(60, async () => (mutating(await sandbox.requests()) > count ? true : undefined));
    const { pid } = await sandbox.cloud();
    process.kill(pid, "SIGKILL");
    expect((await running).code).not.toBe(0);

    const { code, stdout, stderr } = await sandbox.federation("up");
    expect({ code, output: code === 0 ? "" : stdout + stderr }).toEqual({ code: 0, output: "" });
    expect(await tools("acme/spare", "modern")).toContain("globex-compute.echo");
    const meetings = await call("acme/edge", "list_meetings", {});
    expect(JSON.stringify(meetings.structuredContent)).toContain("Review at acme/edge");
    const again = await sandbox.pulumi("up", "-s", "local", "--yes", "--skip-preview", "--expect-no-changes");
    expect(again.code, again.stdout).toBe(0);
  });

  it("prints five messages for five mistakes", async () => {
    sandbox.edit(({ organizations }) => {
      organizations.acme.nodes.edge.provider = "cloudflair";
      organizations.acme.nodes.data.functions = ["eco"];
      organizations.acme.grants[0].to = "globx";
      organizations.globex.grants[0].rate = 0;
      organizations.globex.acepts = ["acme"];
    });
    const { code, stdout } = await sandbox.pulumi("preview", "-s", "local");
    expect(code).not.toBe(0);
    expect(stdout).toContain("The stack config has 5 problems.");
    expect(stdout.match(/ {4}do: /g)).toHaveLength(5);
  });
});

/** Steps other than "same" of an update's JSON report, component resources left out. */
function resourceSteps(report: string): { op: string; urn: string }[] {
  return report
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line).resourcePreEvent?.metadata)
    .filter((metadata) => metadata && metadata.op !== "same" && !metadata.urn.includes("pulumi:pulumi:Stack"))
    .map(({ op, urn }) => ({ op, urn }));
}
