import { calculateJwkThumbprint, CompactSign, exportJWK, generateKeyPair, importJWK, SignJWT } from "jose";
import { type Manifest, manifestType, userTokenType } from "../functions/node/federation/manifest.ts";
import type { NodeConfig, PrivateJwk, PublicJwk } from "../functions/node/platform.ts";

/** The node under test, and the names of the peers that the upstream plays, each with a hundred tools. */
export const node = "acme/edge";
export const peers = ["one", "two", "three", "four"] as const;
/** Enough users that a list of each in turn is in no cache any more when its turn comes again. */
const userCount = 400;

const issuer = "https://login.acme.test";

/** The keys of a network in which `acme/edge` asks nodes of `globex`. */
export class BenchNetwork {
  readonly #root: PrivateJwk;
  readonly #issuer: PrivateJwk;
  readonly key: PrivateJwk;
  #serial = 0;

  private constructor(root: PrivateJwk, issuerKey: PrivateJwk, key: PrivateJwk) {
    this.#root = root;
    this.#issuer = issuerKey;
    this.key = key;
  }

  static async make(): Promise<BenchNetwork> {
    return new BenchNetwork(await makeKey(), await makeKey(), await makeKey());
  }

  config(url: string): NodeConfig {
    return { network: "bench", node, url, root: publicOf(this.#root) };
  }

  /** A manifest with the next serial. `elsewhere` gives peers another address than the upstream's. */
  async manifest(url: string, upstream: string, elsewhere: Readonly<Record<string, string>> = {}): Promise<string> {
    this.#serial += 1;
    const manifest: Manifest = {
      network: "bench",
      serial: this.#serial,
      nodes: {
        [node]: { organization: "acme", provider: "bench", url, prefix: "acme-edge", functions: ["echo"] },
        ...Object.fromEntries(
          peers.map((name) => [
            `globex/${name}`,
            {
              organization: "globex",
              provider: "bench",
              url: elsewhere[name] ?? `${upstream}/${name}`,
              prefix: `globex-${name}`,
              functions: [],
            },
          ]),
        ),
      },
      keys: { [node]: [publicOf(this.key)] },
      organizations: {
        acme: {
          users: Array.from({ length: userCount }, (_, n) => `user${n}`),
          issuers: [{ issuer, keys: [publicOf(this.#issuer)] }],
        },
        globex: { users: [], issuers: [] },
      },
      grants: [
        { id: "globex-acme", from: "globex", to: "acme", nodes: ["*"], tools: ["*"], resources: ["*"], prompts: ["*"] },
      ],
    };
    return await new CompactSign(new TextEncoder().encode(JSON.stringify(manifest)))
      .setProtectedHeader({ alg: "EdDSA", typ: manifestType, kid: this.#root.kid })
      .sign(await importJWK({ ...this.#root }, "EdDSA"));
  }

  /** Access tokens of the first `count` users, good for an hour. */
  async tokens(url: string, count: number = userCount): Promise<readonly string[]> {
    const key = await importJWK({ ...this.#issuer }, "EdDSA");
    return await Promise.all(
      Array.from({ length: count }, async (_, n) =>
        new SignJWT()
          .setProtectedHeader({ alg: "EdDSA", typ: userTokenType, kid: this.#issuer.kid })
          .setIssuer(issuer)
          .setSubject(`user${n}@acme`)
          .setAudience(`${url}/mcp`)
          .setIssuedAt()
          .setExpirationTime("1h")
          .sign(key),
      ),
    );
  }
}

async function makeKey(): Promise<PrivateJwk> {
  const { privateKey } = await generateKeyPair("EdDSA", { extractable: true, crv: "Ed25519" });
  const { x = "", d = "" } = await exportJWK(privateKey);
  const key = { kty: "OKP", crv: "Ed25519", x } as const;
  return { ...key, d, kid: await calculateJwkThumbprint(key) };
}

function publicOf({ kty, crv, x, kid }: PublicJwk): PublicJwk {
  return { kty, crv, x, kid };
}
