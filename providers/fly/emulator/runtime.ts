import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import type { RuntimeSpec } from "../../local-cloud/emulator.ts";
import type { AppRecord, MachineRecord } from "./store.ts";

/** Why a machine cannot run on this computer; becomes the machine's `failed` event. */
export class LaunchError extends Error {
  override readonly name = "LaunchError";
}

/** Folders of a machine on this computer, by the path that the machine knows them under. */
export type Mapping = readonly (readonly [guest: string, host: string])[];

/**
 * What runs a machine here: this process's own Node.js in place of the image, with the machine's files in a folder of its own.
 *
 * There is no other root file system: a word of the command or a variable that is the path of a file or a mount of the machine, or
 * lies below a mount, is replaced by where it is here. Everything else of the image is missing, and only `node` can be the command.
 */
export function runtimeSpec(
  app: AppRecord,
  machine: MachineRecord,
  secrets: Readonly<Record<string, string>>,
  folders: { readonly root: string; readonly volume: (id: string) => string },
): RuntimeSpec {
  const { config } = machine;
  const [command, ...args] = commandOf(machine);
  if (!/(^|\/)node(js)?$/.test(command ?? ""))
    throw new LaunchError(`the local cloud runs node, and the command is ${JSON.stringify(command ?? "")}`);
  const mapping = place(machine, secrets, folders);
  const variables = {
    ...config.env,
    ...secrets,
    FLY_APP_NAME: app.name,
    FLY_MACHINE_ID: machine.id,
    FLY_ALLOC_ID: machine.id,
    FLY_REGION: machine.region,
    FLY_PUBLIC_IP: "127.0.0.1",
    FLY_IMAGE_REF: config.image,
    FLY_MACHINE_VERSION: machine.instance_id,
    FLY_PRIVATE_IP: "127.0.0.1",
    FLY_PROCESS_GROUP: config.metadata?.["fly_process_group"] ?? "app",
    FLY_VM_MEMORY_MB: String(config.guest?.memory_mb ?? 256),
    PRIMARY_REGION: machine.region,
    HOME: folders.root,
  };
  const env = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, translate(value, mapping)]));
  return {
    command: process.execPath,
    args: () => args.map((word) => translate(word, mapping)),
    env: (port) => ({ ...env, PORT: String(port), HOST: "127.0.0.1" }),
    cwd: folders.root,
  };
}

function commandOf({ config }: MachineRecord): readonly string[] {
  const repository = config.image.replace(/@.*$/, "").replace(/:[^/]*$/, "");
  if (!/(^|\/)node$/.test(repository))
    throw new LaunchError(`the local cloud has no image but node, and the image is ${config.image}`);
  const { exec, entrypoint = [], cmd = [] } = config.init ?? {};
  return exec ?? [...entrypoint, ...cmd];
}

function place(
  machine: MachineRecord,
  secrets: Readonly<Record<string, string>>,
  folders: { readonly root: string; readonly volume: (id: string) => string },
): Mapping {
  rmSync(folders.root, { recursive: true, force: true });
  mkdirSync(folders.root, { recursive: true, mode: 0o700 });
  const files = (machine.config.files ?? []).map((file) => {
    const path = join(folders.root, normalize(`/${file.guest_path}`));
    mkdirSync(dirname(path), { recursive: true });
    const value = file.secret_name === undefined ? file.raw_value : secrets[file.secret_name];
    if (value === undefined)
      throw new LaunchError(`the file ${file.guest_path} has no raw_value, and no secret to take it from`);
    writeFileSync(path, Buffer.from(value, "base64"), { mode: file.mode ?? 0o600 });
    return [file.guest_path, path] as const;
  });
  const mounts = (machine.config.mounts ?? []).map(({ volume = "", path = "" }) => {
    mkdirSync(folders.volume(volume), { recursive: true, mode: 0o700 });
    return [path, folders.volume(volume)] as const;
  });
  return [...files, ...mounts];
}

function translate(word: string, mapping: Mapping): string {
  for (const [guest, host] of mapping) {
    if (word === guest) return host;
    if (word.startsWith(`${guest}/`)) return host + word.slice(guest.length);
  }
  return word;
}
