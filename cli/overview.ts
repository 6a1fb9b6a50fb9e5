import type { Network } from "./network.ts";
import type { Health } from "./node-health.ts";
import { table } from "./table.ts";

/** The nodes of a network, for people. */
export function nodeTable({ nodes }: Network, health: Readonly<Record<string, Health>>): string {
  const rows = Object.entries(nodes).map(([id, { organization, provider, runtime, url, functions }]) => {
    const { state, reason } = health[id]!;
    const name = id.slice(id.indexOf("/") + 1);
    return [organization, name, provider, runtime, url, functions.join(", "), reason ? `${state} (${reason})` : state];
  });
  return table([["ORGANIZATION", "NODE", "PROVIDER", "RUNTIME", "URL", "FUNCTIONS", "STATE"], ...rows]);
}

/** The same for scripts. */
export function nodeList({ nodes }: Network, health: Readonly<Record<string, Health>>): object[] {
  return Object.entries(nodes).map(([node, rest]) => ({ node, ...rest, ...health[node] }));
}
