import { type Output, all, secret } from "@pulumi/pulumi";
import type { ProviderAdapter, ProviderName } from "../providers/adapter.ts";
import type { Federation } from "./federation.ts";
import type { Plan } from "./plan.ts";

/** The stack's outputs, which the command line and other stacks read. `issuers` is a secret: its keys sign user tokens. */
export function stackOutputs(
  plan: Plan,
  federation: Federation,
  adapters: Readonly<Record<ProviderName, ProviderAdapter>>,
) {
  const { wiring, nodes, issuerKeys } = federation;
  return {
    network: plan.network,
    nodes: Object.fromEntries(
      plan.nodes.map(({ id, organization, provider, functions }) => [
        id,
        { organization, provider, runtime: adapters[provider].runtime, url: nodes.get(id)!.url, functions },
      ]),
    ),
    manifest: { serial: wiring.serial, digest: wiring.digest },
    issuers: secret(
      all(
        Object.fromEntries(
          plan.organizations.map(({ name, issuer, users }) => [
            name,
            all({ key: issuerKeys.get(name)!.privateKey }).apply(({ key }) => ({ issuer, key, users })),
          ]),
        ),
      ),
    ) as Output<Record<string, { issuer: string; key: string; users: readonly string[] }>>,
  };
}
