/** The parts of Fly's Machines API that the deployer and the emulator share. Names and shapes are Fly's. */

export interface App {
  readonly id: string;
  readonly name: string;
  readonly organization: { readonly name?: string; readonly slug: string };
  readonly status: string;
  readonly network: string;
  readonly machine_count: number;
  readonly volume_count: number;
}

export interface File {
  readonly guest_path: string;
  /** Base64. */
  readonly raw_value?: string;
  readonly secret_name?: string;
  readonly mode?: number;
}

export interface Check {
  readonly type?: string;
  readonly port?: number;
  readonly method?: string;
  readonly path?: string;
  readonly interval?: string;
  readonly timeout?: string;
  readonly grace_period?: string;
}

export interface Service {
  readonly protocol?: string;
  readonly internal_port?: number;
  /** The API also takes and gives booleans: false = off, true = stop. */
  readonly autostop?: string | boolean;
  readonly autostart?: boolean;
  readonly min_machines_running?: number;
  readonly ports?: readonly {
    readonly port?: number;
    readonly handlers?: readonly string[];
    readonly force_https?: boolean;
  }[];
  readonly checks?: readonly Check[];
}

export interface Mount {
  /** Id of a volume. */
  readonly volume?: string;
  readonly path?: string;
  readonly name?: string;
}

export interface MachineConfig {
  readonly image: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly init?: {
    readonly exec?: readonly string[];
    readonly entrypoint?: readonly string[];
    readonly cmd?: readonly string[];
  };
  readonly guest?: { readonly cpu_kind?: string; readonly cpus?: number; readonly memory_mb?: number };
  readonly files?: readonly File[];
  readonly mounts?: readonly Mount[];
  readonly services?: readonly Service[];
  readonly checks?: Readonly<Record<string, Check>>;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly restart?: { readonly policy?: string; readonly max_retries?: number };
  readonly stop_config?: { readonly signal?: string; readonly timeout?: string };
}

export type CheckState = "passing" | "warning" | "critical";

export interface CheckStatus {
  readonly name: string;
  readonly status: CheckState;
  readonly output: string;
  readonly updated_at: string;
}

export interface MachineEvent {
  readonly id: string;
  readonly type: string;
  readonly status: string;
  readonly source: string;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly request?: Readonly<Record<string, unknown>>;
}

export interface Machine {
  readonly id: string;
  readonly name: string;
  /** created, starting, started, stopping, stopped, suspended, failed, destroyed, ... */
  readonly state: string;
  readonly region: string;
  /** Changes with every update of the config; `version` is the same. */
  readonly instance_id: string;
  readonly version?: string;
  readonly private_ip?: string;
  readonly config: MachineConfig;
  readonly checks?: readonly CheckStatus[];
  readonly events?: readonly MachineEvent[];
  readonly cordoned?: boolean;
  /** Only in answers to a create that asked for a lease. */
  readonly nonce?: string;
}

export interface Volume {
  readonly id: string;
  readonly name: string;
  readonly region: string;
  readonly size_gb: number;
  /** created, pending_destroy, destroyed, ... */
  readonly state: string;
  readonly attached_machine_id?: string | null;
}

export interface Secret {
  readonly name: string;
  /** A hash of the value that Fly does not document; comparable with itself only. */
  readonly digest: string;
}

export interface IpAssignment {
  readonly ip: string;
  readonly shared: boolean;
}
