import { once } from "node:events";
import { createServer } from "node:net";
import { request } from "./load.ts";
import { type BenchPlace, putManifest, scenarios, shotFor } from "./measure.ts";
import { freePort } from "./process.ts";
import type { System, SystemName } from "./systems.ts";

/** What `tools/list` does while one of four peers is bad. Times in milliseconds. */
export interface Trouble {
  readonly system: SystemName;
  readonly peer: "refuses connections" | "accepts and never answers";
  /** Tools in the answers: the other three peers' and the node's own. */
  readonly tools: number;
  readonly first: number;
  /** Median of the next twenty. */
  readonly later: number;
}

/** Gives one peer an address that refuses, then one that stays silent, and asks for the list. */
export async function badPeers(systems: readonly System[], place: BenchPlace): Promise<Trouble[]> {
  const silent = createServer((socket) => socket.on("error", () => socket.destroy())).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const kinds = [
    // Another peer each, since the node remembers for a while that one failed.
    ["refuses connections", "four", await freePort()],
    ["accepts and never answers", "three", (silent.address() as { port: number }).port],
  ] as const;
  const troubles: Trouble[] = [];
  const list = scenarios.find(({ of }) => of === "list");
  for (const system of systems) {
    if (system.name === "nginx" || !list) continue;
    const shot = shotFor(system, list, await place.network.tokens(system.url, 1));
    for (const [peer, name, port] of kinds) {
      const elsewhere = { [name]: `http://127.0.0.1:${port}` };
      await putManifest(system, await place.network.manifest(system.url, place.upstream, elsewhere));
      const times: number[] = [];
      let tools = 0;
      for (let n = 0; n < 21; n += 1) {
        const before = performance.now();
        const answer = (await (await fetch(shot.url, request(shot))).json()) as { result: { tools: unknown[] } };
        times.push(performance.now() - before);
        tools = answer.result.tools.length;
      }
      const [first = 0, ...rest] = times;
      troubles.push({ system: system.name, peer, tools, first, later: rest.toSorted((a, b) => a - b)[10] ?? 0 });
    }
  }
  silent.close();
  return troubles;
}
