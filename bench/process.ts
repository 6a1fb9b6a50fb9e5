import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";

/** The core of the system under test, and that of the load generator and the upstream. */
export const gatewayCore = 0;
export const loadCore = 1;

/** Clock ticks a second in /proc: 100 on every Linux that Node.js runs on. */
const ticks = 100;

export interface Started {
  readonly pid: number;
  /** CPU time since its start, in seconds, of the process and its children. */
  cpu(): number;
  /** Resident memory in MB, of the process and its children. */
  memory(): number;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly core: number;
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** File that gets what the process prints. */
  readonly log: string;
}

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts a process on one core. */
export function start(command: string, args: readonly string[], options: StartOptions): Started {
  const log = openSync(options.log, "a");
  const child = spawn("taskset", ["-c", String(options.core), command, ...args], {
    cwd: options.cwd,
    env: { PATH: process.env["PATH"] ?? "", ...options.env },
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  running.add(child);
  const ended = once(child, "exit").finally(() => running.delete(child));
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${command} did not start`);
  return {
    pid,
    cpu: () => sum(tree(pid), cpuOf),
    memory: () => sum(tree(pid), memoryOf),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 3_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Asks until `ready` says so; answers the milliseconds that took. Throws after `limitMs`. */
export async function until(what: string, ready: () => Promise<boolean>, limitMs = 15_000): Promise<number> {
  const before = performance.now();
  for (;;) {
    if (await ready().catch(() => false)) return performance.now() - before;
    if (performance.now() - before > limitMs) throw new Error(`${what} was not ready within ${limitMs / 1000} s`);
    await new Promise((done) => setTimeout(done, 2));
  }
}

function tree(pid: number): readonly number[] {
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => stat(other)?.parent === pid);
  return [pid, ...children.flatMap(tree)];
}

/** Fields of /proc/PID/stat (proc(5)); undefined when the process is gone. */
function stat(pid: number): { readonly parent: number; readonly ticks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}

function cpuOf(pid: number): number {
  return (stat(pid)?.ticks ?? 0) / ticks;
}

function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}

function sum(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((total, pid) => total + of(pid), 0);
}
