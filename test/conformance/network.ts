import { randomUUID } from "node:crypto";
import { calculateJwkThumbprint, CompactSign, exportJWK, generateKeyPair, importJWK, SignJWT } from "jose";
import { type Manifest, manifestType, userTokenType } from "../../functions/node/federation/manifest.ts";
import type { NodeConfig, PrivateJwk, PublicJwk, UpstreamConfig } from "../../functions/node/platform.ts";
import type { Deploy } from "./runtimes.ts";

/** A node to start. */
export interface NodePlan {
  /** `organization/node`. */
  readonly id: string;
  /** Base URL under which others ask it; where it is deployed decides when absent. */
  readonly url?: string;
  readonly prefix?: string;
  readonly upstreams?: readonly UpstreamConfig[];
  readonly secrets?: Readonly<Record<string, string>>;
}

export interface StartedNode {
  /** Where the runtime listens: the node's base URL on this machine. */
  readonly address: string;
  /** A user's bearer token for it. */
  readonly token: string;
}

/**
 * Deploys nodes of one network, signs their manifest and gives it to them. All organizations grant each other everything, so that what
 * a test sees is the protocol's doing.
 */
export async function startNetwork(plans: readonly NodePlan[], deploy: Deploy): Promise<readonly StartedNode[]> {
  const network = `n${randomUUID().slice(0, 8)}`;
  const [root, issuer] = [await makeKey(), await makeKey()];
  const issuerName = `urn:conformance:${network}`;
  const nodes = await Promise.all(
    plans.map(async (plan, n) => {
      const key = await makeKey();
      const name = `${network}-${n}`;
      const url = plan.url ?? (await deploy.urlOf(name));
      const config: NodeConfig = {
        network,
        node: plan.id,
        url,
        root: publicOf(root),
        ...(plan.upstreams && { upstreams: plan.upstreams }),
      };
      const address = await deploy.start(name, {
        FEDERATION_CONFIG: JSON.stringify(config),
        FEDERATION_KEY: JSON.stringify(key),
        ...(plan.secrets && { FEDERATION_UPSTREAMS: JSON.stringify(plan.secrets) }),
      });
      return { plan, key, url, address };
    }),
  );
  const organizations = [...new Set(plans.map(({ id }) => id.split("/")[0] as string))];
  const manifest: Manifest = {
    network,
    serial: 1,
    nodes: Object.fromEntries(
      nodes.map(({ plan: { id, prefix }, url }) => [
        id,
        {
          organization: id.split("/")[0] as string,
          provider: deploy.provider,
          url,
          prefix: prefix ?? id.replace("/", "-"),
          functions: [],
        },
      ]),
    ),
    keys: Object.fromEntries(nodes.map(({ plan, key }) => [plan.id, [publicOf(key)]])),
    organizations: Object.fromEntries(
      organizations.map((name) => [
        name,
        { users: ["suite"], issuers: [{ issuer: `${issuerName}:${name}`, keys: [publicOf(issuer)] }] },
      ]),
    ),
    grants: organizations.flatMap((from) =>
      organizations
        .filter((to) => to !== from)
        .map((to) => ({ id: `${from}-${to}`, from, to, nodes: ["*"], tools: ["*"], resources: ["*"], prompts: ["*"] })),
    ),
  };
  const jws = await new CompactSign(new TextEncoder().encode(JSON.stringify(manifest)))
    .setProtectedHeader({ alg: "EdDSA", typ: manifestType, kid: root.kid })
    .sign(await importJWK({ ...root }, "EdDSA"));
  return await Promise.all(
    nodes.map(async ({ plan: { id }, url, address }) => {
      const response = await fetch(`${address}/.well-known/federation`, { method: "PUT", body: jws });
      if (!response.ok) throw new Error(`${id} refused its manifest: HTTP ${response.status} ${await response.text()}`);
      const organization = id.split("/")[0] as string;
      const token = await new SignJWT({})
        .setProtectedHeader({ alg: "EdDSA", typ: userTokenType, kid: issuer.kid })
        .setIssuer(`${issuerName}:${organization}`)
        .setSubject(`suite@${organization}`)
        .setAudience(`${url}/mcp`)
        .setIssuedAt()
        .setExpirationTime("50m")
        .sign(await importJWK({ ...issuer }, "EdDSA"));
      return { address, token };
    }),
  );
}

async function makeKey(): Promise<PrivateJwk> {
  const { privateKey } = await generateKeyPair("EdDSA", { extractable: true, crv: "Ed25519" });
  const jwk = await exportJWK(privateKey);
  return { kty: "OKP", crv: "Ed25519", x: jwk.x as string, d: jwk.d as string, kid: await calculateJwkThumbprint(jwk) };
}

function publicOf({ kty, crv, x, kid }: PublicJwk): PublicJwk {
  return { kty, crv, x, kid };
}
