import type { ResourceType } from "./resource.ts";

/** A Pulumi package, as a plugin serves it. */
export interface ProviderPackage {
  /** `federation`; also the first part of each type's token. */
  readonly name: string;
  /** Semantic version. */
  readonly version: string;
  readonly types: readonly ResourceType[];
}
