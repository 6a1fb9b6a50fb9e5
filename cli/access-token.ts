import { randomUUID } from "node:crypto";
import { importJWK, SignJWT } from "jose";
import { UsageError } from "./errors.ts";
import { subject, type DeployedNode, type Network, type User } from "./network.ts";

const longestTtl = 24 * 3600;

/** An access token (RFC 9068) that opens the MCP endpoints of some nodes to a user. `ttl` is in seconds. */
export async function mintToken(
  network: Network,
  user: User,
  nodes: readonly DeployedNode[],
  ttl = 3600,
): Promise<string> {
  const { issuer, key } = network.issuers[user.organization]!;
  const jwk = JSON.parse(key) as { kid: string };
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({})
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: jwk.kid })
    .setIssuer(issuer)
    .setSubject(subject(user))
    .setAudience(nodes.map(({ url }) => `${url}/mcp`))
    .setIssuedAt(now)
    .setExpirationTime(now + ttl)
    .setJti(randomUUID())
    .sign(await importJWK(jwk, "EdDSA"));
}

/** Seconds of a duration such as `90s`, `15m` or `8h`. */
export function parseTtl(text: string): number {
  const [, count, unit] = /^([1-9]\d*)([smh])$/.exec(text) ?? [];
  const seconds = Number(count) * { s: 1, m: 60, h: 3600 }[unit as "s" | "m" | "h"];
  if (unit && seconds <= longestTtl) return seconds;
  throw new UsageError(`--ttl is "${text}"; it must be a number with s, m or h, at most 24h: 90s, 15m, 1h`);
}
