import { encode } from "jose/base64url";
import { jwtVerify } from "jose/jwt/verify";
import { hopTokenType, type Manifest, type NodeId } from "../federation/manifest.ts";
import type { NodeConfig, PrivateJwk } from "../platform.ts";
import { isFields } from "../protocol/rpc.ts";
import { signingKey } from "./keys.ts";
import { clockSkew, hopLifetime, maxHops, type Principal } from "./principal.ts";
import type { ReplayGuard } from "./replay.ts";
import { type UnverifiedToken, verifyWith } from "./token-keys.ts";
import { invalidToken } from "./unauthorized.ts";
import { parseSubject } from "./user-token.ts";

/** What a hop token is minted for. */
export interface HopRequest {
  /** The peer's MCP endpoint. */
  readonly audience: string;
  readonly principal: Principal;
  readonly callId: string;
  readonly scope: string;
  /** Serial of the manifest that the minting node holds. */
  readonly serial: number;
}

/** RFC 8693 `act`: who acts, and for whom that one acted before. */
interface Act {
  readonly sub: NodeId;
  readonly act?: Act;
}

export type MintHop = (request: HopRequest) => Promise<string>;

/** How a runtime signs text with the node's key; WebCrypto's own way answers a promise. */
export type Sign = (text: string) => Uint8Array | Promise<Uint8Array>;

/**
 * Makes the minter of this node's hop tokens: one token per request, one audience, one scope, a minute of life.
 * The JWT (RFC 7519, EdDSA of RFC 8037) is put together here, since each relayed call pays for it.
 */
export function hopMinter(node: NodeId, key: PrivateJwk, sign: Sign = webSigner(key)): MintHop {
  const header = encodeText(JSON.stringify({ alg: "EdDSA", typ: hopTokenType, kid: key.kid }));
  return async ({ audience, principal, callId, scope, serial }) => {
    const now = Math.floor(Date.now() / 1000);
    const via = [...principal.via, node];
    const act = via.reduce<Act | undefined>((before, sub) => (before ? { sub, act: before } : { sub }), undefined);
    const jti = crypto.randomUUID();
    const registered = { iss: node, sub: principal.subject, aud: audience, iat: now, exp: now + hopLifetime, jti };
    const claims = { ...registered, act, via, cid: callId, serial, scope };
    const signed = `${header}.${encodeText(JSON.stringify(claims))}`;
    const signature = sign(signed);
    return `${signed}.${encode(signature instanceof Promise ? await signature : signature)}`;
  };
}

/** Base64url of UTF-8. Names are nearly always ASCII, for which `btoa` does it at a fraction of the cost. */
function encodeText(text: string): string {
  if (!/^[\x20-\x7e]*$/.test(text)) return encode(text);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function webSigner(key: PrivateJwk): Sign {
  let signer: CryptoKey | undefined;
  return async (text) => {
    signer ??= await signingKey(key);
    return new Uint8Array(await crypto.subtle.sign("Ed25519", signer, new TextEncoder().encode(text)));
  };
}

/** A node that acts for itself, as when it fetches the manifest. */
export function nodePrincipal({ node }: NodeConfig): Principal {
  return { subject: node, organization: node.slice(0, node.indexOf("/")), actors: [], via: [] };
}

/** Checks a token that another node minted for this one. The scope is left to the caller. Throws `Unauthorized`. */
export async function verifyHopToken(
  token: UnverifiedToken,
  manifest: Manifest,
  config: NodeConfig,
  replay: ReplayGuard,
): Promise<Principal> {
  const { iss } = token.claims;
  if (typeof iss !== "string" || !Object.hasOwn(manifest.nodes, iss))
    throw invalidToken("the token's issuer is not a node of this network");
  const keys = Object.hasOwn(manifest.keys, iss) ? (manifest.keys[iss] ?? []) : [];
  await verifyWith(token, keys, async (key) => {
    await jwtVerify(token.text, key, {
      algorithms: ["EdDSA"],
      typ: hopTokenType,
      issuer: iss,
      audience: `${config.url}/mcp`,
      requiredClaims: ["exp", "iat", "sub", "jti"],
      maxTokenAge: hopLifetime,
      clockTolerance: clockSkew,
    });
  });
  const { sub, iat, exp, jti, via, act, cid, scope, serial } = token.claims;
  if ((exp as number) - (iat as number) > hopLifetime)
    throw invalidToken(`a hop token lives at most ${hopLifetime} seconds`);
  if (!isShortText(jti) || !isShortText(cid) || typeof scope !== "string")
    throw invalidToken("a hop token needs jti, cid and scope");
  if (!Number.isSafeInteger(serial)) throw invalidToken("a hop token needs the serial of its node's manifest");
  const path = readPath(via, act, iss);
  if (path.includes(config.node)) throw invalidToken(`the request would loop: it came through ${config.node} before`);
  const stranger = path.find((node) => !Object.hasOwn(manifest.nodes, node));
  if (stranger !== undefined)
    throw invalidToken(`the token came through ${JSON.stringify(stranger)}, which is not a node of this network`);
  const organization = organizationOf(sub as string, scope, iss, manifest);
  if (!replay.firstUse(`${iss} ${jti}`, exp as number)) throw invalidToken("the token was used before");
  return {
    subject: sub as string,
    organization,
    actors: path,
    via: path,
    hop: { caller: iss, callId: cid, scope, serial: serial as number },
  };
}

/** The path vector, which must tell the same story as the `act` chain: policy rests on one, loop detection on the other. */
function readPath(via: unknown, act: unknown, caller: NodeId): readonly NodeId[] {
  if (!Array.isArray(via) || via.length === 0 || via.length > maxHops)
    throw invalidToken(`via must name 1 to ${maxHops} nodes`);
  if (via.at(-1) !== caller) throw invalidToken("the last node of via must be the token's issuer");
  let step: unknown = act;
  for (const node of via.toReversed()) {
    if (!isFields(step) || step["sub"] !== node || typeof node !== "string")
      throw invalidToken("via and act must name the same nodes");
    step = step["act"];
  }
  if (step !== undefined) throw invalidToken("via and act must name the same nodes");
  if (new Set(via).size !== via.length) throw invalidToken("via names a node twice");
  return via as readonly NodeId[];
}

/** A node may act for a user of the manifest; for itself only to fetch the manifest. */
function organizationOf(subject: string, scope: string, caller: NodeId, manifest: Manifest): string {
  if (scope === "manifest" && subject === caller) return manifest.nodes[caller]?.organization as string;
  const user = parseSubject(subject);
  const organization =
    user && Object.hasOwn(manifest.organizations, user.organization)
      ? manifest.organizations[user.organization]
      : undefined;
  if (!user || !organization?.users.includes(user.name)) throw invalidToken("the token's user is not in the manifest");
  return user.organization;
}

function isShortText(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= 128;
}
