import { CustomResource } from "@pulumi/pulumi";
import type { CustomResourceOptions, Input, Output } from "@pulumi/pulumi";
import type { MachineConfig } from "./api-types.ts";

export interface FlyAppArgs {
  readonly api: string;
  /** Global among all Fly apps. */
  readonly name: string;
  readonly organization: string;
}

/** A Fly app with the public addresses that make it reachable. Id: the app's name. */
export class FlyApp extends CustomResource {
  declare readonly ips: Output<readonly string[]>;
  constructor(name: string, args: FlyAppArgs, options?: CustomResourceOptions) {
    super("federation:index:FlyApp", name, { ...args, ips: undefined }, options);
  }
}

export interface FlySecretsArgs {
  readonly api: string;
  readonly app: string;
  readonly values: Readonly<Record<string, Input<string>>>;
}

/** Secrets of an app; others that it has are left alone. Machines get them when they are made or updated. Id: the app's name. */
export class FlySecrets extends CustomResource {
  /** What machines that need these values name as their least secrets version. */
  declare readonly version: Output<number>;
  constructor(name: string, args: FlySecretsArgs, options?: CustomResourceOptions) {
    super("federation:index:FlySecrets", name, { ...args, version: undefined, digests: undefined }, options);
  }
}

export interface FlyVolumeArgs {
  readonly api: string;
  readonly app: string;
  readonly name: string;
  readonly region: string;
  readonly sizeGb: number;
}

/** A disk for one machine. Id: `<app>/<volume>`. */
export class FlyVolume extends CustomResource {
  /** Fly's id of the volume. */
  declare readonly volume: Output<string>;
  constructor(name: string, args: FlyVolumeArgs, options?: CustomResourceOptions) {
    super("federation:index:FlyVolume", name, { ...args, volume: undefined }, options);
  }
}

export interface FlyMachineArgs {
  readonly api: string;
  readonly app: string;
  readonly name: string;
  readonly region: string;
  /** Fly's machine config without `files` and `mounts`. */
  readonly config: Input<Readonly<Record<string, unknown>> & Omit<MachineConfig, "files" | "mounts">>;
  /** Files of the project that are put on the machine; `path` is relative to the project's root. */
  readonly files: readonly { readonly guestPath: string; readonly path: string; readonly sha256: string }[];
  readonly mount: { readonly volume: Input<string>; readonly path: string };
  readonly secretsVersion: Input<number>;
}

/** A machine that is started and healthy; changes are made in place. Id: `<app>/<machine>`. */
export class FlyMachine extends CustomResource {
  /** Fly's id of the machine. */
  declare readonly machine: Output<string>;
  /** Changes with every update. */
  declare readonly instance: Output<string>;
  constructor(name: string, args: FlyMachineArgs, options?: CustomResourceOptions) {
    super("federation:index:FlyMachine", name, { ...args, machine: undefined, instance: undefined }, options);
  }
}
