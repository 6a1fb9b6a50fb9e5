import type { DeployedNode, Network } from "./network.ts";

/** What a node says of itself, seen from here. */
export interface Health {
  /** `ok` serves the newest manifest, `waiting` serves but has not got it yet, `unreachable` does not serve. */
  readonly state: "ok" | "waiting" | "unreachable";
  /** Serial of the manifest it holds; absent when it does not say. */
  readonly serial?: number;
  /** Why it is not ok. */
  readonly reason?: string;
}

const timeoutMs = 10_000;

/** Asks a node how it is. */
export async function healthOf({ url }: DeployedNode, { manifest }: Network): Promise<Health> {
  let response: Response;
  try {
    response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
    return { state: "unreachable", reason: cause?.code ?? (error as Error).message };
  }
  const serial = serialIn(await response.text());
  if (serial === undefined) return { state: "unreachable", reason: `HTTP ${response.status} without a serial` };
  if (serial < manifest.serial)
    return { state: "waiting", serial, reason: `holds manifest ${serial} of ${manifest.serial}` };
  return response.ok ? { state: "ok", serial } : { state: "waiting", serial, reason: `HTTP ${response.status}` };
}

function serialIn(text: string): number | undefined {
  try {
    const { serial } = JSON.parse(text) as { serial?: unknown };
    return typeof serial === "number" ? serial : undefined;
  } catch {
    // Whatever answers there is not a node.
    return undefined;
  }
}

/** The health of every node, by id. */
export async function healthOfAll(network: Network): Promise<Record<string, Health>> {
  const entries = Object.entries(network.nodes).map(async ([id, node]) => [id, await healthOf(node, network)] as const);
  return Object.fromEntries(await Promise.all(entries));
}
