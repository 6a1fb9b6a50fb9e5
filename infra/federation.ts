import { ComponentResource, type ComponentResourceOptions, type Output } from "@pulumi/pulumi";
import type { Bundle, ProviderAdapter, ProviderName } from "../providers/adapter.ts";
import { SigningKey } from "./keys.ts";
import { manifestArgs } from "./manifest.ts";
import { FederationNode } from "./node.ts";
import type { Plan } from "./plan.ts";
import { Wiring } from "./wiring.ts";

export interface FederationArgs {
  readonly plan: Plan;
  /** Compiled bundles by id. */
  readonly bundles: ReadonlyMap<string, Bundle>;
  readonly adapters: Readonly<Record<ProviderName, ProviderAdapter>>;
  /** `FEDERATION_UPSTREAMS` by node id. */
  readonly upstreamSecrets: ReadonlyMap<string, Output<string>>;
}

/** A whole network: keys, nodes, and the manifest that wires them. Nodes deploy in parallel; none waits for a peer. */
export class Federation extends ComponentResource {
  readonly nodes: ReadonlyMap<string, FederationNode>;
  /** Keys that sign user tokens, by organization. */
  readonly issuerKeys: ReadonlyMap<string, SigningKey>;
  readonly wiring: Wiring;

  constructor(
    name: string,
    { plan, bundles, adapters, upstreamSecrets }: FederationArgs,
    options?: ComponentResourceOptions,
  ) {
    super("federation:infra:Federation", name, {}, options);
    const root = new SigningKey("root-key", { owner: "root", epoch: 1 }, { parent: this });
    this.issuerKeys = new Map(
      plan.organizations.map(({ name: organization }) => [
        organization,
        new SigningKey(`${organization}-issuer-key`, { owner: `${organization} users`, epoch: 1 }, { parent: this }),
      ]),
    );

    const accounts = new Map<string, unknown>();
    this.nodes = new Map(
      plan.nodes.map((node) => {
        const adapter = adapters[node.provider];
        const account = `${node.organization}/${node.provider}`;
        if (!accounts.has(account)) accounts.set(account, adapter.account(node.organization, node.settings, this));
        const args = {
          network: plan.network,
          node,
          adapter,
          account: accounts.get(account),
          bundle: bundles.get(node.bundle)!,
          root: root.publicKey,
          upstreamSecrets: upstreamSecrets.get(node.id),
        };
        return [node.id, new FederationNode(`${node.organization}-${node.name}`, args, { parent: this })];
      }),
    );

    const keys = {
      nodes: Object.fromEntries([...this.nodes].map(([id, node]) => [id, node.publicKey])),
      issuers: Object.fromEntries([...this.issuerKeys].map(([organization, key]) => [organization, key.publicKey])),
    };
    this.wiring = new Wiring(
      "manifest",
      { ...manifestArgs(plan, keys), rootKey: root.privateKey },
      { parent: this, dependsOn: [...this.nodes.values()].flatMap((node) => node.resources) },
    );
    this.registerOutputs({ serial: this.wiring.serial });
  }
}
