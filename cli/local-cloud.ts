import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CliError } from "./errors.ts";
import type { Project } from "./project.ts";

/** What the local cloud says of itself at `GET /`. */
export interface CloudStatus {
  readonly name: string;
  readonly state: "starting" | "ready";
  readonly pid: number;
  readonly dir: string;
  /** RFC 3339. */
  readonly started: string;
  readonly providers: Readonly<Record<string, { readonly runtimes: readonly CloudRuntime[] }>>;
}

export interface CloudRuntime {
  readonly name: string;
  readonly state: string;
  readonly restarts: number;
  readonly pid?: number;
  readonly port?: number;
}

export interface RunningCloud extends CloudStatus {
  readonly url: string;
}

const program = join(import.meta.dirname, "..", "providers", "local-cloud", "main.ts");
/** Time to bring up all that was deployed before, on a slow machine. */
const startTimeoutMs = 120_000;
/** Time for runtimes to end: 5 s each, all at once, and some more. */
const stopTimeoutMs = 30_000;

/** The project's local cloud, if it runs. */
export async function findCloud(project: Project): Promise<RunningCloud | undefined> {
  const dir = cloudDir(project);
  if (!existsSync(addressFile(project))) return undefined;
  const url = readFileSync(addressFile(project), "utf8").trim();
  const status = await ask(url);
  // After a crash somebody else may listen there.
  return status?.dir === dir ? { ...status, url } : undefined;
}

/** Starts the project's local cloud in the background and waits until it is ready; answers the running one where there is one. */
export async function startCloud(project: Project, port: number): Promise<RunningCloud & { readonly fresh: boolean }> {
  const running = await findCloud(project);
  if (running && running.url !== `http://127.0.0.1:${port}`) {
    throw new CliError(
      `the local cloud runs on ${running.url}, not on port ${port}: stop it with \`npx federation cloud stop\` first`,
    );
  }
  if (running?.state === "ready") return { ...running, fresh: false };
  const dir = cloudDir(project);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const errors = join(dir, "start-up.log");
  const failed = running ? new Promise<never>(() => undefined) : launch(project, port, errors);
  const over = new AbortController();
  const cloud = await Promise.race([untilReady(project, over.signal), failed]).finally(() => over.abort());
  if (cloud) return { ...cloud, fresh: !running };
  throw new CliError(
    `the local cloud is not ready after ${startTimeoutMs / 1000} s; its log is ${join(dir, "local-cloud.log")}`,
  );
}

/** Stops the project's local cloud and its runtimes; answers false when it does not run. */
export async function stopCloud(project: Project): Promise<boolean> {
  const running = await findCloud(project);
  if (!running) return false;
  process.kill(running.pid, "SIGTERM");
  for (const end = Date.now() + stopTimeoutMs; Date.now() < end; await sleep(50)) {
    // It takes its address away last. A process that nobody reaps (PID 1 of some containers) seems to live on.
    if (!existsSync(addressFile(project)) || !lives(running.pid)) return true;
  }
  throw new CliError(
    `the local cloud (pid ${running.pid}) does not end; its log is ${join(cloudDir(project), "local-cloud.log")}`,
  );
}

function cloudDir({ home }: Project): string {
  return join(home, "cloud");
}

function addressFile(project: Project): string {
  return join(cloudDir(project), "address");
}

/** Rejects with its words when the local cloud ends. */
function launch(project: Project, port: number, errors: string): Promise<never> {
  const file = openSync(errors, "w", 0o600);
  const args = [program, "--dir", cloudDir(project), "--port", String(port)];
  const child = spawn(process.execPath, args, { cwd: project.dir, detached: true, stdio: ["ignore", "ignore", file] });
  closeSync(file);
  child.unref();
  return new Promise((_, reject) => {
    child.once("error", reject);
    child.once("exit", () =>
      reject(new CliError(`the local cloud did not start: ${readFileSync(errors, "utf8").trim()}`)),
    );
  });
}

async function untilReady(project: Project, signal: AbortSignal): Promise<RunningCloud | undefined> {
  for (const end = Date.now() + startTimeoutMs; Date.now() < end && !signal.aborted; await sleep(50)) {
    const cloud = await findCloud(project);
    if (cloud?.state === "ready") return cloud;
  }
  return undefined;
}

async function ask(url: string): Promise<CloudStatus | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    return (await response.json()) as CloudStatus;
  } catch {
    // Nobody there, or somebody who does not speak HTTP and JSON: not the local cloud.
    return undefined;
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}
