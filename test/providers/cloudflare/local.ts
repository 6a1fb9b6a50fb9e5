import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile } from "../../../providers/bundle.ts";
import { cloudflare } from "../../../providers/cloudflare/adapter.ts";
import startEmulator from "../../../providers/cloudflare/emulator.ts";
import { type Cloud, startCloud } from "../../../providers/local-cloud/cloud.ts";
import { tokensIn } from "../../../providers/local-cloud/tokens.ts";

export const root = join(import.meta.dirname, "../../..");
export const account = "0123456789abcdef0123456789abcdef";
export const compatibilityDate = "2026-11-01";

/** A local cloud with Cloudflare alone in it, on a free port. */
export interface TestCloud {
  readonly dir: string;
  readonly token: string;
  /** `http://127.0.0.1:<port>/cloudflare` */
  url: string;
  /** Calls the control plane. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Requests with the token so far, by method. */
  requests(): Promise<Record<string, number>>;
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function startTestCloud(): Promise<TestCloud> {
  const dir = await mkdtemp(join(tmpdir(), "cloudflare-test-"));
  const lines: string[] = [];
  const start = async (): Promise<Cloud> => {
    const cloud = await startCloud({
      dir,
      port: 0,
      emulators: { cloudflare: startEmulator },
      log: (line) => lines.push(line),
    });
    await cloud.ready;
    return cloud;
  };
  let cloud = await start();
  const test: TestCloud = {
    dir,
    token: tokensIn(dir, ["cloudflare"])["cloudflare"]!,
    url: `${cloud.url}/cloudflare`,
    call: (method, path, body, headers) => {
      const isJson = body !== undefined && !(body instanceof FormData) && typeof body !== "string";
      return fetch(`${test.url}/client/v4${path}`, {
        method,
        headers: {
          authorization: `Bearer ${test.token}`,
          ...(isJson && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: isJson ? JSON.stringify(body) : (body as FormData | string) }),
      });
    },
    requests: async () =>
      ((await (await fetch(`${cloud.url}/requests`)).json()) as { cloudflare: Record<string, number> }).cloudflare,
    restart: async () => {
      await cloud.close();
      cloud = await start();
      test.url = `${cloud.url}/cloudflare`;
    },
    close: async () => {
      await cloud.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return test;
}

/** Compiles a module the way the toolkit compiles bundles: with the adapter's target, on the real entry. `node` is the text of a StartNode. */
export function bundleNode(node: string): Promise<string> {
  const { target } = cloudflare;
  const module = `import { bridge } from "./${target.entry}";\nexport { NodeState } from "./${target.entry}";\nexport default bridge(${node});`;
  return compile(module, target, root);
}

/** The metadata and modules of an upload as the adapter makes it. */
export function nodeVersion(code: string, extra: object = {}): object {
  return {
    main_module: "index.js",
    compatibility_date: compatibilityDate,
    exports: { NodeState: { type: "durable-object", storage: "sqlite" } },
    bindings: nodeBindings(),
    modules: [
      {
        name: "index.js",
        content_type: "application/javascript+module",
        content_base64: Buffer.from(code).toString("base64"),
      },
    ],
    ...extra,
  };
}

export function nodeBindings(): object[] {
  const config = {
    network: "test",
    node: "acme/edge",
    url: "https://edge.example.com",
    root: { kty: "OKP", crv: "Ed25519", x: "eA", kid: "k" },
  };
  const key = { kty: "OKP", crv: "Ed25519", x: "eA", d: "ZA", kid: "k" };
  return [
    { type: "plain_text", name: "FEDERATION_CONFIG", text: JSON.stringify(config) },
    { type: "secret_text", name: "FEDERATION_KEY", text: JSON.stringify(key) },
    { type: "durable_object_namespace", name: "STATE", class_name: "NodeState" },
  ];
}

/** Deploys a node's code under a name and answers its base URL. */
export async function deployNode(cloud: TestCloud, name: string, code: string, extra: object = {}): Promise<string> {
  const workers = `/accounts/${account}/workers/workers`;
  const known = await cloud.call("GET", `${workers}/${name}`);
  if (known.status === 404) await expectOk(cloud.call("POST", workers, { name, subdomain: { enabled: true } }));
  await expectOk(cloud.call("POST", `${workers}/${name}/versions?deploy=true`, nodeVersion(code, extra)));
  return `${cloud.url}/${name}`;
}

export async function expectOk(answer: Promise<Response>): Promise<any> {
  const response = await answer;
  const body = (await response.json()) as { success: boolean; result: unknown };
  if (!response.ok || !body.success) throw new Error(`${response.status} ${JSON.stringify(body)}`);
  return body.result;
}
