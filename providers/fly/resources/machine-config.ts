import * as z from "zod";
import type { Machine, MachineConfig, Service } from "../api-types.ts";
import { hashOf, machineFiles } from "../files.ts";
import { api } from "./target.ts";

const texts = z.record(z.string(), z.string());
const words = z.array(z.string());

/** The machine config of Fly that is ours to set; `files` and `mounts` are inputs of their own. */
const config = z.strictObject({
  image: z.string().min(1),
  env: texts.optional(),
  init: z.strictObject({ exec: words.optional(), entrypoint: words.optional(), cmd: words.optional() }).optional(),
  guest: z.looseObject({}).optional(),
  restart: z.looseObject({}).optional(),
  services: z.array(z.looseObject({})).optional(),
  checks: z.record(z.string(), z.looseObject({})).optional(),
  metadata: texts.optional(),
  stop_config: z.looseObject({}).optional(),
});

export const inputs = z.strictObject({
  api,
  app: z.string(),
  name: z.string(),
  region: z.string(),
  config,
  files: z.array(z.strictObject({ guestPath: z.string(), path: z.string(), sha256: z.string() })),
  mount: z.strictObject({ volume: z.string(), path: z.string() }).optional(),
  secretsVersion: z.int().min(0),
  /** What the machine should be; anything else shows as drift and is mended. */
  state: z.string().default("started"),
});

export type MachineInputs = z.output<typeof inputs>;

// What the API does not tell about a machine it is asked to remember in the machine's metadata.
const secretsKey = "federation_secrets_version";
const filesKey = "federation_files";

/** The config that the API is sent. */
export async function wantedConfig(wanted: MachineInputs): Promise<MachineConfig> {
  const { config, files, mount, secretsVersion } = wanted;
  const metadata = { ...config.metadata, [secretsKey]: String(secretsVersion), [filesKey]: fileList(files) };
  return {
    ...config,
    metadata,
    files: await machineFiles(files),
    ...(mount ? { mounts: [mount] } : {}),
  } as MachineConfig;
}

/**
 * The inputs that would give the machine as it is. Of what the API adds by itself (defaults) only that is taken up which
 * `wanted` also sets; without `wanted` (an import) all of it.
 */
export function observed(
  machine: Machine,
  where: { api: string; app: string },
  wanted: MachineInputs | undefined,
): MachineInputs {
  const { files = [], mounts = [], metadata = {}, ...rest } = machine.config;
  const { [secretsKey]: secretsVersion = "0", [filesKey]: hashes = "", ...ownMetadata } = metadata;
  const known = new Map(hashes.split(" ").map((entry) => [entry.slice(65), entry.slice(0, 64)]));
  const config = { ...rest, services: rest.services?.map(canonical), metadata: ownMetadata };
  const mount = mounts[0] && { volume: mounts[0].volume ?? "", path: mounts[0].path ?? "" };
  return {
    api: where.api,
    app: where.app,
    name: machine.name,
    region: machine.region,
    config: (wanted ? project(config, wanted.config) : project(config, config)) as MachineInputs["config"],
    files: files.map((file) => ({
      guestPath: file.guest_path,
      path: wanted?.files.find(({ guestPath }) => guestPath === file.guest_path)?.path ?? "",
      sha256: hashOf(file) ?? known.get(file.guest_path) ?? "",
    })),
    ...(mount ? { mount } : {}),
    secretsVersion: Number(secretsVersion),
    state: machine.state,
  };
}

/** `<sha256>:<path>` for each file. */
function fileList(files: MachineInputs["files"]): string {
  return files.map(({ guestPath, sha256 }) => `${sha256}:${guestPath}`).join(" ");
}

/** The API answers `off` and `stop` in their older form. */
function canonical(service: Service): Service {
  return typeof service.autostop === "boolean" ? { ...service, autostop: service.autostop ? "stop" : "off" } : service;
}

/** Takes from `seen` the keys that `wanted` has, at every depth; lists are taken whole. */
function project(seen: unknown, wanted: unknown): unknown {
  if (Array.isArray(seen)) {
    return seen.map((item, index) =>
      Array.isArray(wanted) && index < wanted.length ? project(item, wanted[index]) : item,
    );
  }
  if (!isObject(seen) || !isObject(wanted)) return seen;
  const keys = Object.keys(wanted).filter((key) => seen[key] !== undefined);
  // Variables are ours alone: one that somebody added is drift.
  return Object.fromEntries(keys.map((key) => [key, key === "env" ? seen[key] : project(seen[key], wanted[key])]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
