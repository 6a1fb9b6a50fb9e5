import { decodeJwt } from "jose/jwt/decode";
import { decodeProtectedHeader } from "jose/decode/protected_header";
import type { PublicJwk } from "../platform.ts";
import type { Fields } from "../protocol/rpc.ts";
import { verificationKey } from "./keys.ts";
import { invalidToken } from "./unauthorized.ts";

/** A token as it came: good for choosing the key that it must be checked with, and for nothing else. */
export interface UnverifiedToken {
  readonly text: string;
  readonly header: Fields;
  readonly claims: Fields;
}

/** Reads a JWT without believing it. Throws `Unauthorized`. */
export function parseToken(text: string): UnverifiedToken {
  try {
    return { text, header: decodeProtectedHeader(text) as Fields, claims: decodeJwt(text) };
  } catch {
    throw invalidToken("the token is not a JWT");
  }
}

/** Runs `verify` with the one key that the token's `kid` names. Throws `Unauthorized` for no such key and for every fault `verify` finds. */
export async function verifyWith(
  token: UnverifiedToken,
  keys: readonly PublicJwk[],
  verify: (key: CryptoKey) => Promise<void>,
): Promise<void> {
  const { kid } = token.header;
  const key = kid === undefined && keys.length === 1 ? keys[0] : keys.find((candidate) => candidate.kid === kid);
  if (!key) throw invalidToken("the token names a key that the manifest does not hold");
  try {
    await verify(await verificationKey(key));
  } catch (cause) {
    throw invalidToken((cause as Error).message);
  }
}
