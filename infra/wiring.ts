import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import type { Grant, ManifestNode, ManifestOrganization, NodeId } from "../functions/node/federation/manifest.ts";
import type { PublicJwk } from "../functions/node/platform.ts";

export interface WiringArgs {
  readonly network: Input<string>;
  readonly nodes: Input<Record<NodeId, ManifestNode>>;
  readonly keys: Input<Record<NodeId, Input<Input<PublicJwk>[]>>>;
  readonly organizations: Input<Record<string, Input<OrganizationArgs>>>;
  readonly grants: Input<Grant[]>;
  /** JSON text of the network's private root key; a secret, and apart from the rest so that the rest shows in previews. */
  readonly rootKey: Input<string>;
}

interface OrganizationArgs {
  readonly users: ManifestOrganization["users"];
  readonly issuers: { readonly issuer: string; readonly keys: Input<PublicJwk>[] }[];
}

/** Signs the network's manifest, delivers it to all nodes and checks that each holds it. */
export class Wiring extends CustomResource {
  declare readonly serial: Output<number>;
  /** `sha256:` + hex of the signed manifest. */
  declare readonly digest: Output<string>;

  constructor(name: string, args: WiringArgs, options?: CustomResourceOptions) {
    const outputs = { serial: undefined, digest: undefined, manifest: undefined, held: undefined };
    super("federation:index:Wiring", name, { ...args, ...outputs }, options);
  }
}
