import type { HeldManifest } from "../federation/held-manifest.ts";
import type { NodeId } from "../federation/manifest.ts";
import { type PeerName, splitName, splitUri } from "../federation/names.ts";
import type { UpstreamConfig } from "../platform.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Kind } from "./methods.ts";

/** Who answers for a name: this node with a function of its own, an upstream of it, or a peer. */
export type Route =
  | { readonly to: "own" }
  | { readonly to: "upstream"; readonly upstream: string; readonly target: PeerName }
  | { readonly to: "peer"; readonly peer: NodeId; readonly target: PeerName };

export type FindRoute = (held: HeldManifest, kind: Kind, name: string) => Route;

/**
 * A name has one owner: own names win, then prefixes, then whoever is transparent, that is has the empty prefix.
 * An upstream is part of its node, so it wins over a peer.
 */
export function routeFinder(catalogue: Catalogue, upstreams: readonly UpstreamConfig[]): FindRoute {
  const byPrefix = new Map(upstreams.map(({ prefix, name }) => [prefix, name]));
  const isOwn: Readonly<Record<Kind, (name: string) => boolean>> = {
    tools: (name) => catalogue.tool(name) !== undefined,
    prompts: (name) => catalogue.prompt(name) !== undefined,
    resources: (name) => catalogue.listedResource(name) !== undefined || catalogue.resource(name) !== undefined,
  };
  return ({ peers }, kind, name) => {
    if (isOwn[kind](name)) return { to: "own" };
    const split = kind === "resources" ? splitUri(name) : splitName(name);
    for (const target of [split, { prefix: "", name }]) {
      if (!target) continue;
      const upstream = byPrefix.get(target.prefix);
      if (upstream !== undefined) return { to: "upstream", upstream, target };
      const peer = peers.get(target.prefix);
      if (peer !== undefined) return { to: "peer", peer, target };
    }
    return { to: "own" };
  };
}
