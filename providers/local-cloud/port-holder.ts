import { execFile } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { promisify } from "node:util";
import type { LocalCloudStatus } from "./front.ts";

/** Who listens on a loopback port, for an error message: `the local cloud of /srv/app (pid 12)`, `python3 -m http.server (pid 7)`. */
export async function portHolder(port: number): Promise<string> {
  const cloud = await localCloudAt(port);
  if (cloud) return `the local cloud of ${cloud.dir} (pid ${cloud.pid})`;
  const pid = process.platform === "linux" ? pidByProc(port) : await pidByLsof(port);
  if (pid === undefined) return "another process, which this user may not see";
  return `${commandOf(pid)} (pid ${pid})`;
}

async function localCloudAt(port: number): Promise<LocalCloudStatus | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(1_000) });
    const status = (await response.json()) as LocalCloudStatus;
    return status.name === "ai-federation local cloud" ? status : undefined;
  } catch {
    // Whatever else is there need not speak HTTP or JSON.
    return undefined;
  }
}

/** proc(5): the listening socket's inode in `net/tcp`, then the process that has it open. */
function pidByProc(port: number): number | undefined {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  const sockets = ["/proc/net/tcp", "/proc/net/tcp6"]
    .flatMap((path) => unlessGone(() => readFileSync(path, "utf8").split("\n").slice(1)) ?? [])
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(`:${hexPort}`) && fields[3] === "0A")
    .map((fields) => `socket:[${fields[9]}]`);
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const pid = pids.find((pid) => {
    const files = unlessGone(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
    return files.some((file) => sockets.includes(unlessGone(() => readlinkSync(`/proc/${pid}/fd/${file}`)) ?? ""));
  });
  return pid === undefined ? undefined : Number(pid);
}

async function pidByLsof(port: number): Promise<number | undefined> {
  try {
    const { stdout } = await promisify(execFile)("lsof", ["-nP", "-t", `-iTCP:${port}`, "-sTCP:LISTEN"]);
    return Number.parseInt(stdout, 10) || undefined;
  } catch {
    // lsof is not everywhere, and ends with 1 when it lists nothing.
    return undefined;
  }
}

function commandOf(pid: number): string {
  const text = unlessGone(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "";
  return text.replaceAll("\0", " ").trim().slice(0, 100) || "a process";
}

/** What is read of other processes may vanish, or belong to another user. */
function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
