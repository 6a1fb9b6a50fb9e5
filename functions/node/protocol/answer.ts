import { splitName, splitUri } from "../federation/names.ts";
import type { PeerLists } from "../federation/peer-lists.ts";
import type { Relay } from "../federation/relay.ts";
import type { NodeConfig } from "../platform.ts";
import { decide, mayAsk } from "../security/policy.ts";
import type { Call } from "./call.ts";
import type { Catalogue } from "./catalogue.ts";
import { calledName, type CallMethodName, isListMethod, type ListMethodName, listMethods } from "./methods.ts";
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
}

export function answerer({ config, catalogue, peerLists, serveOwn, relay }: AnswerOptions): Answer {
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
    // The whole list is one page, so no cursor can be ours.
    if (params["cursor"] !== undefined) throw new RpcError(code.invalidParams, `${method}: unknown cursor`);
    const { kind, items } = listMethods[method];
    const now = Date.now();
    const allowed = (entry: Fields) => {
      const name = String(entry["uri"] ?? entry["uriTemplate"] ?? entry["name"]);
      return decide({ manifest: held.manifest, node: config.node, party: principal, kind, name, now }).allow;
    };
    const own = catalogue.lists[method].filter(allowed);
    // Another node merges for its own users: answering with more than our own would list things twice, or in circles.
    if (principal.hop) return { [items]: own };
    const party = { organization: principal.organization, actors: [config.node] };
    const asked = [...held.peers]
      .filter(([, peer]) => mayAsk(held.manifest, peer, party, kind, now))
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
    const parts = await Promise.all(asked.map(async ([, peer]) => await peerLists.list(peer, method, principal, held)));
    return {
      [items]: [...own, ...parts.flatMap(({ entries }) => entries)],
      _meta: { [peersKey]: parts.map(({ report }) => report) },
    };
  }

  async function serveOne(call: Call<CallMethodName>): Promise<Fields> {
    const name = calledName(call.method, call.params);
    const own = call.method === "resources/read" && catalogue.resource(name) !== undefined;
    const target = own ? undefined : call.method === "resources/read" ? splitUri(name) : splitName(name);
    const peer = target && call.held.peers.get(target.prefix);
    return target && peer !== undefined ? await relay(call, name, peer, target) : await serveOwn(call, name);
  }
}
