import { waitUntil } from "cloudflare:workers";
import type { DurableObjectNamespace } from "cloudflare:workers";
import { readConfig, servePost } from "../../functions/node/platform.ts";
import type { Node, NodeConfig, StartNode } from "../../functions/node/platform.ts";
import { durableState } from "./state.ts";
import type { Store } from "./state.ts";
import { upgrade } from "./websocket.ts";

export { NodeState } from "./state.ts";

/** The bindings that `adapter.ts` gives the Worker. */
export interface Env {
  readonly FEDERATION_CONFIG: string;
  readonly FEDERATION_KEY: string;
  readonly FEDERATION_UPSTREAMS?: string;
  readonly STATE: DurableObjectNamespace<Store>;
}

/** What a Worker's module exports by default. */
export interface ExportedHandler {
  fetch(request: Request, env: Env): Promise<Response>;
}

/** Runs a node as a Worker: one node for each isolate, started by the first request. */
export function bridge(startNode: StartNode): ExportedHandler {
  let running: { readonly node: Node; readonly base: string } | undefined;
  return {
    async fetch(request, env) {
      running ??= start(env);
      const { node, base } = running;
      return (await servePost(node, pathBelow(base, request), request)) ?? (await node.fetch(below(base, request)));
    },
  };

  function start(env: Env): { node: Node; base: string } {
    const told = readConfig((name) => env[name as "FEDERATION_CONFIG" | "FEDERATION_KEY" | "FEDERATION_UPSTREAMS"]);
    const node = startNode({
      ...told,
      state: durableState(env.STATE),
      fetch: (request) => fetch(request),
      waitUntil,
      upgrade,
    });
    return { node, base: basePath(told.config) };
  }
}

/** Path of the node's public URL: what a custom domain may leave in front of the node's own paths. */
function basePath(config: NodeConfig): string {
  return new URL(config.url).pathname.replace(/\/$/, "");
}

function pathBelow(base: string, { url }: Request): string {
  const { pathname } = new URL(url);
  return pathname.startsWith(`${base}/`) ? pathname.slice(base.length) : pathname;
}

/** The request with its path relative to the node; headers, body and upgrade pass through untouched. */
function below(base: string, request: Request): Request {
  const url = new URL(request.url);
  if (base === "" || (url.pathname !== base && !url.pathname.startsWith(`${base}/`))) return request;
  url.pathname = url.pathname.slice(base.length) || "/";
  return new Request(url, request);
}
