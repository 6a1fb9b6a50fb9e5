import type { ComponentResource, Input, Output, Resource } from "@pulumi/pulumi";
import type * as z from "zod";

export type ProviderName = "cloudflare" | "supabase" | "fly";

/** What a provider accepts as a physical name. */
export interface NameRule {
  readonly pattern: RegExp;
  readonly maxLength: number;
  /** The rule in words, for error messages: "lower-case letters, digits and dashes, ...". */
  readonly words: string;
}

/** Documented limits that the plan checks before anything is created. */
export interface Limits {
  /** Largest bundle, bytes before compression. */
  readonly bundleBytes: number;
  /** Largest value of one variable or secret, bytes. */
  readonly variableBytes: number;
}

/** How esbuild compiles a function set for a provider. */
export interface BundleTarget {
  /** Module that exports `bridge`, relative to the project's root. */
  readonly entry: string;
  readonly platform: "neutral" | "node" | "browser";
  /** Export conditions, first match wins inside each package. */
  readonly conditions: readonly string[];
  /** Modules the platform itself provides. */
  readonly external: readonly string[];
  /** Modules that stand in for packages, by package name; paths relative to the project's root. */
  readonly alias?: Readonly<Record<string, string>>;
  /** `export` = the module's default export is what `bridge` answers (Workers); `call` = `bridge` is run for its effect (servers). */
  readonly start: "export" | "call";
  /** Named exports of the entry that the bundle must export too (Durable Object classes). */
  readonly named: readonly string[];
}

/** A function set compiled for one provider. */
export interface Bundle {
  readonly provider: ProviderName;
  readonly functions: readonly string[];
  /** ECMAScript module text, the same bytes on every machine. */
  readonly code: string;
  /** Hex. */
  readonly sha256: string;
  /** Of `code` on disk, relative to the project's root; the name holds the hash. */
  readonly path: string;
  readonly bytes: number;
  readonly gzipBytes: number;
}

/** What a node of one organization is deployed with. */
export interface Deployment<Settings> {
  /** Physical name, unique in the account. */
  readonly name: string;
  /** `organization/node`. */
  readonly node: string;
  /** As the plan computed it, without a trailing slash. */
  readonly url: string;
  readonly settings: Settings;
  readonly bundle: Bundle;
  /** Value of `FEDERATION_CONFIG`, JSON text. */
  readonly config: Input<string>;
  /** Value of `FEDERATION_KEY`, JSON text; a secret. */
  readonly key: Input<string>;
  /** Value of `FEDERATION_UPSTREAMS`, JSON text; a secret. Absent where no upstream wants one. */
  readonly upstreamSecrets?: Input<string>;
  /** Component that owns the resources. */
  readonly parent: ComponentResource;
}

export interface Deployed {
  /** As the provider reports it, where it does; compared with the plan's. */
  readonly url: Output<string>;
  /** The node serves once all of these exist. */
  readonly resources: readonly Resource[];
}

/**
 * All that the toolkit knows about one provider, as data and three functions.
 *
 * `Settings` are the account's facts in the stack config (`organizations.<name>.providers.<provider>`);
 * `Account` is what all nodes of one organization share there (a provider instance, a database schema).
 */
export interface ProviderAdapter<Settings = unknown, Account = unknown> {
  readonly name: ProviderName;
  /** What runs the node, for people: "workerd", "Deno", "Node.js". */
  readonly runtime: string;
  readonly settings: z.ZodType<Settings>;
  readonly names: NameRule;
  readonly limits: Limits;
  readonly target: BundleTarget;
  /** Base URL of a node without a trailing slash; pure, so that every peer's URL is known before a resource exists. */
  urlFor(name: string, settings: Settings): string;
  /** Called once for each organization that has nodes here. */
  account(organization: string, settings: Settings, parent: ComponentResource): Account;
  deploy(deployment: Deployment<Settings>, account: Account): Deployed;
}
