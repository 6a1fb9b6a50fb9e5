import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Runtime, RuntimeSpec, Runtimes } from "./emulator.ts";
import { freePort, launch, waitUntilReady, type Launched, type PidFile } from "./launch.ts";
import { lastLines, openLog, type LogFile } from "./log-file.ts";
import { endGroup, processIdentity } from "./process.ts";

export interface SupervisorOptions {
  /** Holds a log (`<name>.log`, `<name>.log.1`) and a pid file (`<name>.pid`) for each runtime. */
  readonly dir: string;
  /** Told of starts, ends and restarts. */
  log(line: string): void;
  /** Milliseconds a runtime may take until it serves; 30,000 when absent. */
  readonly readyMs?: number;
  /** Milliseconds between SIGTERM and SIGKILL; 5,000 when absent. */
  readonly graceMs?: number;
  /** Size at which a log is rotated, bytes; 5 MiB when absent. */
  readonly logBytes?: number;
}

export interface RuntimeStatus extends Omit<Runtime, "pid" | "port"> {
  readonly state: "serving" | "starting";
  /** Absent while it starts. */
  readonly pid?: number;
  readonly port?: number;
}

export interface Supervisor extends Runtimes {
  /** The runtime as soon as it serves, at most `timeoutMs` later; undefined when it is unknown, was stopped or is not back in time. */
  serving(name: string, timeoutMs: number): Promise<Runtime | undefined>;
  list(): readonly RuntimeStatus[];
  /** Stops all runtimes. */
  close(): Promise<void>;
}

const firstDelayMs = 100;
const longestDelayMs = 5_000;
/** A runtime that served this long is healthy: its next end is a first one again. */
const healthyMs = 10_000;
/** Ends before it ever served after which a start is given up: the spec is broken, and waiting would not mend it. */
const startAttempts = 3;

interface Kept {
  readonly name: string;
  readonly spec: RuntimeSpec;
  readonly log: LogFile;
  /** Aborted to end it for good. */
  readonly stop: AbortController;
  /** Resolves to the runtime while it serves, is pending while it starts, resolves to undefined once it was given up or stopped. */
  current: PromiseWithResolvers<Runtime | undefined>;
  serving?: Runtime;
  restarts: number;
  /** Settles when the process is gone and none follows. */
  done: Promise<void>;
  error?: Error;
}

