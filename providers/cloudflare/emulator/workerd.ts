import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { RuntimeSpec } from "../../local-cloud/emulator.ts";
import { objectsFolder, secretVariable } from "./capnp.ts";

/** The real runtime's binary for this platform; the package knows where it is. */
const binary = (createRequire(import.meta.url)("workerd") as { readonly default: string }).default;

const startLimitMs = 10_000;

/** A Worker to run: the folder it runs in, its configuration file and its secrets by binding name. */
export interface Run {
  readonly cwd: string;
  readonly config: string;
  readonly secrets: Readonly<Record<string, string>>;
}

export function runtimeSpec(run: Run): RuntimeSpec {
  return {
    command: binary,
    args: (port) => serve(run, port),
    env: () => environment(run),
    cwd: run.cwd,
  };
}

/**
 * Starts a Worker once beside the one that runs, with storage of its own, and ends it again.
 * Answers how many milliseconds its start took, or the runtime's words when it does not start.
 */
export async function tryStart(run: Run): Promise<{ readonly startupMs: number } | { readonly error: string }> {
  const scratch = await mkdtemp(join(tmpdir(), "workerd-check-"));
  const before = performance.now();
  // workerd writes a line to descriptor 3 once it listens.
  const child = spawn(binary, [...serve(run, 0), `--directory-path=${objectsFolder}=${scratch}`, "--control-fd=3"], {
    cwd: run.cwd,
    env: environment(run),
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  let words = "";
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => (words += chunk));
  const ended = Promise.withResolvers<"ended">();
  const listens = Promise.withResolvers<"listens">();
  child.once("close", () => ended.resolve("ended"));
  child.once("error", ended.reject);
  (child.stdio[3] as Readable).once("data", () => listens.resolve("listens"));
  const timer = setTimeout(() => child.kill("SIGKILL"), startLimitMs);
  try {
    const outcome = await Promise.race([listens.promise, ended.promise]);
    if (outcome === "listens") return { startupMs: Math.round(performance.now() - before) };
    return { error: startError(words) };
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
    await ended.promise.catch(() => undefined); // an error of spawn was thrown above
    await rm(scratch, { recursive: true, force: true });
  }
}

/** What workerd says about the Worker, without its own frame: `service worker.js: Uncaught SyntaxError: ...`. */
export function startError(words: string): string {
  const lines = words
    .trim()
    .split("\n")
    .map((line) => line.replace(/^service worker\.js: /, ""));
  const from = lines.findIndex((line) => line.startsWith("Uncaught "));
  return lines.slice(Math.max(from, 0)).join("\n") || `the Worker did not start within ${startLimitMs / 1000} s`;
}

function serve(run: Run, port: number): string[] {
  return ["serve", run.config, `--socket-addr=http=127.0.0.1:${port}`];
}

function environment(run: Run): Record<string, string> {
  return Object.fromEntries(Object.entries(run.secrets).map(([name, value]) => [secretVariable(name), value]));
}
