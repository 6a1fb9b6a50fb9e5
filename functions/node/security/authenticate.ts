import type { CatchUp } from "../federation/catch-up.ts";
import type { HeldManifest } from "../federation/held-manifest.ts";
import { hopTokenType, userTokenType } from "../federation/manifest.ts";
import type { HeaderReader, NodeConfig } from "../platform.ts";
import { verifyHopToken } from "./hop-token.ts";
import { BoundedMap } from "../state/bounded-map.ts";
import type { Principal } from "./principal.ts";
import type { ReplayGuard } from "./replay.ts";
import { parseToken, type UnverifiedToken } from "./token-keys.ts";
import { invalidToken, Unauthorized } from "./unauthorized.ts";
import { verifyUserToken } from "./user-token.ts";

/** Who sent a request, and the manifest that said so: newer than the given one if the token made the node catch up. */
export interface Authenticated {
  readonly principal: Principal;
  readonly held: HeldManifest;
}

export type Authenticate = (token: string, held: HeldManifest) => Promise<Authenticated>;

/** The text of the request's bearer token. Throws `Unauthorized` when there is none. */
export function bearerToken({ headers }: { readonly headers: HeaderReader }): string {
  const found = /^Bearer +([A-Za-z0-9._~+/=-]+)$/i.exec(headers.get("authorization") ?? "");
  if (!found) throw new Unauthorized(401, undefined, "this endpoint needs a bearer token");
  return found[1] as string;
}

/** A user's token that was good when it was checked. */
interface Checked {
  readonly principal: Principal;
  /** The manifest that it was checked by: any other, and it is checked again. */
  readonly held: HeldManifest;
  /** Milliseconds since 1970. The clock skew that a check allows is not added to it. */
  readonly expires: number;
}

const maxChecked = 2_048;

/** Makes the check of user tokens and hop tokens, which throws `Unauthorized`. */
export function authenticator(config: NodeConfig, replay: ReplayGuard, catchUp: CatchUp): Authenticate {
  // A signature stays as good as it was, so a user's token is checked once for each manifest. Hop tokens are used once anyway.
  const checked = new BoundedMap<string, Checked>(maxChecked);
  return async (text, held) => {
    const known = checked.get(text);
    if (known && known.held === held && Date.now() < known.expires) return known;
    if (known) checked.delete(text);
    const token = parseToken(text);
    const authenticated = await authenticate(token, held);
    const { exp } = token.claims;
    if (!authenticated.principal.hop && typeof exp === "number")
      checked.set(text, { ...authenticated, expires: exp * 1000 });
    return authenticated;
  };

  async function authenticate(token: UnverifiedToken, held: HeldManifest): Promise<Authenticated> {
    let newest = held;
    let principal: Principal;
    try {
      principal = await verify(token, newest);
    } catch (cause) {
      // An issuer or key that this manifest does not hold may be in a newer one. What else is wrong with a token, no manifest can cure.
      if (explained(token, held)) throw cause;
      newest = await catchUp.look(held);
      if (newest.serial === held.serial) throw cause;
      return { principal: await verify(token, newest), held: newest };
    }
    const { hop } = principal;
    if (hop && hop.serial > newest.serial) {
      newest = await catchUp.pull(hop.caller, newest);
      stillListed(principal, newest);
    }
    return { principal, held: newest };
  }

  async function verify(token: UnverifiedToken, { manifest }: HeldManifest): Promise<Principal> {
    const type =
      typeof token.header["typ"] === "string" ? token.header["typ"].toLowerCase().replace(/^application\//, "") : "";
    if (type === userTokenType) return await verifyUserToken(token, manifest, `${config.url}/mcp`);
    if (type === hopTokenType) return await verifyHopToken(token, manifest, config, replay);
    throw invalidToken(`the token's typ must be ${userTokenType} or ${hopTokenType}`);
  }
}

/** Does the manifest hold the key that the token says it was signed with? */
function explained({ header, claims }: UnverifiedToken, { manifest }: HeldManifest): boolean {
  const issuer = String(claims["iss"]);
  const issuers = Object.values(manifest.organizations).flatMap((organization) => organization.issuers);
  const keys = [
    ...(Object.hasOwn(manifest.keys, issuer) ? (manifest.keys[issuer] ?? []) : []),
    ...issuers.filter((candidate) => candidate.issuer === issuer).flatMap((candidate) => candidate.keys),
  ];
  return keys.some((key) => header["kid"] === undefined || key.kid === header["kid"]);
}

/** After catching up, what the token rests on must stand in the newer manifest too. Its id is used up, so it is not verified again. */
function stillListed({ subject, organization, actors }: Principal, { manifest }: HeldManifest): void {
  const user = manifest.organizations[organization]?.users.some((name) => `${name}@${organization}` === subject);
  const nodes = actors.every((node) => Object.hasOwn(manifest.nodes, node));
  if (!nodes || !(user || actors.includes(subject)))
    throw invalidToken("the token rests on a user or node that is no longer in the manifest");
}
