import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BundleTarget } from "../../providers/adapter.ts";
import { compile } from "../../providers/bundle.ts";
import startCloudflare from "../../providers/cloudflare/emulator.ts";
import { cloudflare } from "../../providers/cloudflare/adapter.ts";
import { fly } from "../../providers/fly/adapter.ts";
import { type Cloud, startCloud } from "../../providers/local-cloud/cloud.ts";
import { freePort, launch, type Launched, waitUntilReady } from "../../providers/local-cloud/launch.ts";
import { openLog } from "../../providers/local-cloud/log-file.ts";
import { tokensIn } from "../../providers/local-cloud/tokens.ts";
import { supabase } from "../../providers/supabase/adapter.ts";
import { managementApi } from "../../providers/supabase/api.ts";
import startSupabase from "../../providers/supabase/emulator.ts";
import { secretName, type SecretVariable } from "../../providers/supabase/names.ts";
import { claimSql, schemaSql } from "../../providers/supabase/schema.ts";

export const runtimeNames = ["workerd", "deno", "node"] as const;
export type RuntimeName = (typeof runtimeNames)[number];

/** Starts nodes on one runtime. */
export interface Deploy {
  readonly provider: string;
  /** Base URL at which a node of this name will listen. */
  urlOf(name: string): Promise<string>;
  /** Starts a node with its variables and answers its base URL on this machine. */
  start(name: string, variables: Readonly<Record<string, string>>): Promise<string>;
}

/** Runtimes with the fixture's functions in every node. */
export interface Runtimes {
  readonly deploy: Readonly<Record<RuntimeName, Deploy>>;
  close(): Promise<void>;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const account = "0123456789abcdef0123456789abcdef";
const projectRef = "conformanceconforman";

/** Starts the local cloud with the providers whose runtimes need one; Node.js does not. */
export async function startRuntimes(dir: string): Promise<Runtimes> {
  const log = () => undefined;
  const cloud = await startCloud({
    dir: join(dir, "cloud"),
    port: 0,
    emulators: { cloudflare: startCloudflare, supabase: startSupabase },
    log,
  });
  await cloud.ready;
  const tokens = tokensIn(join(dir, "cloud"), ["cloudflare", "supabase"]);
  const processes: Launched[] = [];
  return {
    deploy: {
      workerd: workerd(cloud, tokens["cloudflare"] as string),
      deno: deno(cloud, tokens["supabase"] as string),
      node: nodeJs(processes, join(dir, "node")),
    },
    async close() {
      for (const { end } of processes) end(2_000);
      await Promise.all(processes.map(async ({ ended }) => await ended));
      await cloud.close();
    },
  };
}

/** A bundle as the toolkit makes it, on the provider's real entry. A node without upstreams has the fixture's functions. */
async function bundleFor(target: BundleTarget, variables: Readonly<Record<string, string>>): Promise<string> {
  const { upstreams, node } = JSON.parse(variables["FEDERATION_CONFIG"] as string) as Record<string, unknown>;
  const functions = upstreams || String(node).endsWith("/relay") ? "" : "fixture";
  const call = `bridge(createNode([${functions}]))`;
  const module = [
    `import { bridge } from "./${target.entry}";`,
    `import { createNode } from "./functions/node/node.ts";`,
    `import fixture from "./test/conformance/fixture/index.ts";`,
    ...(target.named.length > 0 ? [`export { ${target.named.join(", ")} } from "./${target.entry}";`] : []),
    target.start === "export" ? `export default ${call};` : `${call};`,
  ];
  return await compile(module.join("\n"), target, root);
}

function workerd(cloud: Cloud, token: string): Deploy {
  const api = async (path: string, body: object) => {
    const response = await fetch(`${cloud.url}/cloudflare/client/v4/accounts/${account}/workers/workers${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`the Workers API answered ${response.status} ${await response.text()}`);
  };
  const urlOf = async (name: string) => `${cloud.url}/cloudflare/${name}`;
  return {
    provider: "cloudflare",
    urlOf,
    async start(name, variables) {
      const code = await bundleFor(cloudflare.target, variables);
      await api("", { name, subdomain: { enabled: true } });
      await api(`/${name}/versions?deploy=true`, {
        main_module: "index.js",
        compatibility_date: "2026-11-01",
        exports: { NodeState: { type: "durable-object", storage: "sqlite" } },
        bindings: [
          ...Object.entries(variables).map(([variable, text]) => ({
            type: variable === "FEDERATION_CONFIG" ? "plain_text" : "secret_text",
            name: variable,
            text,
          })),
          { type: "durable_object_namespace", name: "STATE", class_name: "NodeState" },
        ],
        modules: [
          {
            name: "index.js",
            content_type: "application/javascript+module",
            content_base64: Buffer.from(code).toString("base64"),
          },
        ],
      });
      return await urlOf(name);
    },
  };
}

function deno(cloud: Cloud, token: string): Deploy {
  const urlOf = async (name: string) => `${cloud.url}/supabase/projects/${projectRef}/functions/v1/${name}`;
  process.env["SUPABASE_ACCESS_TOKEN"] = token;
  const api = managementApi({ api: `${cloud.url}/supabase`, projectRef }, AbortSignal.timeout(300_000));
  let schema: Promise<unknown> | undefined;
  return {
    provider: "supabase",
    urlOf,
    async start(name, variables) {
      await (schema ??= api.query(schemaSql + claimSql("conformance")));
      const code = new TextEncoder().encode(await bundleFor(supabase.target, variables));
      const secrets = Object.entries(variables).map(([key, value]) => [secretName(key as SecretVariable, name), value]);
      await api.setSecrets(Object.fromEntries(secrets) as Record<string, string>);
      await api.deployFunction({ slug: name, code, verifyJwt: false });
      return await urlOf(name);
    },
  };
}

function nodeJs(started: Launched[], dir: string): Deploy {
  const ports = new Map<string, Promise<number>>();
  const urlOf = async (name: string) => {
    const port = ports.get(name) ?? freePort();
    ports.set(name, port);
    return `http://127.0.0.1:${await port}`;
  };
  return {
    provider: "fly",
    urlOf,
    async start(name, variables) {
      const folder = join(dir, name);
      mkdirSync(folder, { recursive: true });
      const file = join(folder, "node.mjs");
      writeFileSync(file, await bundleFor(fly.target, variables));
      const url = await urlOf(name);
      const port = Number(new URL(url).port);
      const spec = {
        command: process.execPath,
        args: () => [file],
        env: () => ({ ...variables, FEDERATION_DATA: folder, HOST: "127.0.0.1", PORT: String(port) }),
        cwd: folder,
      };
      const log = openLog(join(dir, `${name}.log`), 1_000_000);
      const launched = await launch(spec, port, log, join(dir, `${name}.pid`));
      started.push(launched);
      if (!(await waitUntilReady(port, undefined, 20_000, launched.signal)))
        throw new Error(`the node ${name} does not serve; its log is ${join(dir, `${name}.log`)}`);
      return url;
    },
  };
}
