import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";
import { workerdConfig } from "../providers/cloudflare/emulator/capnp.ts";
import { adapters, bundle } from "../providers/index.ts";
import type { ProviderName } from "../providers/adapter.ts";
import { secretName } from "../providers/supabase/names.ts";
import type { BenchNetwork } from "./network.ts";
import { freePort, gatewayCore, loadCore, start, type Started, until } from "./process.ts";

/** One gateway under test. `url` is the base below which `/mcp` is; for nginx, the upstream's server `name` in its place. */
export interface System {
  readonly name: SystemName;
  readonly process: Started;
  readonly url: string;
  /** Milliseconds from the start of the process to its first answer. */
  readonly startMs: number;
}

export type SystemName = "nginx" | "node" | "deno" | "workerd";
export const systemNames: readonly SystemName[] = ["nginx", "node", "deno", "workerd"];

export interface Place {
  readonly root: string;
  /** Scratch folder of the run. */
  readonly folder: string;
  /** Base URL of the upstream. */
  readonly upstream: string;
  readonly network: BenchNetwork;
}

/** Compiles and starts the upstream. Throws with the remedy when there is no Go. */
export async function startUpstream(root: string, folder: string): Promise<{ process: Started; url: string }> {
  const binary = join(folder, "upstream");
  try {
    await promisify(execFile)("go", ["build", "-o", binary, "."], { cwd: join(root, "bench/upstream") });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    throw new Error(
      "the benchmark's upstream is written in Go, and there is no `go`: install Go 1.22 or newer (https://go.dev/dl)",
      { cause },
    );
  }
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const process = start(binary, [String(port)], { core: loadCore, cwd: folder, log: join(folder, "upstream.log") });
  await until("the upstream", async () => (await fetch(`${url}/answered`)).ok);
  return { process, url };
}

export async function startSystem(name: SystemName, place: Place): Promise<System> {
  const folder = join(place.folder, name);
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const launched = await { nginx: launchNginx, node: launchNode, deno: launchDeno, workerd: launchWorkerd }[name](
    { ...place, folder },
    port,
  );
  const startMs = await until(name, async () => (await fetch(launched.answers)).ok);
  return { name, process: launched.process, url: launched.url, startMs };
}

interface Launched {
  readonly process: Started;
  readonly url: string;
  /** What a GET to shows that the system is up. */
  readonly answers: string;
}

async function launchNginx({ folder, upstream }: Place, port: number): Promise<Launched> {
  const config = join(folder, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  writeFileSync(
    config,
    `worker_processes 1; daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 100000000; ${temporary.map((of) => `${of}_temp_path ${folder}/${of};`).join(" ")}
  client_body_buffer_size 64k; proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k;
  upstream peer { server ${new URL(upstream).host}; keepalive 256; keepalive_requests 100000000; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://peer; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
`,
  );
  const process = start("nginx", ["-e", join(folder, "error.log"), "-p", folder, "-c", config], options(folder));
  const url = `http://127.0.0.1:${port}`;
  return { process, url, answers: `${url}/answered` };
}

async function launchNode(place: Place, port: number): Promise<Launched> {
  const url = `http://127.0.0.1:${port}`;
  const code = join(place.folder, "node.mjs");
  cpSync(await bundleFor("fly", place.root), code);
  const data = join(place.folder, "data");
  const env = { ...variables(place, url), FEDERATION_DATA: data, PORT: String(port), HOST: "127.0.0.1" };
  const process_ = start(process.execPath, [code], { ...options(place.folder), env });
  return { process: process_, url, answers: `${url}/health` };
}

/** As the hosted runtime runs a function, see the emulator; the upstream plays the project's database, from memory. */
async function launchDeno(place: Place, port: number): Promise<Launched> {
  const require = createRequire(import.meta.url);
  const deno = (require("deno/install_api.cjs") as { runInstall(): string }).runInstall();
  const url = `http://127.0.0.1:${port}/edge`;
  const prelude = `const serve = Deno.serve.bind(Deno);
globalThis.EdgeRuntime = { waitUntil: (work) => void work };
Deno.serve = (handler) => serve({ hostname: "127.0.0.1", port: ${port}, onListen() {} }, handler);
`;
  writeFileSync(join(place.folder, "prelude.js"), prelude);
  cpSync(await bundleFor("supabase", place.root), join(place.folder, "node.js"));
  const main = join(place.folder, "main.js");
  writeFileSync(main, `import "./prelude.js";\nimport "./node.js";\n`);
  const config = variables(place, url);
  const env = {
    [secretName("FEDERATION_CONFIG", "edge")]: config.FEDERATION_CONFIG,
    [secretName("FEDERATION_KEY", "edge")]: config.FEDERATION_KEY,
    SUPABASE_URL: place.upstream,
    SUPABASE_SERVICE_ROLE_KEY: randomBytes(16).toString("hex"),
    DENO_DIR: join(place.folder, "cache"),
    DENO_NO_UPDATE_CHECK: "1",
    NO_COLOR: "1",
  };
  const flags = [
    "--quiet",
    "--no-prompt",
    "--no-lock",
    "--no-remote",
    "--no-npm",
    "--no-config",
    "--allow-net",
    "--allow-env",
  ];
  const process = start(deno, ["run", ...flags, "--v8-flags=--max-old-space-size=256", main], {
    ...options(place.folder),
    env,
  });
  return { process, url, answers: `${url}/health` };
}

async function launchWorkerd(place: Place, port: number): Promise<Launched> {
  const { default: workerd } = createRequire(import.meta.url)("workerd") as { readonly default: string };
  const url = `http://127.0.0.1:${port}`;
  cpSync(await bundleFor("cloudflare", place.root), join(place.folder, "node.js"));
  mkdirSync(join(place.folder, "objects"), { recursive: true });
  const { FEDERATION_CONFIG, FEDERATION_KEY } = variables(place, url);
  const config = workerdConfig(
    {
      main: "node.js",
      syntax: "modules",
      modules: [{ name: "node.js", contentType: "application/javascript+module", file: "node.js", size: 0 }],
      bindings: [
        { type: "plain_text", name: "FEDERATION_CONFIG", text: FEDERATION_CONFIG },
        { type: "secret_text", name: "FEDERATION_KEY" },
        { type: "durable_object_namespace", name: "STATE", class_name: "NodeState" },
      ],
      compatibilityDate: "2026-11-01",
      compatibilityFlags: [],
    } as unknown as Parameters<typeof workerdConfig>[0],
    [{ id: randomBytes(16).toString("hex"), className: "NodeState", storage: "sqlite" }],
  );
  writeFileSync(join(place.folder, "config.capnp"), config);
  const process = start(workerd, ["serve", "config.capnp", `--socket-addr=http=127.0.0.1:${port}`], {
    ...options(place.folder),
    env: { SECRET_FEDERATION_KEY: FEDERATION_KEY },
  });
  return { process, url, answers: `${url}/health` };
}

async function bundleFor(provider: ProviderName, root: string): Promise<string> {
  const { path } = await bundle({ provider, target: adapters[provider].target, functions: ["echo"] }, root);
  if (!existsSync(join(root, path))) throw new Error(`the bundle ${path} was not written`);
  return join(root, path);
}

function variables({ network }: Place, url: string): { FEDERATION_CONFIG: string; FEDERATION_KEY: string } {
  return { FEDERATION_CONFIG: JSON.stringify(network.config(url)), FEDERATION_KEY: JSON.stringify(network.key) };
}

function options(folder: string): { core: number; cwd: string; log: string } {
  return { core: gatewayCore, cwd: folder, log: join(folder, "log") };
}
