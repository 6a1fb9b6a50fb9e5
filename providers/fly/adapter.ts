import { output } from "@pulumi/pulumi";
import * as z from "zod";
import type { Deployed, Deployment, ProviderAdapter } from "../adapter.ts";
import { flyApi } from "./api.ts";
import { FlyApp, FlyMachine, FlySecrets, FlyVolume } from "./classes.ts";
import { maxFileBytes } from "./files.ts";

const settings = z.strictObject({
  organization: z.string().min(1).describe("Slug of the Fly organization that owns the apps."),
  region: z
    .string()
    .regex(/^[a-z]{3}$/, "must be a region code of three letters, such as ams")
    .describe("Where machines and volumes are."),
  api: z
    .url({ protocol: /^https?$/ })
    .transform(withoutSlash)
    .default(flyApi)
    .describe("Base URL of the Machines API."),
  url: z
    .string()
    .regex(/^https?:\/\/.*\{name\}/, "must be an http(s) URL with {name} in it")
    .transform(withoutSlash)
    .default("https://{name}.fly.dev")
    .describe("Public base URL of a node; {name} stands for the app's name."),
  image: z.string().min(1).default("docker.io/library/node:24.21.0-slim").describe("Image with Node.js 24 as `node`."),
  memoryMb: z.int().min(256).multipleOf(256).default(256).describe("Memory of a machine, MiB, in steps of 256."),
  cpus: z
    .union([z.literal(1), z.literal(2), z.literal(4), z.literal(8)])
    .default(1)
    .describe("Shared CPUs of a machine."),
  volumeGb: z.int().min(1).max(500).default(1).describe("Size of the volume that holds a node's database, GB."),
});

export type FlySettings = z.output<typeof settings>;

const port = 8080;
const code = "/app/node.mjs";
const data = "/data";

/** Fly.io: one app, volume and machine per node; the bundle travels in the machine's config, so that no image is built. */
export const fly = {
  name: "fly",
  runtime: "Node.js",
  settings,
  names: {
    pattern: /^[a-z](?:[a-z0-9-]*[a-z0-9])?$/,
    maxLength: 63,
    words:
      "lower-case letters, digits and dashes, starting with a letter and not ending with a dash; unique among all Fly apps",
  },
  // Fly documents neither: the files' limit is ours, the variables' is half of what Linux takes for one variable.
  limits: { bundleBytes: maxFileBytes, variableBytes: 65_536 },
  target: {
    entry: "providers/fly/entry.ts",
    platform: "node",
    conditions: ["workerd", "node", "import"],
    external: ["node:*"],
    start: "call",
    named: [],
  },
  urlFor: (name, { url }) => url.replaceAll("{name}", name),
  account: () => undefined,
  deploy,
} satisfies ProviderAdapter<FlySettings, undefined>;

function deploy(deployment: Deployment<FlySettings>): Deployed {
  const { name, parent, bundle } = deployment;
  const { api, organization, region, image, memoryMb, cpus, volumeGb } = deployment.settings;
  const app = new FlyApp(`${name}-app`, { api, name, organization }, { parent });
  const inApp = { parent, dependsOn: [app] };
  const secrets = new FlySecrets(
    `${name}-secrets`,
    {
      api,
      app: name,
      values: {
        FEDERATION_KEY: deployment.key,
        ...(deployment.upstreamSecrets && { FEDERATION_UPSTREAMS: deployment.upstreamSecrets }),
      },
    },
    { ...inApp, deletedWith: app },
  );
  const volume = new FlyVolume(
    `${name}-volume`,
    { api, app: name, name: "federation", region, sizeGb: volumeGb },
    inApp,
  );
  const machine = new FlyMachine(
    `${name}-machine`,
    {
      api,
      app: name,
      name: "node",
      region,
      config: output(deployment.config).apply((config) => ({
        image,
        env: { FEDERATION_CONFIG: config, FEDERATION_DATA: data, PORT: String(port) },
        guest: { cpu_kind: "shared", cpus, memory_mb: memoryMb },
        init: { cmd: ["node", code] },
        restart: { policy: "always" },
        services: [service],
        // Longer than the grace the node gives to requests that are under way.
        stop_config: { signal: "SIGTERM", timeout: "10s" },
      })),
      files: [{ guestPath: code, path: bundle.path, sha256: bundle.sha256 }],
      mount: { volume: volume.volume, path: data },
      secretsVersion: secrets.version,
    },
    inApp,
  );
  // The API reports no URL; what it does report is a healthy machine behind the app's name.
  return { url: machine.instance.apply(() => deployment.url), resources: [app, secrets, volume, machine] };
}

const service = {
  protocol: "tcp",
  internal_port: port,
  autostop: "off",
  autostart: true,
  min_machines_running: 1,
  ports: [
    { port: 80, handlers: ["http"], force_https: true },
    { port: 443, handlers: ["tls", "http"] },
  ],
  checks: [{ type: "http", port, method: "GET", path: "/health", interval: "15s", timeout: "5s", grace_period: "10s" }],
} as const;

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, "");
}
