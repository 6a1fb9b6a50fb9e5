import type { Output } from "@pulumi/pulumi";
import type { PublicJwk } from "../functions/node/platform.ts";
import type { Plan } from "./plan.ts";
import type { WiringArgs } from "./wiring.ts";

/** Public keys by owner, known once they were made. */
export interface ManifestKeys {
  readonly nodes: Readonly<Record<string, Output<PublicJwk>>>;
  /** Keys that sign the tokens of an organization's users. */
  readonly issuers: Readonly<Record<string, Output<PublicJwk>>>;
}

/**
 * What the manifest will say. Only keys are ever unknown, so the first preview already shows every peer and URL.
 */
export function manifestArgs(plan: Plan, keys: ManifestKeys): Omit<WiringArgs, "rootKey"> {
  return {
    network: plan.network,
    nodes: { ...plan.manifest.nodes },
    keys: Object.fromEntries(Object.entries(keys.nodes).map(([id, key]) => [id, [key]])),
    organizations: Object.fromEntries(
      plan.organizations.map(({ name, users, issuer }) => [
        name,
        { users, issuers: [{ issuer, keys: [keys.issuers[name]!] }] },
      ]),
    ),
    grants: [...plan.manifest.grants],
  };
}
