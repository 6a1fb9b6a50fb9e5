import type { HeldManifest } from "../federation/held-manifest.ts";
import type { PeerList, PeerLists } from "../federation/peer-lists.ts";
import type { Relay } from "../federation/relay.ts";
import { upstreamLabel } from "../federation/upstream-label.ts";
import type { NodeConfig } from "../platform.ts";
import { nodePrincipal } from "../security/hop-token.ts";
import { decide, mayAsk } from "../security/policy.ts";
import type { Call } from "./call.ts";
import type { Catalogue } from "./catalogue.ts";
import {
  type CallMethodName,
  isListMethod,
  type Kind,
  type ListMethodName,
  listMethods,
  subjectOf,
} from "./methods.ts";
import { entryName, page } from "./page.ts";
import type { FindRoute } from "./route.ts";
import type { ServeOwn } from "./serve-own.ts";
import { code, type Fields, peersKey, RpcError } from "./rpc.ts";

/** Answers one MCP request with its result. Throws `RpcError`. Both the SDK's path and the fast one end here. */
export type Answer = (call: Call) => Promise<Fields>;

export interface AnswerOptions {
  readonly config: NodeConfig;
  readonly catalogue: Catalogue;
  readonly peerLists: PeerLists;
  readonly serveOwn: ServeOwn;
  readonly relay: Relay;
  readonly route: FindRoute;
}

/** The entries of a peer's list whose names lead to it under a manifest, and the others. */
interface Reach {
  readonly held: HeldManifest;
  readonly entries: readonly Fields[];
  readonly withheld: readonly { readonly name: string; readonly reason: string }[];
}

export function answerer({ config, catalogue, peerLists, serveOwn, relay, route }: AnswerOptions): Answer {
  const reaches = new WeakMap<readonly Fields[], Reach>();
  return async (call) => {
    try {
      if (isListMethod(call.method)) return await list(call as Call<ListMethodName>);
      return await serveOne(call as Call<CallMethodName>);
    } catch (cause) {
      if (cause instanceof RpcError) throw cause;
      // A fault of the node: the stack stays here, the caller gets the id to ask about.
      const { callId } = call;
      console.error(
        JSON.stringify({
          error: "a request failed",
          callId,
          cause: cause instanceof Error ? cause.stack : String(cause),
        }),
      );
      throw new RpcError(code.internal, "Internal error", { callId });
    }
  };

  async function list({ method, params, principal, held }: Call<ListMethodName>): Promise<Fields> {
    const { kind, items } = listMethods[method];
    const now = Date.now();
    const allowed = (entry: Fields) =>
      decide({
        manifest: held.manifest,
        node: config.node,
        party: principal,
        kind,
        name: entryName(method, entry),
        now,
      }).allow;
    const upstreams = (config.upstreams ?? []).map(({ name }) => upstreamLabel(name));
    // Another node merges for its own users: answering with more than our own parts would list things twice, or in circles.
    const peers = principal.hop ? [] : peersToAsk(kind, principal.organization, held, now);
    const self = nodePrincipal(config);
    const continued = params["cursor"] !== undefined;
    const [imported, federated] = await Promise.all([
      Promise.all(upstreams.map(async (upstream) => await peerLists.list(upstream, method, self, held, continued))),
      Promise.all(peers.map(async (peer) => await peerLists.list(peer, method, principal, held, continued))),
    ]);
    const own = { key: "0", entries: catalogue.lists[method].filter(allowed) };
    const parts = [
      ...imported.map((part) => reachable(part, method, held)).map((part, n) => ({ ...part, key: `1${upstreams[n]}` })),
      ...federated.map((part) => reachable(part, method, held)).map((part, n) => ({ ...part, key: `2${prefixOf(n)}` })),
    ];
    const listed = parts.map(({ key, entries }) => ({
      key,
      entries: key.startsWith("1") ? entries.filter(allowed) : entries,
    }));
    const { entries, nextCursor } = page(method, [own, ...listed], params["cursor"]);
    const ttls = parts.flatMap(({ ttlMs }) => (ttlMs === undefined ? [] : [ttlMs]));
    return {
      [items]: entries,
      ...(nextCursor !== undefined && { nextCursor }),
      ...(ttls.length > 0 && { ttlMs: Math.min(...ttls) }),
      ...(principal.hop ? {} : { _meta: { [peersKey]: parts.map(({ report }) => report) } }),
    };

    function prefixOf(n: number): string {
      return held.manifest.nodes[peers[n] as string]?.prefix ?? "";
    }
  }

  function peersToAsk(kind: Kind, organization: string, { manifest, peers }: HeldManifest, now: number) {
    const party = { organization, actors: [config.node] };
    return [...peers]
      .filter(([, peer]) => mayAsk(manifest, peer, party, kind, now))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, peer]) => peer);
  }

  /** Withholds entries whose name leads to somebody else: what is listed can be called. */
  function reachable(part: PeerList, method: ListMethodName, held: HeldManifest): PeerList {
    const { entries, withheld } = reach(part, method, held);
    if (withheld.length === 0) return part;
    const report = { ...part.report, withheld: [...(part.report.withheld ?? []), ...withheld] };
    return { ...part, entries, report };
  }

  function reach(part: PeerList, method: ListMethodName, held: HeldManifest): Reach {
    // A list in the cache is the same array each time, and who has a name changes only with the manifest.
    const known = reaches.get(part.entries);
    if (known?.held === held) return known;
    const source = part.report.node;
    const withheld: { name: string; reason: string }[] = [];
    const entries = part.entries.filter((entry) => {
      const name = entryName(method, entry);
      const way = route(held, listMethods[method].kind, name);
      const leadsHere =
        way.to === "upstream" ? upstreamLabel(way.upstream) === source : way.to === "peer" && way.peer === source;
      if (!leadsHere) withheld.push({ name: name.slice(0, 256), reason: "is the name of something else on this node" });
      return leadsHere;
    });
    const found = { held, entries, withheld };
    reaches.set(part.entries, found);
    return found;
  }

  async function serveOne(call: Call<CallMethodName>): Promise<Fields> {
    const { kind, name } = subjectOf(call.method, call.params);
    const way = route(call.held, kind, name);
    return way.to === "peer" ? await relay(call, name, way.peer, way.target) : await serveOwn(call, name);
  }
}
