import { createHash } from "node:crypto";
import { CompactSign } from "jose/jws/compact/sign";
import { manifestType, type Manifest } from "../../functions/node/federation/manifest.ts";
import type { PrivateJwk } from "../../functions/node/platform.ts";

/** What a manifest says, without the number of the version that says it. */
export type ManifestContent = Omit<Manifest, "serial">;

/** Which manifest somebody holds; serial 0 = none. */
export interface Holding {
  readonly serial: number;
  /** `sha256:` + hex of the JWS text. */
  readonly digest?: string;
}

export interface SignedManifest extends Required<Holding> {
  /** JWS in compact form (RFC 7515). */
  readonly jws: string;
}

/**
 * The manifest with this content that everybody will take, given what is held so far. Signing is deterministic, so a
 * manifest that was delivered before is recognized by its digest and keeps its serial, even if the stack's state was
 * lost before it was written; any other content gets a serial above all that was seen.
 */
export async function nextManifest(
  content: ManifestContent,
  root: PrivateJwk,
  seen: readonly Holding[],
): Promise<SignedManifest> {
  const highest = Math.max(0, ...seen.map((holding) => holding.serial));
  if (highest > 0) {
    const same = await signManifest({ ...content, serial: highest }, root);
    if (seen.every((holding) => holding.serial < highest || holding.digest === same.digest)) return same;
  }
  return signManifest({ ...content, serial: highest + 1 }, root);
}

/** Signs a manifest; equal ones get equal signatures, as Ed25519 draws no random numbers. */
export async function signManifest(manifest: Manifest, root: PrivateJwk): Promise<SignedManifest> {
  const jws = await new CompactSign(new TextEncoder().encode(canonicalJson(manifest)))
    .setProtectedHeader({ alg: "EdDSA", typ: manifestType, kid: root.kid })
    .sign({ ...root });
  return { serial: manifest.serial, digest: digestOf(jws), jws };
}

export function digestOf(jws: string): string {
  return `sha256:${createHash("sha256").update(jws).digest("hex")}`;
}

/** Reads a manifest of ours back. Its signature is not checked: it comes from the stack's own state. */
export function parseManifest(jws: string): Manifest {
  const payload = jws.split(".")[1];
  if (payload === undefined) throw new Error("the stored manifest is not a JWS in compact form");
  return JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as Manifest;
}

export function holds(holding: Holding, wanted: Required<Holding>): boolean {
  return holding.serial === wanted.serial && holding.digest === wanted.digest;
}

/** JSON text with sorted keys and no space, so that equal values give equal bytes. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    // Not a literal: integer-like keys would come first and `__proto__` would be lost.
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  });
}