/** Makes a supervisor; first ends what an earlier one, killed by force, left running in `dir`. */
export async function createSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { dir, log, readyMs = 30_000, graceMs = 5_000 } = options;
  const kept = new Map<string, Kept>();
  /** Starts and stops of one name run in the order they were asked for. */
  const queues = new Map<string, Promise<unknown>>();
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  await endOrphans(dir, graceMs, log);
  return {
    start: (name, spec) => inTurn(name, async () => (await end(name), begin(name, spec))),
    stop: (name) => inTurn(name, () => end(name)),
    get: (name) => kept.get(name)?.serving,
    serving,
    list: () => [...kept.values()].map(status),
    close: async () =>
      void (await Promise.all(
        [...new Set([...kept.keys(), ...queues.keys()])].map((name) => inTurn(name, () => end(name))),
      )),
  };

  function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = queues.get(name) ?? Promise.resolve();
    const result = before.then(work, work);
    const settled = result.then(
      () => undefined,
      () => undefined, // whoever asked gets the error; the next in turn does not
    );
    queues.set(name, settled);
    void settled.then(() => queues.get(name) === settled && queues.delete(name));
    return result;
  }

  async function begin(name: string, spec: RuntimeSpec): Promise<Runtime> {
    const entry: Kept = {
      name,
      spec,
      log: openLog(file(name, "log"), options.logBytes),
      stop: new AbortController(),
      current: Promise.withResolvers(),
      restarts: 0,
      done: Promise.resolve(),
    };
    kept.set(name, entry);
    entry.done = keep(entry);
    const runtime = await entry.current.promise;
    if (runtime) return runtime;
    await end(name);
    throw entry.error ?? new Error(`runtime ${name} was stopped before it served`);
  }

  async function end(name: string): Promise<void> {
    const entry = kept.get(name);
    if (!entry) return;
    entry.stop.abort();
    await entry.done;
    entry.log.close();
    kept.delete(name);
  }

  /** Runs a runtime until it is stopped, or given up before it ever served. */
  async function keep(entry: Kept): Promise<void> {
    const stopped = entry.stop.signal;
    let ends = 0;
    let served = false;
    while (!stopped.aborted) {
      const life = await liveOnce(entry);
      if (stopped.aborted) break;
      served ||= life.servedMs !== undefined;
      ends = life.servedMs !== undefined && life.servedMs >= healthyMs ? 1 : ends + 1;
      if (!served && (life.hung || ends >= startAttempts)) {
        const words = lastLines(file(entry.name, "log"), 20);
        entry.error = new Error(`runtime ${entry.name} ${life.end}${words && `; its last words:\n${words}`}`);
        break;
      }
      const delay = Math.min(firstDelayMs * 2 ** (ends - 1), longestDelayMs);
      log(`runtime ${entry.name} ${life.end}; starting it again in ${delay} ms`);
      if (served) entry.restarts++;
      await sleep(delay, undefined, { signal: stopped }).catch(() => undefined); // aborted: the loop ends
    }
    entry.current.resolve(undefined);
  }

  /** From a start to the end: why it ended, and how long it served if it ever did. */
  async function liveOnce(entry: Kept): Promise<{ end: string; servedMs?: number; hung?: boolean }> {
    const { name, spec, stop } = entry;
    const port = await freePort();
    let launched: Launched;
    try {
      launched = await launch(spec, port, entry.log, file(name, "pid"));
    } catch (error) {
      return { end: (error as Error).message };
    }
    const terminate = () => {
      if (entry.serving) unserve(entry);
      launched.end(graceMs);
    };
    stop.signal.addEventListener("abort", terminate);
    if (stop.signal.aborted) terminate();
    try {
      const ready = await waitUntilReady(port, spec.readyPath, readyMs, launched.signal);
      if (!ready && !launched.signal.aborted) {
        terminate();
        await launched.ended;
        return { end: `did not serve within ${readyMs} ms`, hung: true };
      }
      if (!ready) return { end: await launched.ended };
      const since = Date.now();
      entry.serving = { name, pid: launched.pid, port, restarts: entry.restarts };
      log(`runtime ${name} serves on port ${port} (pid ${launched.pid})`);
      entry.current.resolve(entry.serving);
      launched.signal.addEventListener("abort", () => entry.serving && unserve(entry));
      return { end: await launched.ended, servedMs: Date.now() - since };
    } finally {
      stop.signal.removeEventListener("abort", terminate);
      rmSync(file(name, "pid"), { force: true });
    }
  }

  /** From here on requests wait for the next life. */
  function unserve(entry: Kept): void {
    delete entry.serving;
    entry.current = Promise.withResolvers();
  }

  async function serving(name: string, timeoutMs: number): Promise<Runtime | undefined> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const entry = kept.get(name);
      if (entry?.serving) return entry.serving;
      const pending = queues.get(name) ?? entry?.current.promise;
      const left = deadline - Date.now();
      if (!pending || left <= 0) return undefined;
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, left);
      await Promise.race([pending, late.promise]);
      clearTimeout(timer);
    }
  }

  function status({ name, restarts, serving }: Kept): RuntimeStatus {
    return serving
      ? { name, state: "serving", restarts, pid: serving.pid, port: serving.port }
      : { name, state: "starting", restarts };
  }

  function file(name: string, extension: "log" | "pid"): string {
    return join(dir, `${encodeURIComponent(name)}.${extension}`);
  }
}

async function endOrphans(dir: string, graceMs: number, log: (line: string) => void): Promise<void> {
  const files = readdirSync(dir).filter((name) => name.endsWith(".pid"));
  await Promise.all(
    files.map(async (name) => {
      const path = join(dir, name);
      const { pid, identity } = JSON.parse(readFileSync(path, "utf8")) as PidFile;
      if ((await processIdentity(pid)) === identity) {
        log(`ending ${name.slice(0, -4)} (pid ${pid}), left over from a local cloud that was killed`);
        await endGroup(pid, graceMs);
      }
      rmSync(path, { force: true });
    }),
  );
}
