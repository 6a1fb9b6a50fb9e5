import { importJWK } from "jose/key/import";
import type { PrivateJwk, PublicJwk } from "../platform.ts";
import { BoundedMap } from "../state/bounded-map.ts";

const imported = new BoundedMap<string, CryptoKey>(256);

/** The key as WebCrypto wants it. Importing costs more than looking up, so the last few hundred stay. */
export async function verificationKey(key: PublicJwk): Promise<CryptoKey> {
  const known = imported.get(key.x);
  if (known) return known;
  // Only the public members: a private JWK passed by mistake must not become a signing key.
  const made = (await importJWK({ kty: key.kty, crv: key.crv, x: key.x }, "EdDSA")) as CryptoKey;
  imported.set(key.x, made);
  return made;
}

export async function signingKey(key: PrivateJwk): Promise<CryptoKey> {
  return (await importJWK({ kty: key.kty, crv: key.crv, x: key.x, d: key.d }, "EdDSA")) as CryptoKey;
}
