import {
  ComponentResource,
  type ComponentResourceOptions,
  type Output,
  type Resource,
  jsonStringify,
} from "@pulumi/pulumi";
import type { PublicJwk } from "../functions/node/platform.ts";
import type { Bundle, ProviderAdapter } from "../providers/adapter.ts";
import { ConfigError } from "./errors.ts";
import { SigningKey } from "./keys.ts";
import { nodeConfig, type PlannedNode } from "./plan.ts";

export interface FederationNodeArgs {
  readonly network: string;
  readonly node: PlannedNode;
  readonly adapter: ProviderAdapter;
  /** What the adapter's `account` answered for the node's organization. */
  readonly account: unknown;
  readonly bundle: Bundle;
  /** `FEDERATION_UPSTREAMS`, where the node needs it. */
  readonly upstreamSecrets?: Output<string> | undefined;
  /** Public half of the network's root key. */
  readonly root: Output<PublicJwk>;
}

/** One node: its key, and whatever its provider needs to run it. */
export class FederationNode extends ComponentResource {
  readonly publicKey: Output<PublicJwk>;
  /** Base URL as the provider reports it; fails where that is not the planned one, since every peer was told the planned one. */
  readonly url: Output<string>;
  /** The node serves once these exist. */
  readonly resources: readonly Resource[];

  constructor(name: string, args: FederationNodeArgs, options?: ComponentResourceOptions) {
    super("federation:infra:Node", name, {}, options);
    const { node, adapter } = args;
    const key = new SigningKey(`${name}-key`, { owner: node.id, epoch: 1 }, { parent: this });
    const deployed = adapter.deploy(
      {
        name: node.physicalName,
        node: node.id,
        url: node.url,
        settings: node.settings,
        bundle: args.bundle,
        config: jsonStringify({ ...nodeConfig(args.network, node), root: args.root }),
        key: key.privateKey,
        ...(args.upstreamSecrets && { upstreamSecrets: args.upstreamSecrets }),
        parent: this,
      },
      args.account,
    );
    this.publicKey = key.publicKey;
    this.resources = deployed.resources;
    this.url = deployed.url.apply((observed) => checkUrl(node, observed));
    this.registerOutputs({ url: this.url, publicKey: this.publicKey });
  }
}

function checkUrl(node: PlannedNode, observed: string): string {
  if (observed === node.url) return observed;
  throw new ConfigError([
    {
      path: `topology.organizations.${node.organization}.providers.${node.provider}`,
      value: observed,
      problem: `${node.provider} serves ${node.id} at another URL than the plan computed from these facts`,
      allowed: node.url,
      remedy: "Correct the account's facts so that they give the observed URL.",
    },
  ]);
}
