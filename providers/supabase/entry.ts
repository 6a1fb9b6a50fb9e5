import { type Node, readConfig, servePost, type StartNode } from "../../functions/node/platform.ts";
import { secretName, type SecretVariable } from "./names.ts";
import { connect, openState } from "./state.ts";
import { standFor, upgrade } from "./websocket.ts";

declare const Deno: {
  readonly env: { get(name: string): string | undefined };
  serve(handler: (request: Request) => Promise<Response>): unknown;
};

/** What the hosted runtime adds to Deno: https://supabase.com/docs/guides/functions/background-tasks */
declare const EdgeRuntime: { waitUntil(work: Promise<unknown>): void } | undefined;

/**
 * Serves a node as a Supabase Edge Function.
 *
 * The platform leaves the function's slug in front of the path, and it is only there that a bundle shared by several nodes learns which
 * one it is; so the node starts with its first request.
 */
export function bridge(startNode: StartNode): void {
  const nodes = new Map<string, Node>();
  Deno.serve(async (request) => {
    const url = new URL(request.url);
    const end = url.pathname.indexOf("/", 1);
    const slug = end < 0 ? url.pathname.slice(1) : url.pathname.slice(1, end);
    url.pathname = end < 0 ? "/" : url.pathname.slice(end);
    let node = nodes.get(slug);
    if (!node) {
      try {
        node = start(startNode, slug);
      } catch (error) {
        console.error(error);
        return Response.json({ error: (error as Error).message }, { status: 500 });
      }
      nodes.set(slug, node);
    }
    const posted = await servePost(node, url.pathname, request);
    if (posted) return posted;
    return node.fetch(standFor(new Request(url, request), request));
  });
}

function start(startNode: StartNode, slug: string): Node {
  return startNode({
    ...readIdentity(slug),
    state: openState(connect(required("SUPABASE_URL"), serviceKey()), slug),
    fetch: (request) => fetch(request),
    waitUntil,
    upgrade,
  });
}

function readIdentity(slug: string): ReturnType<typeof readConfig> {
  try {
    return readConfig((name) => Deno.env.get(secretName(name as SecretVariable, slug)));
  } catch (error) {
    throw new Error(
      `function ${slug}: ${(error as Error).message} (the project's secret is named ${secretName("FEDERATION_CONFIG", slug)}, and so on)`,
      { cause: error },
    );
  }
}

/** Newer projects have secret keys by name, older ones one service key. */
function serviceKey(): string {
  const named = JSON.parse(Deno.env.get("SUPABASE_SECRET_KEYS") ?? "{}") as Record<string, string>;
  return named["default"] ?? Object.values(named)[0] ?? required("SUPABASE_SERVICE_ROLE_KEY");
}

function required(name: string): string {
  const value = Deno.env.get(name);
  if (!value) throw new Error(`the variable ${name}, which Supabase gives every function, is not set`);
  return value;
}

function waitUntil(work: Promise<unknown>): void {
  const logged = work.catch((error: unknown) => console.error(error));
  if (typeof EdgeRuntime !== "undefined") EdgeRuntime.waitUntil(logged);
}
