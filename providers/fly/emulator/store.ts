import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { App, CheckStatus, IpAssignment, Machine, MachineConfig, MachineEvent, Volume } from "../api-types.ts";

export interface Lease {
  nonce: string;
  description?: string;
  /** Seconds since 1970. */
  expires_at: number;
  owner: string;
}

export interface MachineRecord {
  id: string;
  name: string;
  region: string;
  state: string;
  instance_id: string;
  private_ip: string;
  config: MachineConfig;
  created_at: string;
  updated_at: string;
  cordoned: boolean;
  /** Newest first. */
  events: MachineEvent[];
  versions: { version: string; user_config: MachineConfig }[];
  checks: CheckStatus[];
  lease?: Lease;
}

export interface IpRecord extends IpAssignment {
  created_at: string;
  region: string;
}

export interface AppRecord {
  name: string;
  organization: string;
  network: string;
  created_at: number;
  numeric_id: number;
  machines: MachineRecord[];
  volumes: (Volume & { created_at: string; encrypted: boolean; attached_machine_id: string | null })[];
  ips: IpRecord[];
  certificates: { hostname: string; created_at: string }[];
}

export interface SecretRecord {
  value: string;
  digest: string;
  created_at: string;
  updated_at: string;
}

/** Values never leave this record but into a machine's environment. */
export interface AppSecrets {
  version: number;
  current: Record<string, SecretRecord>;
  /** By machine: the values it was last made or updated with. */
  given: Record<string, Record<string, string>>;
}

/** The emulator's memory: one folder per app with a plain file and a secret one, both written whole at every change. */
export class Store {
  readonly #dir: string;
  readonly apps = new Map<string, AppRecord>();
  readonly #secrets = new Map<string, AppSecrets>();

  /** Reads what `dir` holds from before. */
  constructor(dir: string) {
    this.#dir = join(dir, "apps");
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#dir)) {
      this.apps.set(name, JSON.parse(readFileSync(this.#file(name, "app"), "utf8")) as AppRecord);
      this.#secrets.set(name, JSON.parse(readFileSync(this.#file(name, "secrets"), "utf8")) as AppSecrets);
    }
  }

  secrets(app: string): AppSecrets {
    const secrets = this.#secrets.get(app);
    if (!secrets) throw new Error(`no secrets record of app ${app}`);
    return secrets;
  }

  add(app: AppRecord): void {
    this.apps.set(app.name, app);
    this.#secrets.set(app.name, { version: 0, current: {}, given: {} });
    // The folder appears whole: a start after a crash never finds one file without the other.
    const draft = join(this.#dir, `../draft-${app.name}`);
    rmSync(draft, { recursive: true, force: true });
    mkdirSync(draft, { mode: 0o700 });
    for (const part of ["app", "secrets"] as const)
      writeFileSync(join(draft, `${part}.json`), this.#text(app.name, part), { mode: 0o600 });
    renameSync(draft, join(this.#dir, app.name));
  }

  save(app: AppRecord): void {
    // A machine may still report its end after its app was deleted.
    if (this.apps.get(app.name) === app) this.#write(app.name, "app");
  }

  saveSecrets(app: string): void {
    this.#write(app, "secrets");
  }

  remove(app: string): void {
    const trash = join(this.#dir, `../draft-${app}`);
    renameSync(join(this.#dir, app), trash);
    rmSync(trash, { recursive: true, force: true });
    this.apps.delete(app);
    this.#secrets.delete(app);
  }

  #text(app: string, part: "app" | "secrets"): string {
    return JSON.stringify(part === "app" ? this.apps.get(app) : this.#secrets.get(app));
  }

  #write(app: string, part: "app" | "secrets"): void {
    const path = this.#file(app, part);
    writeFileSync(`${path}.draft`, this.#text(app, part), { mode: 0o600 });
    renameSync(`${path}.draft`, path);
  }

  #file(app: string, part: "app" | "secrets"): string {
    return join(this.#dir, app, `${part}.json`);
  }
}

/** The app as the API shows it. */
export function showApp(app: AppRecord): App & { internal_numeric_id: number } {
  return {
    id: app.name,
    name: app.name,
    internal_numeric_id: app.numeric_id,
    network: app.network,
    status: app.machines.some(({ state }) => state !== "destroyed") ? "deployed" : "pending",
    machine_count: app.machines.filter(({ state }) => state !== "destroyed").length,
    volume_count: app.volumes.length,
    organization: { name: app.organization, slug: app.organization },
  };
}

/** The machine as the API shows it: its lease is seen by whoever asks for leases, the nonce only by its taker. */
export function showMachine(record: MachineRecord): Machine & { created_at: string; updated_at: string } {
  const { id, name, state, region, instance_id, private_ip, config, created_at, updated_at, cordoned, events, checks } =
    record;
  return {
    id,
    name,
    state,
    region,
    instance_id,
    version: instance_id,
    private_ip,
    config,
    created_at,
    updated_at,
    cordoned,
    events,
    checks,
  };
}
