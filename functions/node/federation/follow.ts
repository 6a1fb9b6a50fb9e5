import type { NodeConfig } from "../platform.ts";
import { changedKind, type Filter, filterFields } from "../protocol/change-filter.ts";
import { type Kind, listenMethod } from "../protocol/methods.ts";
import type { FindRoute } from "../protocol/route.ts";
import { code, RpcError } from "../protocol/rpc.ts";
import type { Admission } from "../protocol/sdk.ts";
import { nodePrincipal } from "../security/hop-token.ts";
import { mayAsk } from "../security/policy.ts";
import { prefixUri } from "./names.ts";
import type { AskPeer } from "./peer-client.ts";
import { sleep } from "./sleep.ts";
import { upstreamLabel } from "./upstream-label.ts";

export interface FollowOptions {
  readonly config: NodeConfig;
  readonly ask: AskPeer;
  readonly route: FindRoute;
  /** Told that a peer or upstream lists other things now. */
  readonly forget: (source: string) => void;
}

/** A peer or upstream, and what it is asked to tell. */
export interface Source {
  readonly maker: string;
  readonly prefix: string;
  readonly filter: Filter;
}

/** Milliseconds. */
const longest = 600_000;
const firstPause = 1_000;
const longestPause = 30_000;

/** Who is to be asked for what. A peer that listens for its own caller hears of this node's own parts only, as in lists. */
export function sourcesOf(
  { config, route }: Pick<FollowOptions, "config" | "route">,
  { principal, held }: Admission,
  { kinds, uris }: Filter,
): readonly Source[] {
  const found = new Map<string, { prefix: string; kinds: readonly Kind[]; uris: string[] }>();
  const add = (maker: string, prefix: string, theirs: readonly Kind[]) => {
    const entry = found.get(maker) ?? { prefix, kinds: theirs, uris: [] };
    found.set(maker, entry);
    return entry;
  };
  if (kinds.length > 0) for (const { name, prefix } of config.upstreams ?? []) add(upstreamLabel(name), prefix, kinds);
  const party = { organization: principal.organization, actors: [config.node] };
  for (const [prefix, peer] of principal.hop ? [] : held.peers) {
    const theirs = kinds.filter((kind) => mayAsk(held.manifest, peer, party, kind, Date.now()));
    if (theirs.length > 0) add(peer, prefix, theirs);
  }
  for (const uri of uris) {
    const way = route(held, "resources", uri);
    if (way.to === "own") continue;
    const maker = way.to === "peer" ? way.peer : upstreamLabel(way.upstream);
    add(maker, way.target.prefix, []).uris.push(way.target.name);
  }
  return [...found].map(([maker, { prefix, ...filter }]) => ({ maker, prefix, filter }));
}

/** Listens to one source until the caller leaves. After a break its lists count as changed, since nobody knows what was missed. */
export async function follow(
  { config, ask, forget }: Pick<FollowOptions, "config" | "ask" | "forget">,
  { principal, held }: Admission,
  { maker, prefix, filter }: Source,
  signal: AbortSignal,
  changed: (kind: Kind) => void,
  updated: (uri: string) => void,
): Promise<void> {
  let pause = firstPause;
  let broken = false;
  while (!signal.aborted) {
    try {
      await ask({
        peer: maker,
        method: listenMethod,
        params: { notifications: filterFields(filter) },
        held,
        principal: maker.startsWith(upstreamLabel("")) ? nodePrincipal(config) : principal,
        callId: crypto.randomUUID(),
        deadline: longest,
        signal,
        async onNotification(method, params) {
          const kind = changedKind(method);
          if (method === "notifications/subscriptions/acknowledged") {
            pause = firstPause;
            if (broken) for (const missed of filter.kinds) heard(missed);
            broken = false;
          } else if (kind) heard(kind);
          else if (method === "notifications/resources/updated") {
            const given = prefixUri(prefix, String(params["uri"]));
            if ("name" in given) updated(given.name);
          }
        },
      });
    } catch (cause) {
      // A server of an older era, which knows no such streams: its lists are asked for when they are needed.
      if (cause instanceof RpcError && cause.code === code.methodNotFound) return;
      // The reason is the source's; the caller sees it in lists. A fault of this node is for its log.
      if (!(cause instanceof RpcError))
        console.error(JSON.stringify({ error: "a source of changes failed", maker, cause: String(cause) }));
      broken = true;
      pause = Math.min(longestPause, pause * 2);
    }
    await sleep(pause, signal);
  }

  function heard(kind: Kind): void {
    forget(maker);
    changed(kind);
  }
}
