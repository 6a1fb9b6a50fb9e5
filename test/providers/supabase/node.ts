import { resolve } from "node:path";
import { compile } from "../../../providers/bundle.ts";
import { supabase } from "../../../providers/supabase/adapter.ts";

const root = resolve(import.meta.dirname, "../../..");

/** A node that answers what it was given, so that a test sees through the bridge. */
const trivialNode = `
import { bridge } from "./${supabase.target.entry}";
let starts = 0;
bridge((platform) => {
  const start = ++starts;
  return {
    postMcp(posted) { return this.fetch(posted.toRequest()); },
    async fetch(request) {
      const url = new URL(request.url);
      if (url.pathname === "/count") {
        const entry = await platform.state.get("count");
        const version = await platform.state.cas("count", entry?.version ?? 0, (entry?.value ?? 0) + 1);
        return Response.json({ node: platform.config.node, version });
      }
      if (url.pathname === "/stream") {
        let n = 0;
        const body = new ReadableStream({ async pull(c) { if (n === 3) return c.close(); c.enqueue(new TextEncoder().encode("data: " + n++ + "\\n\\n")); await new Promise((r) => setTimeout(r, 100)); } });
        return new Response(body, { headers: { "content-type": "text/event-stream" } });
      }
      if (url.pathname === "/later") {
        platform.waitUntil((async () => { await new Promise((r) => setTimeout(r, 50)); await platform.state.put("later", true); })());
        return new Response("accepted", { status: 202 });
      }
      if (url.pathname === "/later/seen") return Response.json((await platform.state.get("later"))?.value ?? null);
      const { config, key } = platform;
      return Response.json({
        start, node: config.node, url: config.url, kid: key.kid, method: request.method, path: url.pathname + url.search,
        header: request.headers.get("x-test"), body: await request.text(), worker: typeof globalThis.Worker,
      });
    },
  };
});
`;

/** Compiles a module as the toolkit compiles bundles for Supabase. */
export function compileNode(module: string = trivialNode): Promise<string> {
  return compile(module, supabase.target, root);
}

export const rootKey = {
  kty: "OKP",
  crv: "Ed25519",
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
};

export function nodeConfig(node: string, url: string): string {
  return JSON.stringify({ network: "net", node, url, root: rootKey });
}

export function nodeKey(kid: string): string {
  return JSON.stringify({ ...rootKey, kid, d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A" });
}
