import type { Grant } from "../federation/manifest.ts";
import type { State } from "../state/state.ts";

/** Enough for every loser of a race to try again; more means that the state is overrun. */
const maxAttempts = 32;

/**
 * Counts one call under each grant that has a rate, in windows of a minute that all isolates of the node share.
 * Answers the grant whose rate is used up, or undefined when the call may go on.
 */
export async function countCall(state: State, grants: readonly Grant[], now: number): Promise<Grant | undefined> {
  for (const grant of grants) {
    if (grant.rate !== undefined && !(await count(state, grant.id, grant.rate, now))) return grant;
  }
  return undefined;
}

/** Seconds until the next window opens. */
export function secondsToNextWindow(now: number): number {
  return 60 - Math.floor((now / 1000) % 60);
}

async function count(state: State, grant: string, rate: number, now: number): Promise<boolean> {
  const key = `rate/${keyPart(grant)}/${Math.floor(now / 60_000)}`;
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const entry = await state.get(key);
    const used = entry === undefined ? 0 : Number(entry.value);
    if (used >= rate) return false;
    if ((await state.cas(key, entry?.version ?? 0, used + 1, { ttlSeconds: 120 })) !== undefined) return true;
  }
  return false;
}

/** Grant ids are free text to us, state keys are not. */
function keyPart(id: string): string {
  return id.replace(/[^A-Za-z0-9.:@-]/g, (char) => `_${char.codePointAt(0)?.toString(16)}_`);
}
