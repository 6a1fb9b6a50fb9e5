import type { NodeConfig, PublicJwk } from "../platform.ts";
import { BodyTooLarge, readText } from "./body.ts";
import { maxManifestBytes } from "./catch-up.ts";
import { type HeldManifest, ManifestRefused } from "./held-manifest.ts";
import type { FederationStatus } from "./manifest.ts";
import type { ManifestStore } from "./manifest-store.ts";

/** What the node holds, for everybody to see. */
export function federationStatus(
  { network, node }: NodeConfig,
  { kty, crv, x, kid }: PublicJwk,
  held: HeldManifest | undefined,
): FederationStatus {
  // Member by member: the node's key is a private one, and only its public half may leave.
  return { network, node, serial: held?.serial ?? 0, ...(held && { digest: held.digest }), key: { kty, crv, x, kid } };
}

/** Answers `PUT /.well-known/federation`. The signature of the root key is the permission, so it takes no token. */
export async function putManifest(
  request: Request,
  config: NodeConfig,
  key: PublicJwk,
  manifests: ManifestStore,
): Promise<Response> {
  try {
    const jws = (await readText(request, maxManifestBytes)).trim();
    return Response.json(federationStatus(config, key, await manifests.accept(jws)));
  } catch (cause) {
    if (cause instanceof BodyTooLarge) return Response.json({ error: cause.message }, { status: 413 });
    if (!(cause instanceof ManifestRefused)) throw cause;
    return Response.json(
      { error: cause.message, held: federationStatus(config, key, await manifests.held()) },
      { status: cause.status },
    );
  }
}
