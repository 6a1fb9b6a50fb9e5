import type { RequestListener } from "node:http";
import { type Answer, type Era, HttpNetwork, type PeerPart, readRpc } from "../matrix/http-network.ts";

export const toolsPerPeer = 20;

/** A network of played peers, of which every twentieth is dead and every twentieth slow. */
export interface LargeNetwork {
  readonly network: HttpNetwork;
  readonly healthy: readonly string[];
  readonly slow: readonly string[];
  readonly dead: readonly string[];
}

export async function largeNetwork(peers: number, listBudget: number): Promise<LargeNetwork> {
  const ids = Array.from({ length: peers }, (_, n) => `org${n % 10}/node${n}`);
  const dead = ids.filter((_, n) => n % 20 === 7);
  const slow = ids.filter((_, n) => n % 20 === 13);
  const healthy = ids.filter((id) => !dead.includes(id) && !slow.includes(id));
  const part = (id: string): PeerPart =>
    dead.includes(id) ? undefined : played(slow.includes(id) ? listBudget * 3 : 0);
  const network = await HttpNetwork.start([], Object.fromEntries(ids.map((id) => [id, part(id)])), { listBudget });
  return { network, healthy, slow, dead };
}

/** The names that a complete list has, in its order. */
export function expectedNames(peers: readonly string[]): readonly string[] {
  const prefixes = peers.map((id) => id.replace("/", "-")).toSorted();
  return prefixes.flatMap((prefix) => toolNames.map((name) => `${prefix}.${name}`));
}

/** All pages of `tools/list`: names, reports by status, milliseconds, characters. */
export async function listAll(network: HttpNetwork, era: Era) {
  const names: string[] = [];
  let reports: readonly { readonly node: string; readonly status: string }[] = [];
  let [ms, size, pages] = [0, 0, 0];
  let cursor: string | undefined;
  do {
    const answer: Answer = await network.ask(era, "tools/list", cursor === undefined ? {} : { cursor });
    const { result } = answer.message;
    if (!result) throw new Error(answer.text);
    names.push(...(result["tools"] as { name: string }[]).map(({ name }) => name));
    if (pages === 0) reports = result["_meta"]["io.github.ai-federation/peers"];
    cursor = result["nextCursor"] as string | undefined;
    ms += answer.ms;
    size += answer.text.length;
    pages += 1;
  } while (cursor !== undefined);
  const status = (of: string) => reports.filter(({ status }) => status === of).map(({ node }) => node);
  return {
    names,
    ms,
    size,
    pages,
    ok: status("ok"),
    cached: status("cached"),
    stale: status("stale"),
    failed: status("failed"),
  };
}

const toolNames = Array.from({ length: toolsPerPeer }, (_, n) => `tool_${String(n).padStart(2, "0")}`);
const tools = toolNames.map((name) => ({
  name,
  description: "Looks up one record by its number and answers it with everything that is known about it.",
  inputSchema: { type: "object", properties: { id: { type: "integer", minimum: 1 } }, required: ["id"] },
}));

function played(pause: number): RequestListener {
  return (incoming, outgoing) => {
    if (incoming.url !== "/mcp") return void outgoing.writeHead(404).end();
    const answer = async () => {
      const { id, method } = await readRpc(incoming);
      if (pause > 0) await new Promise((done) => setTimeout(done, pause));
      const result = method === "tools/list" ? { tools } : { content: [] };
      outgoing.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, result }));
    };
    answer().catch(() => outgoing.destroy());
  };
}
