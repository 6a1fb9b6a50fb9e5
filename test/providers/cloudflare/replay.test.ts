import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasSpecs, loadContract, specs } from "./contract.ts";
import { account, bundleNode, nodeVersion, startTestCloud } from "./local.ts";
import type { TestCloud } from "./local.ts";

/** Where the wire is known to differ from the contract, and why that is accepted. */
const acceptedFaults: readonly RegExp[] = [
  // 2026-11-22: without a placement Cloudflare answers `{}`, which its Terraform provider reads as none.
  /^workers\.scripts\.script-and-version-settings\.get result \/placement must /,
  // 2026-11-22: Cloudflare's API reference and wrangler have a list here; the SDK's types have an object.
  /^workers\.scripts\.versions\.get result \/resources\/bindings must be object$/,
];

const recording = join(specs, "captured/cloudflare-wrangler4.164-and-sdk.jsonl");
/** The recording holds the beginnings of modules; this one exports what they do. */
const recordedModule = `import { DurableObject } from "cloudflare:workers"; export class Sess extends DurableObject {} export default { fetch: () => new Response("ok") };`;
const reason = `no API documents at ${specs}`;

let cloud: TestCloud;
let code: string;

beforeAll(async () => {
  cloud = await startTestCloud();
  code = await bundleNode("() => ({ fetch: async () => new Response('ok') })");
});
afterAll(() => cloud?.close());

describe.skipIf(!hasSpecs)(`Cloudflare's contract (${hasSpecs ? "checked" : reason})`, () => {
  test("holds for what the adapter's requests and the emulator's answers say", async () => {
    const contract = loadContract();
    const faults: string[] = [];
    const checked = new Set<string>();
    const exchange = async (method: string, path: string, body?: object): Promise<any> => {
      const response = await cloud.call(method, path, body);
      const envelope = (await response.json()) as { success: boolean; result: any; errors: unknown };
      expect(envelope, `${method} ${path}`).toMatchObject({ success: true, errors: [], messages: [] });
      const found = contract.faults(method, path, body, envelope);
      if (found) checked.add(`${method} ${path.replace(account, "{account}").split("?")[0]}`);
      faults.push(...(found ?? []));
      return envelope.result;
    };
    const workers = `/accounts/${account}/workers/workers`;
    const scripts = `/accounts/${account}/workers/scripts`;
    const worker = await exchange("POST", workers, {
      name: "contract",
      subdomain: { enabled: true, previews_enabled: false },
      observability: { enabled: true },
    });
    await exchange("PUT", `${workers}/${worker.id}`, {
      name: "contract",
      subdomain: { enabled: true },
      logpush: false,
      observability: { enabled: true },
      tags: [],
      tail_consumers: [],
    });
    await exchange("PATCH", `${workers}/${worker.id}`, {
      name: "contract",
      subdomain: {},
      logpush: false,
      observability: {},
      tags: ["a"],
      tail_consumers: [],
    });
    await exchange("GET", `${workers}/${worker.id}`);
    await exchange("GET", workers);
    const version = await exchange("POST", `${workers}/${worker.id}/versions?deploy=true`, nodeVersion(code));
    await exchange("GET", `${workers}/${worker.id}/versions/${version.id}?include=modules`);
    await exchange("GET", `${workers}/${worker.id}/versions`);
    await exchange("GET", `${scripts}/contract/settings`);
    await exchange("GET", `${scripts}/contract/script-settings`);
    await exchange("PATCH", `${scripts}/contract/script-settings`, { logpush: false });
    await exchange("GET", `${scripts}/contract/versions`);
    await exchange("GET", `${scripts}/contract/versions/${version.id}`);
    const deployment = await exchange("POST", `${scripts}/contract/deployments`, {
      strategy: "percentage",
      versions: [{ version_id: version.id, percentage: 100 }],
    });
    await exchange("GET", `${scripts}/contract/deployments`);
    await exchange("GET", `${scripts}/contract/deployments/${deployment.id}`);
    await exchange("PUT", `${scripts}/contract/secrets`, { name: "A", text: "v", type: "secret_text" });
    await exchange("GET", `${scripts}/contract/secrets`);
    await exchange("GET", `${scripts}/contract/secrets/A`);
    await exchange("DELETE", `${scripts}/contract/secrets/A`);
    await exchange("POST", `${scripts}/contract/subdomain`, { enabled: true });
    await exchange("GET", `${scripts}/contract/subdomain`);
    await exchange("GET", scripts);
    await exchange("GET", "/user/tokens/verify");
    await exchange("GET", "/accounts");
    await exchange("GET", `/accounts/${account}`);
    await exchange("PUT", `/accounts/${account}/workers/subdomain`, { subdomain: "acme" });
    await exchange("GET", `/accounts/${account}/workers/subdomain`);
    await exchange("DELETE", `${scripts}/contract/subdomain`);
    await exchange("DELETE", `${workers}/${worker.id}`);
    expect(faults.filter((fault) => !acceptedFaults.some((accepted) => accepted.test(fault)))).toEqual([]);
    expect(checked.size).toBe(30);
  });
});

