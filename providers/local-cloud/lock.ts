import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isCode, processIdentity } from "./process.ts";

interface Holder {
  readonly pid: number;
  readonly identity: string;
}

/** Another local cloud works on the same folder. */
export class LockedError extends Error {
  override readonly name = "LockedError";
}

/**
 * Takes the folder for this process; answers what gives it back. A lock whose process is gone (killed, rebooted) does not count.
 * Throws a {@link LockedError} that names the holder.
 */
export async function lockDir(dir: string): Promise<() => void> {
  const path = join(dir, "lock");
  const own = `${path}.${process.pid}`;
  const identity = (await processIdentity(process.pid))!;
  writeFileSync(own, JSON.stringify({ pid: process.pid, identity } satisfies Holder), { mode: 0o600 });
  try {
    for (;;) {
      try {
        // A link appears whole or not at all, unlike a file that is created and then written.
        linkSync(own, path);
        return () => rmSync(path, { force: true });
      } catch (error) {
        if (!isCode(error, "EEXIST")) throw error;
      }
      const text = read(path);
      if (text === undefined) continue;
      const holder = JSON.parse(text) as Holder;
      if ((await processIdentity(holder.pid)) === holder.identity) {
        throw new LockedError(
          `a local cloud works on ${dir} already (pid ${holder.pid}): stop it with \`npx federation cloud stop\``,
        );
      }
      discard(path, text, `${own}.stale`);
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** Removes the lock if it still is the stale one: between the look and the removal another process may have taken it anew. */
function discard(path: string, stale: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if (isCode(error, "ENOENT")) return;
    throw error;
  }
  if (read(aside) === stale) rmSync(aside);
  else renameSync(aside, path);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined;
    throw error;
  }
}
