import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { parse, stringify } from "yaml";

const source = fileURLToPath(new URL("../..", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A copy of the project in a folder of its own, with its own local cloud on a free port. */
export interface Sandbox {
  readonly root: string;
  readonly port: number;
  /** Runs the command line; answers when it ended. */
  federation(...args: string[]): Promise<Finished>;
  /** Runs `pulumi` with the environment that `federation up` wrote. */
  pulumi(...args: string[]): Promise<Finished>;
  /** Changes the topology in the stack config. */
  edit(change: (topology: any) => void): void;
  /** What runs. */
  cloud(): Promise<{ pid: number; providers: Record<string, { runtimes: { name: string; pid: number }[] }> }>;
  /** Control-plane requests since the local cloud started, by provider and method. */
  requests(): Promise<Record<string, Record<string, number>>>;
  /** Stops the local cloud and removes the folder. */
  remove(): Promise<void>;
}

export async function makeSandbox(): Promise<Sandbox> {
  const root = mkdtempSync(join(tmpdir(), "federation-"));
  const files = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: source, encoding: "utf8" });
  for (const file of files.split("\n").filter(Boolean)) {
    cpSync(join(source, file), join(root, file), { recursive: true });
  }
  symlinkSync(join(source, "node_modules"), join(root, "node_modules"));
  const port = await freePort();
  const stackFile = join(root, "stacks", "Pulumi.local.yaml");
  writeFileSync(stackFile, readFileSync(stackFile, "utf8").replaceAll(":7700/", `:${port}/`));

  const sandbox: Sandbox = {
    root,
    port,
    federation: (...args) => run(root, process.execPath, [join(root, "cli", "main.ts"), ...args]),
    pulumi: (...args) => run(root, "sh", ["-c", '. ./.federation/env && exec pulumi "$@"', "sh", ...args]),
    edit(change) {
      const file = parse(readFileSync(stackFile, "utf8"));
      change(file.config["ai-federation:topology"]);
      writeFileSync(stackFile, stringify(file));
    },
    cloud: () => get(port, ""),
    requests: () => get(port, "requests"),
    async remove() {
      await sandbox.federation("down");
      rmSync(root, { recursive: true, force: true });
    },
  };
  return sandbox;
}

function get(port: number, path: string): Promise<never> {
  return fetch(`http://127.0.0.1:${port}/${path}`).then((response) => response.json()) as Promise<never>;
}

/** How many of the counted requests could have changed something. */
export function mutating(requests: Record<string, Record<string, number>>): number {
  return Object.values(requests)
    .flatMap((methods) => Object.entries(methods))
    .reduce((sum, [method, count]) => (method === "GET" || method === "HEAD" ? sum : sum + count), 0);
}

export type Era = "legacy" | "modern";

/** Connects the official client in one era. */
export async function connect(url: string, token: string, era: Era): Promise<Client> {
  const client = new Client(
    { name: "test", version: "1" },
    { versionNegotiation: { mode: era === "legacy" ? "legacy" : { pin: "2026-07-28" } } },
  );
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    }),
  );
  return client;
}

export function run(cwd: string, command: string, args: readonly string[]): Promise<Finished> {
  const { PULUMI_BACKEND_URL: _backend, PULUMI_CONFIG_PASSPHRASE: _passphrase, ...env } = process.env;
  const child = spawn(command, args, { cwd, env: { ...env, PATH: `${dirname(process.execPath)}:${env["PATH"]}` } });
  return new Promise((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += chunk));
    child.stderr.on("data", (chunk) => (stderr += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Polls until the check answers something else than undefined, at most `seconds`. */
export async function eventually<T>(seconds: number, check: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + seconds * 1000;
  let last: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not reached within ${seconds} s`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
