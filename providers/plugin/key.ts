import { calculateJwkThumbprint } from "jose/jwk/thumbprint";
import { exportJWK } from "jose/key/export";
import { generateKeyPair } from "jose/key/generate/keypair";
import * as z from "zod";
import type { PrivateJwk, PublicJwk } from "../../functions/node/platform.ts";
import { defineResource, ResourceError } from "./resource.ts";

interface Inputs {
  readonly owner: string;
  readonly epoch: number;
}

interface Outputs {
  readonly publicKey: PublicJwk;
  /** A `PrivateJwk` as JSON text: what a node's `FEDERATION_KEY` holds. */
  readonly privateKey: string;
  readonly kid: string;
}

/** An Ed25519 key pair that lives in the stack: the private half only encrypted, there and in what holds it later. */
export const signingKey = defineResource<Inputs, Outputs>({
  token: "federation:index:SigningKey",
  description:
    "An Ed25519 key pair of a node, or of the network's root. Another owner or epoch makes a new pair before the old one goes.",
  inputs: z.strictObject({
    owner: z.string().min(1).describe("Whose key it is: a node's id, or the network's root."),
    epoch: z.int().min(0).describe("Grows by one with each rotation."),
  }),
  secrets: ["privateKey"],
  replaceOn: ["owner", "epoch"],

  async create() {
    const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
    const { x, d } = await exportJWK(privateKey);
    if (!x || !d) throw new Error("an Ed25519 key pair was exported without x or d");
    const parts = { kty: "OKP", crv: "Ed25519", x } as const;
    const publicKey: PublicJwk = { ...parts, kid: await calculateJwkThumbprint(parts) };
    const whole: PrivateJwk = { ...publicKey, d };
    return { id: publicKey.kid, outputs: { publicKey, privateKey: JSON.stringify(whole), kid: publicKey.kid } };
  },

  async read(id, stored) {
    if (stored?.outputs.privateKey) return stored;
    throw new ResourceError(
      `the signing key ${id} cannot be imported: private keys exist only in the state of the stack that made them. ` +
        "Declare it without an import; `pulumi up` then makes a new one.",
    );
  },

  // Every input replaces the key, so there is nothing to bring in line.
  async update(_id, _inputs, stored) {
    return { outputs: stored.outputs };
  },

  // The key is nowhere but in the state.
  async delete() {},
});
