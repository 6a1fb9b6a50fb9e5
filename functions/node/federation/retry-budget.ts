import type { NodeConfig } from "../platform.ts";
import { completionMethod, isListMethod } from "../protocol/methods.ts";
import { type Fields, isFields } from "../protocol/rpc.ts";
import { decide } from "../security/policy.ts";
import { BoundedMap } from "../state/bounded-map.ts";
import type { Circuits } from "./circuit.ts";
import type { NodeId } from "./manifest.ts";
import { type AskPeer, PeerFailure, type PeerRequest } from "./peer-client.ts";

const reads = new Set<string>(["resources/read", "prompts/get", completionMethod]);
/** Each request earns this much of a retry. */
const share = 0.1;
const mostTokens = 5;
const maxPeers = 1_024;
const maxTools = 500;
const maxNameLength = 128;

/** Retries that a peer's requests have earned, so that a failing peer gets a tenth more load and not twice as much. */
export class RetryBudget {
  readonly #tokens = new BoundedMap<NodeId, number>(maxPeers);

  /** Counts a first try. */
  earn(peer: NodeId): void {
    this.#tokens.set(peer, Math.min(mostTokens, this.#left(peer) + share));
  }

  /** True when the retry may be made; it is then counted. */
  spend(peer: NodeId): boolean {
    const left = this.#left(peer);
    if (left < 1) return false;
    this.#tokens.set(peer, left - 1);
    return true;
  }

  #left(peer: NodeId): number {
    return this.#tokens.get(peer) ?? mostTokens;
  }
}

export interface RetryOptions {
  readonly config: NodeConfig;
  readonly circuits: Circuits;
  readonly now?: () => number;
}

/**
 * Tries a request once more that may be repeated, when the peer could not be reached or answered HTTP 502, 503 or 504.
 * `ask` mints a token per try, so each carries its own. A tool is repeated only if it says that it may be.
 */
export function retryPeers(ask: AskPeer, { config, circuits, now = () => Date.now() }: RetryOptions): AskPeer {
  const budget = new RetryBudget();
  const tools = new BoundedMap<NodeId, ReadonlySet<string>>(maxPeers);
  return async (request) => {
    const { peer, method, deadline, signal } = request;
    const started = now();
    let progressed = false;
    const { onProgress } = request;
    const first: PeerRequest = onProgress
      ? {
          ...request,
          async onProgress(params) {
            progressed = true;
            await onProgress(params);
          },
        }
      : request;
    budget.earn(peer);
    try {
      return noted(await ask(first));
    } catch (cause) {
      if (!(cause instanceof PeerFailure && cause.transient) || progressed || signal?.aborted) throw cause;
      const left = deadline - (now() - started);
      if (left <= circuits.latency(peer) || circuits.allowance(peer, now()).requests <= 1) throw cause;
      if (!repeatable(request) || !budget.spend(peer)) throw cause;
      return noted(await ask({ ...request, deadline: left }));
    }

    function noted(result: Fields): Fields {
      if (method === "tools/list") tools.set(peer, repeatableTools(tools.get(peer), result["tools"]));
      return result;
    }
  };

  /** Reading may be repeated. A tool's word that it may counts only where the policy lets it be called: by us, or by a grant to us. */
  function repeatable({ peer, method, params, held, principal }: PeerRequest): boolean {
    if (isListMethod(method) || reads.has(method)) return true;
    const name = params["name"];
    if (method !== "tools/call" || typeof name !== "string" || !tools.get(peer)?.has(name)) return false;
    const party = { organization: principal.organization, actors: [...principal.actors, config.node] };
    return decide({ manifest: held.manifest, node: peer, party, kind: "tools", name, now: now() }).allow;
  }
}

/** The tools that the peer's last lists marked as read-only or idempotent. */
function repeatableTools(known: ReadonlySet<string> | undefined, listed: unknown): ReadonlySet<string> {
  const names = new Set(known);
  for (const tool of Array.isArray(listed) ? listed : []) {
    if (!isFields(tool) || typeof tool["name"] !== "string" || tool["name"].length > maxNameLength) continue;
    const hints = isFields(tool["annotations"]) ? tool["annotations"] : {};
    names.delete(tool["name"]);
    if ((hints["readOnlyHint"] === true || hints["idempotentHint"] === true) && names.size < maxTools)
      names.add(tool["name"]);
  }
  return names;
}
