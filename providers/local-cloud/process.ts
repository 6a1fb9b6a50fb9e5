import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

/**
 * Says which process a pid is: two processes that have the same pid one after the other differ in it, also across a reboot.
 * Undefined when no such process lives. A process keeps it when it replaces its program (`exec`).
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  if (process.platform !== "linux") return identityByPs(pid);
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT", "ESRCH")) return undefined;
    throw error;
  }
  // proc(5): the command in field 2 may hold spaces and brackets, so count from its last bracket. Field 3 is the state, 22 the start.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z") return undefined;
  return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${fields[19]}`;
}

async function identityByPs(pid: number): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)]);
    return stdout.trim() || undefined;
  } catch (error) {
    // ps ends with 1 when it lists nothing.
    if ((error as { code?: unknown }).code === 1) return undefined;
    throw error;
  }
}

/** Sends a signal to a process group, or to one process; answers false when there is none. */
export function signal(target: { readonly group: number } | { readonly pid: number }, name: NodeJS.Signals): boolean {
  try {
    process.kill("group" in target ? -target.group : target.pid, name);
    return true;
  } catch (error) {
    // EPERM: macOS says so of a group whose only member is not reaped yet.
    if (isCode(error, "ESRCH", "EPERM")) return false;
    throw error;
  }
}

/** Ends a process group that this process did not start itself: SIGTERM, then SIGKILL after `graceMs`. Answers once its leader is gone. */
export async function endGroup(leader: number, graceMs: number): Promise<void> {
  const identity = await processIdentity(leader);
  if (identity === undefined) return;
  const gone = async () => (await processIdentity(leader)) !== identity;
  signal({ group: leader }, "SIGTERM");
  for (const end = Date.now() + graceMs; Date.now() < end; await sleep(20)) if (await gone()) return;
  signal({ group: leader }, "SIGKILL");
  while (!(await gone())) await sleep(20);
}

/** Whether an error of the operating system has one of these codes. */
export function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? "");
}
