import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { account, bundleNode, expectOk, root, startTestCloud } from "./local.ts";
import type { TestCloud } from "./local.ts";

const secretText = "a-private-value";
const program = `
import { readFileSync } from "node:fs";
import { ComponentResource, secret } from "@pulumi/pulumi";
import { cloudflare } from "../providers/cloudflare/adapter.ts";

const { url, api, bundle, config, key } = JSON.parse(readFileSync("../deployment.json", "utf8"));
const settings = cloudflare.settings.parse({ accountId: "${account}", workersSubdomain: "acme", api, url });
const parent = new ComponentResource("test:index:Parent", "parent");
const provider = cloudflare.account("acme", settings, parent);
const name = "net-acme-edge";
const deployed = cloudflare.deploy(
  { name, node: "acme/edge", url: cloudflare.urlFor(name, settings), settings, bundle, config, key: secret(key), parent },
  provider,
);
export const address = deployed.url;
`;
const node = (greeting: string): string => `({ config }) => ({ fetch: async (request) => Response.json({
  greeting: ${JSON.stringify(greeting)}, node: config.node, path: new URL(request.url).pathname }) })`;

let cloud: TestCloud;
let folder: string;

beforeAll(async () => {
  cloud = await startTestCloud();
  folder = mkdtempSync(join(tmpdir(), "cloudflare-pulumi-"));
  mkdirSync(join(folder, "infra"));
  mkdirSync(join(folder, "state"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  for (const part of ["providers", "functions", "package.json"])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  writeFileSync(join(folder, "Pulumi.yaml"), "name: cloudflare-test\nruntime: nodejs\nmain: infra/\n");
  cpSync(join(root, "tsconfig.json"), join(folder, "tsconfig.json"));
  cpSync(join(root, "infra", "tsconfig.json"), join(folder, "infra", "tsconfig.json"));
  writeFileSync(join(folder, "infra", "index.ts"), program);
  await write(node("hello"));
  await pulumi("stack", "init", "test");
}, 60_000);
afterAll(async () => {
  await cloud?.close();
  rmSync(folder, { recursive: true, force: true });
});

test(
  "up deploys, a second up changes nothing, a change of the code is one new version, destroy leaves nothing",
  { timeout: 240_000 },
  async () => {
    const first = await up();
    expect(first.changes).toEqual({ create: 5 });
    const address = await output("address");
    expect(address).toBe(`${cloud.url}/net-acme-edge`);
    expect(await (await fetch(`${address}/mcp`)).json()).toEqual({
      greeting: "hello",
      node: "acme/edge",
      path: "/mcp",
    });

    const state = readFileSync(join(folder, "state/.pulumi/stacks/cloudflare-test/test.json"), "utf8");
    expect(state).not.toContain(secretText);
    expect(state, "no code").not.toContain("greeting");
    const { resources } = JSON.parse(state).checkpoint.latest as {
      resources: { type: string; inputs: any; outputs: any }[];
    };
    const properties = JSON.stringify(resources.map(({ inputs, outputs }) => ({ inputs, outputs })));
    expect(properties, "no path of this machine").not.toContain(folder);
    const version = resources.find(({ type }) => type === "cloudflare:index/workerVersion:WorkerVersion")!;
    expect(version.inputs.modules[0].contentFile).toBe("../" + readDeployment().bundle.path);
    expect(version.inputs.bindings[0].text, "only the key is secret, the configuration shows in diffs").toContain(
      "acme/edge",
    );
    expect(version.inputs.bindings[1].text).toHaveProperty("ciphertext");
    expect(version.outputs.bindings[1].text).toHaveProperty("ciphertext");

    const before = await cloud.requests();
    const second = await up();
    expect(second.changes).toEqual({ same: 5 });
    expect(await cloud.requests(), "nothing is asked, nothing is changed").toEqual(before);

    const drift = await pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes", "--json");
    expect(drift.code, drift.text).toBe(0);

    const subdomain = `/accounts/${account}/workers/scripts/net-acme-edge/subdomain`;
    await expectOk(cloud.call("POST", subdomain, { enabled: false }));
    expect(
      (await pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")).code,
      "what somebody switched off by hand shows",
    ).not.toBe(0);
    expect((await up()).changes, "and is switched on again").toEqual({ same: 4, update: 1 });
    expect((await fetch(`${address}/mcp`)).status).toBe(200);

    const unchanged = await cloud.requests();
    await write(node("goodbye"));
    const third = await up();
    expect(third.changes).toEqual({ same: 4, replace: 1 });
    expect(await (await fetch(`${address}/mcp`)).json()).toMatchObject({ greeting: "goodbye" });
    const asked = await cloud.requests();
    expect((asked["POST"] ?? 0) - (unchanged["POST"] ?? 0), "one new version").toBe(1);

    expect((await pulumi("destroy", "--yes", "--skip-preview")).code).toBe(0);
    expect((await fetch(`${address}/mcp`)).status).toBe(404);
    expect(await (await cloud.call("GET", `/accounts/${account}/workers/workers`)).json()).toMatchObject({
      result: [],
    });
  },
);

async function write(startNode: string): Promise<void> {
  const code = await bundleNode(startNode);
  const sha256 = createHash("sha256").update(code).digest("hex");
  const path = `.federation/bundles/cloudflare-${sha256.slice(0, 16)}.js`;
  mkdirSync(join(folder, ".federation/bundles"), { recursive: true });
  writeFileSync(join(folder, path), code);
  const url = `${cloud.url}/net-acme-edge`;
  const config = JSON.stringify({
    network: "test",
    node: "acme/edge",
    url,
    root: { kty: "OKP", crv: "Ed25519", x: "eA", kid: "k" },
  });
  const key = JSON.stringify({ kty: "OKP", crv: "Ed25519", x: "eA", d: secretText, kid: "k" });
  const bundle = {
    provider: "cloudflare",
    functions: [],
    code,
    sha256,
    path,
    bytes: code.length,
    gzipBytes: code.length,
  };
  const deployment = { url: `${cloud.url}/{name}`, api: `${cloud.url}/client/v4`, bundle, config, key };
  writeFileSync(join(folder, "deployment.json"), JSON.stringify(deployment));
}

function readDeployment(): { bundle: { path: string } } {
  return JSON.parse(readFileSync(join(folder, "deployment.json"), "utf8")) as { bundle: { path: string } };
}

async function up(): Promise<{ changes: Record<string, number> }> {
  const { code, text } = await pulumi("up", "--yes", "--skip-preview", "--json");
  expect(code, text).toBe(0);
  const lines = text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { summaryEvent?: { resourceChanges: Record<string, number> } });
  return { changes: lines.find((line) => line.summaryEvent)!.summaryEvent!.resourceChanges };
}

async function output(name: string): Promise<string> {
  return (await pulumi("stack", "output", name)).text.trim();
}

async function pulumi(...args: string[]): Promise<{ code: number; text: string }> {
  const env = {
    HOME: process.env["HOME"],
    PATH: [join(folder, "providers/local-cloud/bin"), join(root, "node_modules/.bin"), process.env["PATH"]].join(":"),
    PULUMI_BACKEND_URL: `file://${folder}/state`,
    PULUMI_CONFIG_PASSPHRASE: "test",
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_STACK: "test",
    CLOUDFLARE_API_TOKEN: cloud.token,
  };
  const stack = args[0] === "stack" && args[1] === "init" ? { ...env, PULUMI_STACK: "" } : env;
  try {
    const { stdout, stderr } = await promisify(execFile)("pulumi", ["--non-interactive", ...args], {
      cwd: folder,
      env: stack,
    });
    return { code: 0, text: stdout + (stdout ? "" : stderr) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, text: `${stdout}\n${stderr}` };
  }
}
