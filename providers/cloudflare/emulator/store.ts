import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A binding as the API shows it. The text of a secret is not part of it; it lies in the version's own file. */
export type Binding = { readonly type: string; readonly name: string } & Readonly<Record<string, unknown>>;

export interface StoredModule {
  readonly name: string;
  readonly contentType: string;
  /** Name of its file in the version's folder. */
  readonly file: string;
}

/** An immutable upload: code and configuration. */
export interface Version {
  /** UUID. */
  readonly id: string;
  /** 1, 2, 3 ... */
  readonly number: number;
  readonly created: string;
  readonly source: string;
  /** Name of the module that runs. */
  readonly main: string;
  /** `modules` is ES modules, `service-worker` one script that adds listeners. */
  readonly syntax: "modules" | "service-worker";
  readonly modules: readonly StoredModule[];
  /** Sorted by name. */
  readonly bindings: readonly Binding[];
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly annotations: Readonly<Record<string, string>>;
  /** Live entries of the declared exports. */
  readonly exports?: Readonly<Record<string, unknown>>;
  /** SHA-256 of the modules, hex. */
  readonly etag: string;
  readonly startupMs: number;
}

/** A Durable Object class for which storage is set aside. */
export interface Namespace {
  /** 32 hex digits; also the name of its folder of storage. */
  readonly id: string;
  readonly className: string;
  readonly storage: "sqlite" | "legacy-kv";
}

export interface Deployment {
  readonly id: string;
  readonly created: string;
  readonly source: string;
  readonly versions: readonly { readonly version_id: string; readonly percentage: number }[];
  readonly annotations: Readonly<Record<string, string>>;
}

/** Settings that belong to the Worker and not to one version. */
export interface Settings {
  readonly logpush: boolean;
  readonly observability: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly tail_consumers: readonly unknown[];
}

export interface Worker {
  /** 32 hex digits. */
  readonly id: string;
  readonly account: string;
  readonly name: string;
  readonly created: string;
  readonly modified: string;
  readonly subdomain: { readonly enabled: boolean; readonly previews_enabled: boolean };
  readonly settings: Settings;
  readonly namespaces: readonly Namespace[];
  /** How its Durable Object classes are managed; once by exports, never again by migrations. */
  readonly lifecycle?: "migrations" | "exports";
  readonly migrationTag?: string;
  /** Newest last. */
  readonly versions: readonly Version[];
  /** Newest last. */
  readonly deployments: readonly Deployment[];
}

/** The Workers of all accounts, on disk below one folder: `workers/<name>/worker.json`, `versions/<id>/`, `objects/<namespace>/`. */
export interface Store {
  all(): readonly Worker[];
  get(name: string): Worker | undefined;
  save(worker: Worker): Promise<void>;
  remove(name: string): Promise<void>;
  folder(name: string): string;
  versionFolder(name: string, version: string): string;
  /** Secret texts of a version by binding name. */
  secrets(name: string, version: string): Promise<Readonly<Record<string, string>>>;
  /** Of the version's modules, in their order. */
  contents(name: string, version: Version): Promise<readonly Uint8Array[]>;
  writeVersion(
    name: string,
    version: Version,
    contents: readonly Uint8Array[],
    secrets: Readonly<Record<string, string>>,
  ): Promise<void>;
  removeVersion(name: string, version: string): Promise<void>;
}

export async function openStore(dir: string): Promise<Store> {
  const root = join(dir, "workers");
  await mkdir(root, { recursive: true, mode: 0o700 });
  const folder = (name: string): string => join(root, name);
  const versionFolder = (name: string, version: string): string => join(root, name, "versions", version);
  const workers = new Map<string, Worker>();
  for (const name of await readdir(root)) {
    const text = await readFile(join(folder(name), "worker.json"), "utf8").catch((error: NodeJS.ErrnoException) => {
      // A Worker whose first upload was cut short has a folder and no record: it never existed.
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (text !== undefined) workers.set(name, JSON.parse(text) as Worker);
  }

  return {
    all: () => [...workers.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    get: (name) => workers.get(name),
    folder,
    versionFolder,

    async save(worker) {
      await mkdir(folder(worker.name), { recursive: true, mode: 0o700 });
      await replace(join(folder(worker.name), "worker.json"), JSON.stringify(worker, undefined, 2));
      workers.set(worker.name, worker);
    },

    async remove(name) {
      // The record goes first: without it the rest is no Worker.
      await rm(join(folder(name), "worker.json"), { force: true });
      workers.delete(name);
      await rm(folder(name), { recursive: true, force: true });
    },

    async secrets(name, version) {
      return JSON.parse(await readFile(join(versionFolder(name, version), "secrets.json"), "utf8")) as Record<
        string,
        string
      >;
    },

    contents: (name, version) =>
      Promise.all(version.modules.map(({ file }) => readFile(join(versionFolder(name, version.id), file)))),

    async writeVersion(name, version, contents, secrets) {
      const target = versionFolder(name, version.id);
      await mkdir(target, { recursive: true, mode: 0o700 });
      await Promise.all(version.modules.map((module, index) => replace(join(target, module.file), contents[index]!)));
      await replace(join(target, "secrets.json"), JSON.stringify(secrets));
    },

    async removeVersion(name, version) {
      await rm(versionFolder(name, version), { recursive: true, force: true });
    },
  };
}

/** The settings with those of a change in their place; what a change does not name stays. */
export function mergeSettings(settings: Settings, change: Partial<Settings>): Settings {
  return {
    logpush: change.logpush ?? settings.logpush,
    observability: { ...settings.observability, ...change.observability },
    tags: change.tags ?? settings.tags,
    tail_consumers: change.tail_consumers ?? settings.tail_consumers,
  };
}

/** Writes a whole file, readable by its owner only, such that a reader sees the old text or the new one. */
export async function replace(path: string, content: string | Uint8Array): Promise<void> {
  const draft = `${path}.draft`;
  await writeFile(draft, content, { mode: 0o600 });
  await rename(draft, path);
}
