/** A process to keep alive: a provider's real runtime with a deployed node in it. */
export interface RuntimeSpec {
  readonly command: string;
  /** `port` is a free loopback port, another one at each start. The runtime must bind 127.0.0.1 only. */
  readonly args: (port: number) => readonly string[];
  /** The whole environment; nothing is inherited but PATH. */
  readonly env: (port: number) => Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Path that answers any HTTP status below 500 once the runtime serves; TCP connect when absent. */
  readonly readyPath?: string;
}

export interface Runtime {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  /** Times it was brought back after it ended by itself. */
  readonly restarts: number;
}

/** Keeps runtimes alive: starts, restarts with back-off, stops; logs go to files. */
export interface Runtimes {
  /** Starts it, or stops and starts it anew with another spec; answers once it is ready. Throws with the log's last lines when it never is. */
  start(name: string, spec: RuntimeSpec): Promise<Runtime>;
  /** Ends it for good and waits for its end; no error when there is none. */
  stop(name: string): Promise<void>;
  get(name: string): Runtime | undefined;
}

/** What the local cloud gives an emulator. */
export interface EmulatorHost {
  /** A folder of its own, mode 0700; what it writes here survives restarts. Write whole files by rename. */
  readonly dir: string;
  /** Where it is reached: `http://127.0.0.1:7700/<provider>`. */
  readonly url: string;
  /** Bearer token that its control plane accepts. */
  readonly token: string;
  readonly runtimes: Runtimes;
  log(line: string): void;
}

/** Where a request of the data plane goes. */
export interface Route {
  /** Name of the runtime. */
  readonly runtime: string;
  /** Path and query to ask it for. */
  readonly path: string;
}

/** A provider's control plane on this machine. Paths it sees start after its own prefix (`/<provider>`). */
export interface Emulator {
  /** Data plane: which runtime serves this path; undefined = the control plane answers it in `handle`. */
  route(path: string): Route | undefined;
  /** Control plane, and data APIs that are not a deployed node. Answers provider-shaped errors; throws only on its own faults. */
  handle(request: Request): Promise<Response>;
  /** Ends what it does by itself (checks, databases) and leaves its folder in order; its runtimes were stopped before. */
  close?(): Promise<void>;
}

/** Starts an emulator: reads its folder and brings up every runtime that was deployed before. */
export type StartEmulator = (host: EmulatorHost) => Promise<Emulator>;
