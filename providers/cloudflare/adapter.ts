import { join, relative } from "node:path";
import * as cloudflareSdk from "@pulumi/cloudflare";
import { secret } from "@pulumi/pulumi";
import * as z from "zod";
import type { ProviderAdapter } from "../adapter.ts";

const settings = z.strictObject({
  accountId: z.string().regex(/^[0-9a-f]{32}$/, "must be the account's id: 32 hex digits"),
  workersSubdomain: z
    .string()
    .regex(
      /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
      "must be the account's name below workers.dev: lower-case letters, digits and dashes",
    ),
  /** Base URL of the control plane. */
  api: z.url().default("https://api.cloudflare.com/client/v4"),
  /** Base URL of a node, with `{name}` in the place of its physical name; absent = its address below workers.dev. */
  url: z
    .string()
    .regex(/^https?:\/\/.*\{name\}/, "must be a URL that has {name} in it")
    .optional(),
});

/** The account's facts that a stack config states. */
export type CloudflareSettings = z.output<typeof settings>;

/** The newest date whose behaviour the node's code was tested with. */
const compatibilityDate = "2026-11-01";
const mainModule = "index.js";
const stateClass = "NodeState";

/** Cloudflare Workers: one Worker for each node, its state in a Durable Object of the same Worker. */
export const cloudflare = {
  name: "cloudflare",
  runtime: "workerd",
  settings: settings as z.ZodType<CloudflareSettings>,
  names: {
    pattern: /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
    maxLength: 63,
    words: "lower-case letters, digits and dashes, with a letter or digit at both ends",
  },
  // https://developers.cloudflare.com/workers/platform/limits/
  limits: { bundleBytes: 64 * 1024 * 1024, variableBytes: 5 * 1024 },
  target: {
    entry: "providers/cloudflare/entry.ts",
    platform: "browser",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:workers"],
    start: "export",
    named: [stateClass],
  },

  urlFor: (name, { url, workersSubdomain }) =>
    url ? url.replaceAll("{name}", name).replace(/\/$/, "") : `https://${name}.${workersSubdomain}.workers.dev`,

  account: (organization, { api }, parent) =>
    new cloudflareSdk.Provider(`${organization}-cloudflare`, { baseUrl: api }, { parent }),

  deploy({ name, node, url, settings, bundle, config, key, upstreamSecrets, parent }, provider) {
    const { accountId } = settings;
    const label = node.replace("/", "-");
    const options = { parent, provider };
    const worker = new cloudflareSdk.Worker(
      `${label}-worker`,
      { accountId, name, subdomain: { enabled: true, previewsEnabled: false }, observability: { enabled: true } },
      { ...options, deleteBeforeReplace: true },
    );
    const version = new cloudflareSdk.WorkerVersion(
      `${label}-version`,
      {
        accountId,
        workerId: worker.id,
        // Code, configuration and the classes of the Durable Objects change together or not at all.
        deploy: true,
        mainModule,
        modules: [
          { name: mainModule, contentType: "application/javascript+module", contentFile: fromProgram(bundle.path) },
        ],
        compatibilityDate,
        // Declared, not migrated: `WorkersScript` would send a migration again with each update, and Cloudflare refuses the second.
        exports: { [stateClass]: { type: "durable-object", storage: "sqlite" } },
        // In the order in which Cloudflare answers them.
        bindings: [
          { type: "plain_text", name: "FEDERATION_CONFIG", text: config },
          { type: "secret_text", name: "FEDERATION_KEY", text: secret(key) },
          ...(upstreamSecrets === undefined
            ? []
            : [{ type: "secret_text", name: "FEDERATION_UPSTREAMS", text: secret(upstreamSecrets) }]),
          { type: "durable_object_namespace", name: "STATE", className: stateClass },
        ],
      },
      options,
    );
    const observed = worker.subdomain.apply((subdomain) => (settings.url ? url : (addressOf(subdomain.url) ?? url)));
    return { url: observed, resources: [worker, version] };
  },
} as const satisfies ProviderAdapter<CloudflareSettings, cloudflareSdk.Provider>;

/** A path of the project, relative to the program's folder: the engine starts provider plugins there, and it is the same on all machines. */
function fromProgram(path: string): string {
  return relative(process.cwd(), join(import.meta.dirname, "../..", path));
}

/** The workers.dev address that the API reports, which may lack the scheme. */
function addressOf(url: string | undefined): string | undefined {
  return url && `https://${url.replace(/^https?:\/\//, "").replace(/\/$/, "")}`;
}
