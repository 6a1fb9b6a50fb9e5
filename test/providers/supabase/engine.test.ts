import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Project } from "../plugin/project.ts";
import { projectRef, SupabaseCloud } from "./cloud.ts";
import { compileNode, nodeConfig, nodeKey } from "./node.ts";

const root = resolve(import.meta.dirname, "../../..");

/** Two nodes through the real adapter. */
const program = `
import * as pulumi from "@pulumi/pulumi";
import { supabase } from "./providers/supabase/adapter.ts";
const input = JSON.parse(require("node:fs").readFileSync("input.json", "utf8"));
const parent = new pulumi.ComponentResource("test:index:Parent", "parent");
const settings = supabase.settings.parse(input.settings);
const account = input.nodes.length > 0 ? supabase.account("acme", settings, parent) : undefined;
for (const { name, node, config, key } of input.nodes) {
  const url = supabase.urlFor(name, settings);
  const deployed = supabase.deploy({ name, node, url, settings, bundle: input.bundle, config, key: pulumi.secret(key), parent }, account);
  module.exports[name] = deployed.url;
}
`;

describe("Supabase under the real engine", () => {
  const cloud = new SupabaseCloud();
  let project: Project;
  let pluginFolder: string;
  let code: string;
  const kids: Record<string, string> = { "net-acme-hub": "k1", "net-acme-two": "k2" };

  beforeAll(async () => {
    await cloud.start();
    process.env["SUPABASE_ACCESS_TOKEN"] = cloud.token;
    code = await compileNode();
    pluginFolder = await makePlugin();
    project = await Project.create("supabase-engine", await compileProgram(), {
      name: "federation",
      folder: pluginFolder,
    });
    await input();
  });
  afterAll(async () => {
    delete process.env["SUPABASE_ACCESS_TOKEN"];
    await project.remove();
    await rm(pluginFolder, { recursive: true });
    await cloud.remove();
  });

  async function input(nodes = Object.keys(kids)): Promise<void> {
    const sha256 = createHash("sha256").update(code).digest("hex");
    const path = `.federation/bundles/supabase-${sha256.slice(0, 16)}.js`;
    await mkdir(join(project.dir, ".federation/bundles"), { recursive: true });
    await project.write(path, code);
    await project.input({
      settings: { projectRef, api: cloud.url, url: cloud.functionUrl("{name}") },
      bundle: { path, sha256 },
      nodes: nodes.map((name) => ({
        name,
        node: name.slice(4),
        config: nodeConfig(name.slice(4), cloud.functionUrl(name)),
        key: nodeKey(kids[name]!),
      })),
    });
  }

  /** What the engine did to the control plane since the last time. */
  function calls(): string[] {
    return cloud.calls
      .splice(0)
      .map((call) => call.replace(`/v1/projects/${projectRef}`, ""))
      .sort();
  }

  async function ask(slug: string): Promise<any> {
    return (await fetch(cloud.functionUrl(slug))).json();
  }

  test("a preview asks the control plane nothing", async () => {
    const run = await project.pulumi("preview", "--stack", "test");
    expect(run.code, run.text).toBe(0);
    expect(run.text).toContain("federation:index:SupabaseFunction");
    expect(calls()).toEqual([]);
  });

  test("one `up` brings both nodes into service", async () => {
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(await project.outputs()).toEqual(
      Object.fromEntries(Object.keys(kids).map((slug) => [slug, cloud.functionUrl(slug)])),
    );
    for (const [slug, kid] of Object.entries(kids)) expect(await ask(slug)).toMatchObject({ node: slug.slice(4), kid });
    expect((await (await fetch(`${cloud.functionUrl("net-acme-hub")}/count`)).json()).version).toBe(1);
    expect(calls()).toEqual([
      "POST /database/query",
      "POST /database/query",
      "POST /functions/deploy",
      "POST /functions/deploy",
      "POST /secrets",
      "POST /secrets",
    ]);
  });

  test("the state holds no secret in clear, no token, no code and no path of this machine", async () => {
    const state = await project.state();
    expect(state).toContain("federation:index:SupabaseSecrets");
    expect(state).not.toContain("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    expect(state).not.toContain(cloud.token);
    expect(state).not.toContain(code.slice(0, 100));
    const inputs = JSON.parse(state).checkpoint.latest.resources.filter(({ type }: { type: string }) =>
      type.startsWith("federation:"),
    );
    expect(inputs).toHaveLength(5);
    expect(JSON.stringify(inputs)).not.toMatch(new RegExp(`"${project.dir}|"${root}`));
  });

  test("a second `up` changes nothing and makes no call", async () => {
    const run = await project.up("--expect-no-changes");
    expect(run.code, run.text).toBe(0);
    expect(calls()).toEqual([]);
  });

  test("a refresh finds everything as it was", async () => {
    const run = await project.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes", "--stack", "test");
    expect(run.code, run.text).toBe(0);
    expect(calls().filter((call) => !call.startsWith("GET") && call !== "POST /database/query")).toEqual([]);
  });

  test("a new key reaches its node alone", async () => {
    kids["net-acme-hub"] = "k3";
    await input();
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(run.text).not.toContain("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    expect(calls()).toEqual(["POST /functions/deploy", "POST /secrets"]);
    expect(await ask("net-acme-hub")).toMatchObject({ kid: "k3" });
    expect(await ask("net-acme-two")).toMatchObject({ kid: "k2" });
  });

  test("what others changed shows in a refresh and is mended by the next `up`", async () => {
    await cloud.manage("POST", "/secrets", [{ name: "FEDERATION_KEY_NET_ACME_TWO", value: nodeKey("foreign") }]);
    await cloud.deploy("net-acme-hub", "Deno.serve(() => new Response('foreign'))");
    calls();
    const refresh = await project.pulumi("refresh", "--yes", "--skip-preview", "--diff", "--stack", "test");
    expect(refresh.code, refresh.text).toBe(0);
    expect(refresh.text).toContain("bundleSha256");
    expect(refresh.text).toContain("key");
    calls();
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    // The other node's function follows its mended secret.
    expect(calls()).toEqual(["POST /functions/deploy", "POST /functions/deploy", "POST /secrets"]);
    expect(await ask("net-acme-hub")).toMatchObject({ kid: "k3" });
    expect(await ask("net-acme-two")).toMatchObject({ kid: "k2" });
    expect((await project.up("--expect-no-changes")).code).toBe(0);
  });

  test("a function that somebody deleted is made again", async () => {
    await cloud.manage("DELETE", "/functions/net-acme-two");
    expect((await project.pulumi("refresh", "--yes", "--skip-preview", "--stack", "test")).code).toBe(0);
    const run = await project.up();
    expect(run.code, run.text).toBe(0);
    expect(await ask("net-acme-two")).toMatchObject({ kid: "k2" });
  });

  test("what is there can be imported, without its secrets", async () => {
    process.env["SUPABASE_API_URL"] = cloud.url;
    const other = await Project.create("supabase-import", "", { name: "federation", folder: pluginFolder });
    delete process.env["SUPABASE_API_URL"];
    const resources = [
      { type: "federation:index:SupabaseFunction", name: "hub", id: `${projectRef}/net-acme-hub` },
      { type: "federation:index:SupabaseSecrets", name: "secrets", id: `${projectRef}/net-acme-hub` },
      { type: "federation:index:SupabaseDatabase", name: "database", id: `${projectRef}/supabase-engine/test/acme` },
    ];
    await other.write("import.json", JSON.stringify({ resources }));
    const run = await other.pulumi(
      "import",
      "--file",
      "import.json",
      "--yes",
      "--skip-preview",
      "--generate-code=false",
      "--protect=false",
      "--stack",
      "test",
    );
    expect(run.code, run.text).toBe(0);
    const imported = JSON.parse(await other.state()).checkpoint.latest.resources.filter(({ type }: { type: string }) =>
      type.startsWith("federation:"),
    );
    const common = { api: cloud.url, projectRef };
    const config = nodeConfig("acme-hub", cloud.functionUrl("net-acme-hub"));
    expect(imported.map(({ inputs }: { inputs: object }) => inputs)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          ...common,
          slug: "net-acme-hub",
          bundleSha256: "",
          verifyJwt: false,
          secretsRevision: 0,
        }),
        expect.objectContaining({ ...common, slug: "net-acme-hub", config: "" }),
        expect.objectContaining({ ...common, owner: "supabase-engine/test/acme", version: 2 }),
      ]),
    );
    expect(JSON.stringify(imported)).not.toContain(config);
    const missing = await other.pulumi(
      "import",
      "federation:index:SupabaseFunction",
      "none",
      `${projectRef}/none`,
      "--yes",
      "--skip-preview",
      "--generate-code=false",
      "--stack",
      "test",
    );
    expect(missing.code).not.toBe(0);
    const wrong = await other.pulumi(
      "import",
      "federation:index:SupabaseFunction",
      "wrong",
      "nonsense",
      "--yes",
      "--skip-preview",
      "--generate-code=false",
      "--stack",
      "test",
    );
    expect(wrong.text).toContain('the id "nonsense" must be <ref>/<slug>');
    await other.remove();
  });

  test("a node that leaves takes its function and secrets with it, the last one the schema", async () => {
    await input(["net-acme-two"]);
    expect((await project.up()).code).toBe(0);
    const names = async () =>
      ((await (await cloud.manage("GET", "/secrets")).json()) as { name: string }[]).map(({ name }) => name);
    expect(await names()).toEqual(["FEDERATION_CONFIG_NET_ACME_TWO", "FEDERATION_KEY_NET_ACME_TWO"]);
    expect((await fetch(cloud.functionUrl("net-acme-hub"))).status).toBe(404);
    expect(await ask("net-acme-two")).toMatchObject({ kid: "k2" });
    const destroyed = await project.pulumi("destroy", "--yes", "--skip-preview", "--stack", "test");
    expect(destroyed.code, destroyed.text).toBe(0);
    expect(await names()).toEqual([]);
    expect(await cloud.query("select to_regclass('federation.entry') as entry")).toEqual([{ entry: null }]);
  });

  test("a control plane that refuses the token fails the run with what to do", async () => {
    await input(["net-acme-two"]);
    const token = process.env["SUPABASE_ACCESS_TOKEN"];
    process.env["SUPABASE_ACCESS_TOKEN"] = "wrong";
    const other = await Project.create("supabase-refused", await compileProgram(), {
      name: "federation",
      folder: pluginFolder,
    });
    process.env["SUPABASE_ACCESS_TOKEN"] = token;
    await other.input({
      settings: { projectRef, api: cloud.url },
      nodes: [{ name: "a", node: "x/a", config: "{}", key: "{}" }],
      bundle: { path: "none.js", sha256: "0" },
    });
    const run = await other.up();
    expect(run.code).not.toBe(0);
    expect(run.text).toContain(
      "answered 401: Unauthorized; SUPABASE_ACCESS_TOKEN is not a valid token of this control plane",
    );
    expect(run.text).not.toMatch(/at .*api\.ts/);
    await other.remove();
  });

  /** The toolkit's plugin server with nothing but the types of Supabase. */
  async function makePlugin(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "supabase-plugin-"));
    const main = `import { serve } from "${root}/providers/plugin/server.ts";
import types from "${root}/providers/supabase/resources.ts";
await serve({ name: "federation", version: "1.0.0", types });
`;
    await writeFile(join(folder, "main.ts"), main);
    await writeFile(join(folder, "package.json"), '{"type":"module"}');
    const executable = join(folder, "pulumi-resource-federation");
    await writeFile(executable, `#!/bin/sh\nexec "${process.execPath}" "${folder}/main.ts" "$@"\n`);
    await chmod(executable, 0o755);
    return folder;
  }

  async function compileProgram(): Promise<string> {
    const result = await build({
      stdin: { contents: program, resolveDir: root, loader: "ts" },
      bundle: true,
      write: false,
      format: "cjs",
      platform: "node",
      external: ["@pulumi/pulumi"],
    });
    return result.outputFiles[0]!.text;
  }
});
