import { rmSync } from "node:fs";
import { join } from "node:path";
import type { EmulatorHost, Runtime } from "../../local-cloud/emulator.ts";
import type { MachineConfig } from "../api-types.ts";
import { checksOf, watch } from "./checks.ts";
import { ApiError } from "./http.ts";
import { randomId, ulid } from "./ids.ts";
import { LaunchError, runtimeSpec } from "./runtime.ts";
import { giveSecrets, takeSecrets } from "./secrets.ts";
import type { AppRecord, MachineRecord, Store } from "./store.ts";

const keptEvents = 20;
const keptVersions = 10;
const keptDestroyed = 20;

/** What becomes of machines: their records, processes, checks, and whoever waits for them. */
export class Machines {
  readonly #store: Store;
  readonly #host: EmulatorHost;
  readonly #checks = new Map<string, AbortController>();
  readonly #watchers = new Set<() => void>();
  #turn = 0;

  constructor(store: Store, host: EmulatorHost) {
    this.#store = store;
    this.#host = host;
  }

  /** Brings up what ran before the emulator was stopped. */
  async resume(): Promise<void> {
    const running = [...this.#store.apps.values()].flatMap((app) =>
      app.machines
        .filter(({ state }) => state === "started" || state === "starting")
        .map((machine) => ({ app, machine })),
    );
    await Promise.all(running.map(({ app, machine }) => this.#launch(app, machine)));
  }

  create(
    app: AppRecord,
    body: { name?: string; region?: string; config: MachineConfig; skip_launch?: boolean },
  ): MachineRecord {
    const id = randomId(14);
    const now = new Date().toISOString();
    const version = ulid();
    const machine: MachineRecord = {
      id,
      name: body.name ?? `m-${id}`,
      region: body.region ?? "ams",
      state: "created",
      instance_id: version,
      private_ip: `fdaa:0:1::${id.slice(-4)}`,
      config: body.config,
      created_at: now,
      updated_at: now,
      cordoned: false,
      events: [],
      versions: [{ version, user_config: body.config }],
      checks: [],
    };
    this.#attach(app, machine);
    app.machines.push(machine);
    giveSecrets(this.#store, app.name, id);
    this.#event(app, machine, "launch", "created", "user");
    if (!body.skip_launch) void this.#launch(app, machine);
    return machine;
  }

  update(app: AppRecord, machine: MachineRecord, body: { config: MachineConfig; skip_launch?: boolean }): void {
    const version = ulid();
    const before = machine.config;
    machine.config = body.config;
    try {
      this.#attach(app, machine);
    } catch (error) {
      machine.config = before;
      throw error;
    }
    machine.instance_id = version;
    machine.versions = [{ version, user_config: body.config }, ...machine.versions].slice(0, keptVersions);
    giveSecrets(this.#store, app.name, machine.id);
    this.#event(app, machine, "update", "replacing", "user");
    if (!body.skip_launch) void this.#launch(app, machine);
  }

  start(app: AppRecord, machine: MachineRecord): void {
    if (machine.state === "started" || machine.state === "starting") return;
    void this.#launch(app, machine);
  }

  async stop(app: AppRecord, machine: MachineRecord, end: "stopped" | "suspended" = "stopped"): Promise<void> {
    if (machine.state === end) return;
    this.#event(app, machine, end === "stopped" ? "stop" : "suspend", "stopping", "user");
    await this.#end(machine);
    this.#event(app, machine, "exit", end, "flyd");
  }

  async restart(app: AppRecord, machine: MachineRecord): Promise<void> {
    await this.#end(machine);
    void this.#launch(app, machine);
  }

  async destroy(app: AppRecord, machine: MachineRecord): Promise<void> {
    this.#event(app, machine, "destroy", "destroying", "user");
    await this.#end(machine);
    for (const volume of app.volumes)
      if (volume.attached_machine_id === machine.id) Object.assign(volume, { attached_machine_id: null });
    takeSecrets(this.#store, app.name, machine.id);
    rmSync(this.#folder(machine.id), { recursive: true, force: true });
    machine.checks = [];
    delete machine.lease;
    const destroyed = app.machines.filter(({ state }) => state === "destroyed");
    const forgotten = new Set(destroyed.slice(0, Math.max(0, destroyed.length + 1 - keptDestroyed)));
    app.machines = app.machines.filter((other) => !forgotten.has(other));
    this.#event(app, machine, "exit", "destroyed", "flyd");
  }

  async destroyAll(app: AppRecord): Promise<void> {
    await Promise.all(
      app.machines.filter(({ state }) => state !== "destroyed").map((machine) => this.destroy(app, machine)),
    );
    for (const { id } of app.volumes) rmSync(this.volumeDir(id), { recursive: true, force: true });
  }

  /** True once `done` holds; false after `ms` or when the caller left. */
  wait(done: () => boolean, ms: number, signal: AbortSignal): Promise<boolean> {
    if (done()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const look = (): void => void (done() && finish(true));
      const leave = (): void => finish(false);
      const timer = setTimeout(leave, ms);
      const finish = (answer: boolean): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        signal.removeEventListener("abort", leave);
        resolve(answer);
      };
      this.#watchers.add(look);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  save(app: AppRecord): void {
    this.#store.save(app);
  }

  /** The runtime for the next request of an app: its started machines in turn, those that pass their checks first. */
  pick(app: AppRecord): string | undefined {
    const ready = app.machines.filter(({ state, cordoned }) => state === "started" && !cordoned);
    const passing = ready.filter(({ checks }) => checks.every(({ status }) => status === "passing"));
    const candidates = passing.length > 0 ? passing : ready;
    const machine = candidates[(this.#turn += 1) % candidates.length];
    return machine && runtimeName(machine.id);
  }

  process(machine: MachineRecord): Runtime | undefined {
    return this.#host.runtimes.get(runtimeName(machine.id));
  }

  volumeDir(id: string): string {
    return join(this.#host.dir, "volumes", id);
  }

  async #launch(app: AppRecord, machine: MachineRecord): Promise<void> {
    const version = machine.instance_id;
    const isCurrent = (): boolean => machine.instance_id === version && machine.state === "starting";
    this.#stopChecks(machine);
    machine.checks = checksOf(machine.config).map(({ name }) => ({
      name,
      status: "warning",
      output: "not checked yet",
      updated_at: new Date().toISOString(),
    }));
    this.#event(app, machine, "start", "starting", "flyd");
    try {
      const secrets = this.#store.secrets(app.name).given[machine.id] ?? {};
      const folders = { root: this.#folder(machine.id), volume: (id: string) => this.volumeDir(id) };
      await this.#host.runtimes.start(runtimeName(machine.id), runtimeSpec(app, machine, secrets, folders));
    } catch (error) {
      // The end of a start that an update, a stop or a delete overtook is what was wanted.
      if (!isCurrent()) return;
      await this.#host.runtimes.stop(runtimeName(machine.id));
      const reason = (error as Error).message;
      if (!(error instanceof LaunchError)) this.#host.log(`fly: machine ${machine.id} of ${app.name}: ${reason}`);
      this.#event(app, machine, "exit", "failed", "flyd", { exit_event: { error: reason } });
      return;
    }
    if (!isCurrent()) return;
    this.#event(app, machine, "start", "started", "flyd");
    this.#startChecks(app, machine);
  }

  #startChecks(app: AppRecord, machine: MachineRecord): void {
    const abort = new AbortController();
    this.#checks.set(machine.id, abort);
    for (const check of checksOf(machine.config)) {
      const report = (result: { status: MachineRecord["checks"][number]["status"]; output: string }): void => {
        const before = machine.checks.find(({ name }) => name === check.name);
        if (before?.status === result.status && before.output === result.output) return;
        machine.checks = machine.checks.map((old) =>
          old === before ? { name: check.name, ...result, updated_at: new Date().toISOString() } : old,
        );
        this.save(app);
      };
      void watch(check, () => this.process(machine)?.port, report, abort.signal);
    }
  }

  /** Ends the checks; what they found last stays as it is. */
  close(): void {
    for (const checks of this.#checks.values()) checks.abort();
    this.#checks.clear();
  }

  #stopChecks(machine: MachineRecord): void {
    this.#checks.get(machine.id)?.abort();
    this.#checks.delete(machine.id);
  }

  async #end(machine: MachineRecord): Promise<void> {
    this.#stopChecks(machine);
    await this.#host.runtimes.stop(runtimeName(machine.id));
  }

  #event(
    app: AppRecord,
    machine: MachineRecord,
    type: string,
    status: string,
    source: string,
    request?: Record<string, unknown>,
  ): void {
    machine.state = status;
    machine.updated_at = new Date().toISOString();
    machine.events = [
      { id: ulid(), type, status, source, timestamp: Date.now(), ...(request && { request }) },
      ...machine.events,
    ].slice(0, keptEvents);
    this.save(app);
    for (const look of this.#watchers) look();
  }

  /** A volume is in one machine at a time, and in the machine's region. */
  #attach(app: AppRecord, machine: MachineRecord): void {
    const volumes = (machine.config.mounts ?? []).map(({ volume: id }) => {
      const volume = app.volumes.find((candidate) => candidate.id === id);
      if (!volume) throw new ApiError(400, `volume ${id} was not found`);
      if (volume.region !== machine.region)
        throw new ApiError(412, `volume ${id} is in ${volume.region}, the machine in ${machine.region}`);
      if (volume.attached_machine_id && volume.attached_machine_id !== machine.id) {
        throw new ApiError(412, `volume ${id} is attached to machine ${volume.attached_machine_id}`);
      }
      return volume;
    });
    for (const volume of app.volumes)
      if (volume.attached_machine_id === machine.id) Object.assign(volume, { attached_machine_id: null });
    for (const volume of volumes) Object.assign(volume, { attached_machine_id: machine.id });
  }

  #folder(id: string): string {
    return join(this.#host.dir, "machines", id);
  }
}

function runtimeName(machine: string): string {
  return `fly-${machine}`;
}
