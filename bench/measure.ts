import { load, type LoadResult, request, type Shot } from "./load.ts";
import type { Options } from "./main.ts";
import type { BenchNetwork } from "./network.ts";
import type { System, SystemName } from "./systems.ts";

/** What is asked, and from how many connections at a time. */
export interface Scenario {
  readonly name: string;
  readonly connections: number;
  readonly of: "call" | "list" | "uncached list";
}

export const scenarios: readonly Scenario[] = [
  { name: "call-1", connections: 1, of: "call" },
  { name: "call-16", connections: 16, of: "call" },
  { name: "call-64", connections: 64, of: "call" },
  { name: "list-16", connections: 16, of: "list" },
  { name: "uncached-list-16", connections: 16, of: "uncached list" },
];

export interface Sample extends LoadResult {
  readonly system: SystemName;
  readonly scenario: string;
  readonly round: number;
  readonly startMs: number;
  /** Microseconds of the gateway's CPU for each request. */
  readonly cpuPerRequest: number;
  /** MB, before the first load and after this one. */
  readonly idleMemory: number;
  readonly memory: number;
}

export interface BenchPlace {
  readonly folder: string;
  readonly upstream: string;
  readonly network: BenchNetwork;
}

/** Measures every scenario on every system in turn, as often as there are rounds. One system is under load at a time. */
export async function measure(systems: readonly System[], options: Options, place: BenchPlace): Promise<Sample[]> {
  const prepared = await Promise.all(
    systems.map(async (system) => {
      if (system.name !== "nginx") await putManifest(system, await place.network.manifest(system.url, place.upstream));
      return { system, tokens: await place.network.tokens(system.url), idleMemory: system.process.memory() };
    }),
  );
  const samples: Sample[] = [];
  const chosen = scenarios.filter(({ name }) => options.scenarios.includes(name));
  for (const { system, tokens } of prepared)
    for (const scenario of chosen) {
      await check(shotFor(system, scenario, tokens));
      await load(shotFor(system, scenario, tokens), scenario.connections, 1, place.folder);
    }
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const scenario of chosen) {
      for (const { system, tokens, idleMemory } of prepared) {
        const shot = shotFor(system, scenario, tokens);
        const [before, cpu] = [await answered(place), system.process.cpu()];
        const result = await load(shot, scenario.connections, options.seconds, place.folder);
        const cpuPerRequest = ((system.process.cpu() - cpu) * 1e6) / result.requests;
        if (scenario.of === "call" && (await answered(place)) - before < result.requests)
          throw new Error(`${system.name} answered more calls than the upstream did`);
        if (result.errors > 0) throw new Error(`${system.name}, ${scenario.name}: ${result.errors} requests failed`);
        const { startMs, name } = system;
        const memory = system.process.memory();
        samples.push({
          system: name,
          scenario: scenario.name,
          round,
          startMs,
          cpuPerRequest,
          idleMemory,
          memory,
          ...result,
        });
        const [rate, p50] = [result.requestsPerSecond.toFixed(0), result.p50.toFixed(2)];
        console.log(
          `round ${round} ${scenario.name} ${name}: ${rate}/s, p50 ${p50} ms, ${cpuPerRequest.toFixed(0)} us CPU`,
        );
      }
    }
  }
  return samples;
}

/** Puts a manifest to a system's node. */
export async function putManifest({ name, url }: System, jws: string): Promise<void> {
  const response = await fetch(`${url}/.well-known/federation`, { method: "PUT", body: jws });
  if (!response.ok) throw new Error(`${name} refused the manifest: ${await response.text()}`);
}

/** nginx has the upstream itself behind it: for a list, a server with the four hundred tools in one. */
export function shotFor({ name, url }: System, { of }: Scenario, tokens: readonly string[]): Shot {
  const authorizations = (of === "uncached list" ? tokens : tokens.slice(0, 1)).map((token) => `Bearer ${token}`);
  if (of !== "call")
    return { url: `${url}${name === "nginx" ? "/all" : ""}/mcp`, method: "tools/list", authorizations };
  return name === "nginx"
    ? { url: `${url}/one/mcp`, method: "tools/call", name: "echo", authorizations }
    : { url: `${url}/mcp`, method: "tools/call", name: "globex-one.echo", authorizations };
}

/** The answer is the right one, or there is nothing to measure. */
async function check(shot: Shot): Promise<void> {
  const response = await fetch(shot.url, request(shot));
  const text = await response.text();
  const { result } = JSON.parse(text) as { result?: { content?: { text: string }[]; tools?: unknown[] } };
  const good =
    shot.method === "tools/call" ? result?.content?.[0]?.text === "hello" : (result?.tools?.length ?? 0) >= 400;
  if (!good) throw new Error(`${shot.method} to ${shot.url} answered HTTP ${response.status}: ${text.slice(0, 300)}`);
}

async function answered({ upstream }: BenchPlace): Promise<number> {
  return Number(await (await fetch(`${upstream}/answered`)).text());
}
