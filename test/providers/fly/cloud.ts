import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile } from "../../../providers/bundle.ts";
import { fly } from "../../../providers/fly/adapter.ts";
import { startCloud } from "../../../providers/local-cloud/cloud.ts";
import type { Cloud } from "../../../providers/local-cloud/cloud.ts";
import { tokensIn } from "../../../providers/local-cloud/tokens.ts";
import start from "../../../providers/fly/emulator.ts";

export const root = new URL("../../../", import.meta.url).pathname;

/** A local cloud with Fly in it and nothing else. */
export interface FlyCloud {
  readonly dir: string;
  /** Base URL of the data plane. */
  readonly url: string;
  /** Base URL of the control plane. */
  readonly api: string;
  readonly token: string;
  /** A request to the control plane. */
  call(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: any; headers: Headers }>;
  close(): Promise<void>;
  /** Ends it and starts it again over the same folder and port. */
  restart(): Promise<void>;
  remove(): Promise<void>;
}

export async function flyCloud(): Promise<FlyCloud> {
  const dir = mkdtempSync(join(tmpdir(), "fly-cloud-"));
  const lines: string[] = [];
  const open = async (port: number): Promise<Cloud> => {
    const cloud = await startCloud({ dir, port, emulators: { fly: start }, log: (line) => lines.push(line) });
    await cloud.ready;
    return cloud;
  };
  let cloud: Cloud | undefined = await open(0);
  const { port } = cloud;
  const token = tokensIn(dir, ["fly"])["fly"] as string;
  const url = `${cloud.url}/fly`;
  const api = `${url}/v1`;
  const close = async (): Promise<void> => {
    await cloud?.close();
    cloud = undefined;
  };
  return {
    dir,
    url,
    api,
    token,
    close,
    async call(method, path, body, headers = {}) {
      const response = await fetch(api + path, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, headers: response.headers, body: text === "" ? undefined : JSON.parse(text) };
    },
    async restart() {
      await close();
      cloud = await open(port);
    },
    async remove() {
      await close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Compiles a module that calls `bridge(start)`, as the toolkit's own bundles do; `source` is the body of the StartNode. */
export function nodeBundle(source: string): Promise<string> {
  const module = `import { bridge } from "./${fly.target.entry}";\nbridge((platform) => { ${source} });\n`;
  return compile(module, fly.target, root);
}

/** A node that tells what it got and keeps a counter in its state. */
export const echoNode = `return {
  postMcp(posted) { return this.fetch(posted.toRequest()); },
  async fetch(request) {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/health") return new Response("ok");
    if (pathname === "/bad") return new Response("unwell", { status: 503 });
    if (pathname === "/count") {
      const { value = 0, version = 0 } = (await platform.state.get("count")) ?? {};
      await platform.state.cas("count", version, value + 1);
      return Response.json({ count: value + 1 });
    }
    if (pathname === "/slow") {
      const stream = new ReadableStream({
        start(controller) { controller.enqueue(new TextEncoder().encode("data: first\\n\\n")); },
        async cancel() { await platform.state.put("cancelled", true); },
      });
      request.signal.addEventListener("abort", () => platform.waitUntil(platform.state.put("aborted", true)));
      return new Response(stream, { headers: { "content-type": "text/event-stream" } });
    }
    if (pathname === "/state") return Response.json((await platform.state.list("")).entries);
    return Response.json({
      url: request.url, path: pathname + search, method: request.method, body: await request.text(),
      node: platform.config.node, kid: platform.key.kid, env: { ...process.env, FEDERATION_KEY: undefined },
    });
  },
};`;

const image = "docker.io/library/node:24.21.0-slim";
const key = { kty: "OKP", crv: "Ed25519", x: "x", d: "d", kid: "kid-1" };

/** Value of `FEDERATION_KEY` of the test's nodes. */
export const keyText = JSON.stringify(key);

/** Value of `FEDERATION_CONFIG` of a test's node. */
export function configText(url: string): string {
  const { d: _, ...root } = key;
  return JSON.stringify({ network: "net", node: "acme/hub", url, root });
}

/** A machine's config as the adapter makes it. */
export function machineConfig(url: string, code: string, volume?: string): Record<string, unknown> {
  return {
    image,
    env: { FEDERATION_CONFIG: configText(url), FEDERATION_DATA: "/data", PORT: "8080" },
    init: { cmd: ["node", "/app/node.mjs"] },
    guest: { cpu_kind: "shared", cpus: 1, memory_mb: 256 },
    files: [{ guest_path: "/app/node.mjs", raw_value: Buffer.from(code).toString("base64") }],
    services: [
      {
        protocol: "tcp",
        internal_port: 8080,
        ports: [{ port: 443, handlers: ["tls", "http"] }],
        checks: [
          {
            type: "http",
            port: 8080,
            path: "/health",
            method: "GET",
            interval: "15s",
            timeout: "5s",
            grace_period: "10s",
          },
        ],
      },
    ],
    ...(volume === undefined ? {} : { mounts: [{ volume, path: "/data" }] }),
  };
}