interface Recorded {
  readonly command?: string;
  readonly method?: string;
  readonly url: string;
  readonly ct?: string;
  readonly body?: string;
  readonly parts?: readonly {
    readonly name: string;
    readonly text?: string;
    readonly filename?: string;
    readonly type?: string;
    readonly head?: string;
  }[];
}

/** Paths of services that the local cloud does not have; it must say so and not pretend. */
const outOfScope = /\/(r2|kv|storage|zones|schedules|routes|domains)(\/|\?|$)/;

describe.skipIf(!existsSync(recording))(
  `what wrangler 4.164 and the SDKs sent (${existsSync(recording) ? "replayed" : reason})`,
  () => {
    test("is answered in Cloudflare's envelope, with no fault of ours; unknown routes are 7003", async () => {
      const lines = readFileSync(recording, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Recorded);
      const requests = lines.filter((line) => line.method !== undefined);
      const unexpected: string[] = [];
      let succeeded = 0;
      for (const recorded of requests) {
        const path = recorded.url.replace("/client/v4", "").replace("/accounts/acc", `/accounts/${account}`);
        const response = await replay(recorded, path);
        const type = response.headers.get("content-type") ?? "";
        expect(type, path).toMatch(/^application\/json/);
        const { success, errors } = (await response.json()) as {
          success: boolean;
          errors: { code: number; message: string }[];
        };
        expect(success).toBe(response.ok);
        if (success) succeeded++;
        const known = outOfScope.test(path)
          ? response.status === 404 && errors[0]?.code === 7003
          : success || expectedRefusal(errors[0]!);
        if (!known) unexpected.push(`${recorded.method} ${path}: ${response.status} ${JSON.stringify(errors)}`);
      }
      expect(unexpected).toEqual([]);
      expect([requests.length, succeeded]).toEqual([88, 48]);
    });

    /** The recording's ids and bindings are of another account, and its server answered anything. */
    function expectedRefusal({ code, message }: { code: number; message: string }): boolean {
      return (
        [10007, 10090, 10212].includes(code) ||
        (code === 10021 &&
          /No such module|part named 'metadata'|'metadata' is not JSON|Invalid left-hand side/.test(message)) ||
        (code === 10040 && message.includes("exists already"))
      );
    }

    /** The metadata without bindings to services that the local cloud does not have; as recorded where the recording cut it short. */
    function available(text: string): string {
      try {
        const metadata = JSON.parse(text) as { bindings: { type: string }[] };
        const bindings = metadata.bindings.filter(
          ({ type }) => !["kv_namespace", "r2_bucket", "d1", "service"].includes(type),
        );
        return JSON.stringify({ ...metadata, bindings });
      } catch {
        return text;
      }
    }

    async function replay({ method, ct, body, parts }: Recorded, path: string): Promise<Response> {
      if (!parts) {
        if (body === undefined) return cloud.call(method!, path);
        const text = body.startsWith("<") ? "------formdata-undici-1\r\nx" : body;
        return cloud.call(method!, path, text, { "content-type": ct ?? "application/json" });
      }
      const form = new FormData();
      for (const part of parts) {
        if (part.filename === undefined)
          form.append(part.name, part.name === "metadata" ? available(part.text!) : part.text!);
        else if (part.name === "metadata")
          form.append(part.name, new File([available(part.head!)], part.filename, { type: part.type! }));
        else form.append(part.name, new File([recordedModule], part.filename, { type: part.type! }));
      }
      return cloud.call(method!, path, form);
    }
  },
);
