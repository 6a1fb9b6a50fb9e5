import { spawn } from "node:child_process";
import { renameSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer, type AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { RuntimeSpec } from "./emulator.ts";
import type { LogFile } from "./log-file.ts";
import { processIdentity, signal } from "./process.ts";

/** A runtime's process, from its start to its end. */
export interface Launched {
  readonly pid: number;
  /** Why it ended, as the end of a sentence: `ended by SIGKILL`. */
  readonly ended: Promise<string>;
  /** Aborted once it ended. */
  readonly signal: AbortSignal;
  /** Sends SIGTERM now, and SIGKILL after `graceMs` if it is still there. */
  end(graceMs: number): void;
}

/** What a pid file holds: enough to tell later whether the pid still is that process. */
export interface PidFile {
  readonly pid: number;
  readonly identity: string;
}

/** Starts a runtime as the leader of a process group of its own, its output in `log`, its pid in `pidFile`. Throws when there is no such command. */
export async function launch(spec: RuntimeSpec, port: number, log: LogFile, pidFile: string): Promise<Launched> {
  const child = spawn(spec.command, spec.args(port), {
    cwd: spec.cwd,
    env: { PATH: process.env.PATH, ...spec.env(port) },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.on("data", (bytes: Buffer) => log.write(bytes));
  child.stderr.on("data", (bytes: Buffer) => log.write(bytes));
  const over = new AbortController();
  const ended = new Promise<string>((resolve) => {
    child.once("exit", (code, by) => {
      // Commands that are wrappers leave children behind when they are killed.
      signal({ group: child.pid! }, "SIGKILL");
      over.abort();
      // Its last words are read by then, unless a process outside the group holds the pipe.
      const answer = () => resolve(by ? `ended by ${by}` : `ended with exit code ${code}`);
      child.once("close", answer);
      setTimeout(answer, 200).unref();
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => reject(new Error(`cannot be started: ${error.message}`, { cause: error })));
  });
  const pid = child.pid!;
  const identity = await processIdentity(pid);
  if (identity !== undefined) {
    writeFileSync(`${pidFile}.new`, JSON.stringify({ pid, identity } satisfies PidFile), { mode: 0o600 });
    renameSync(`${pidFile}.new`, pidFile);
  }
  return { pid, ended, signal: over.signal, end };

  function end(graceMs: number) {
    if (over.signal.aborted) return;
    signal({ group: pid }, "SIGTERM");
    const timer = setTimeout(() => signal({ group: pid }, "SIGKILL"), graceMs);
    over.signal.addEventListener("abort", () => clearTimeout(timer));
  }
}

/** A loopback port that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Asks a runtime until it serves; false when it does not within `timeoutMs` or once `signal` is aborted. */
export async function waitUntilReady(
  port: number,
  path: string | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (!signal.aborted && Date.now() < deadline) {
    if (await (path === undefined ? connects(port) : answers(port, path))) return true;
    await sleep(20);
  }
  return false;
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });
}

function answers(port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = request({ host: "127.0.0.1", port, path, agent: false, timeout: 5_000 }, (response) => {
      response.resume();
      resolve((response.statusCode ?? 500) < 500);
    });
    probe.once("timeout", () => probe.destroy());
    probe.once("error", () => resolve(false));
    probe.once("close", () => resolve(false));
    probe.end();
  });
}
