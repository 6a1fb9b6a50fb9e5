import { CustomResource, type CustomResourceOptions, type Input, type Output } from "@pulumi/pulumi";
import type { PublicJwk } from "../functions/node/platform.ts";

export interface SigningKeyArgs {
  /** Whose key it is: `root`, `acme/edge`, `acme users`. */
  readonly owner: Input<string>;
  /** A new epoch is a new key. */
  readonly epoch: Input<number>;
}

/** An Ed25519 key pair that the stack keeps; the private half is encrypted in the state. */
export class SigningKey extends CustomResource {
  declare readonly publicKey: Output<PublicJwk>;
  /** JSON text of the private JWK; a secret. */
  declare readonly privateKey: Output<string>;

  constructor(name: string, args: SigningKeyArgs, options?: CustomResourceOptions) {
    super(
      "federation:index:SigningKey",
      name,
      { ...args, publicKey: undefined, privateKey: undefined, kid: undefined },
      options,
    );
  }
}
