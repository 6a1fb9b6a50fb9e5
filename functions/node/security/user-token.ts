import { jwtVerify } from "jose/jwt/verify";
import type { Manifest } from "../federation/manifest.ts";
import { userTokenType } from "../federation/manifest.ts";
import { verifyWith } from "./token-keys.ts";
import { clockSkew, type Principal } from "./principal.ts";
import type { UnverifiedToken } from "./token-keys.ts";
import { invalidToken } from "./unauthorized.ts";

/** Checks a user's access token (RFC 9068). `audience` is this node's MCP endpoint. Throws `Unauthorized`. */
export async function verifyUserToken(
  token: UnverifiedToken,
  manifest: Manifest,
  audience: string,
): Promise<Principal> {
  const { sub, iss } = token.claims;
  const user = typeof sub === "string" ? parseSubject(sub) : undefined;
  if (!user || typeof iss !== "string") throw invalidToken("the token needs sub (name@organization) and iss");
  const organization = Object.hasOwn(manifest.organizations, user.organization)
    ? manifest.organizations[user.organization]
    : undefined;
  const issuer = organization?.issuers.find((candidate) => candidate.issuer === iss);
  if (!organization || !issuer)
    throw invalidToken("the token's issuer does not sign for its organization in this network");

  await verifyWith(token, issuer.keys, async (key) => {
    await jwtVerify(token.text, key, {
      algorithms: ["EdDSA"],
      typ: userTokenType,
      issuer: iss,
      audience,
      requiredClaims: ["exp", "iat", "sub"],
      clockTolerance: clockSkew,
    });
  });
  if (!organization.users.includes(user.name)) throw invalidToken("the token's user is not in the manifest");
  return { subject: sub as string, organization: user.organization, actors: [], via: [] };
}

/** Splits `name@organization`; the organization is what follows the last `@`. */
export function parseSubject(subject: string): { readonly name: string; readonly organization: string } | undefined {
  const at = subject.lastIndexOf("@");
  return at > 0 && at < subject.length - 1
    ? { name: subject.slice(0, at), organization: subject.slice(at + 1) }
    : undefined;
}
