import type { HeldManifest } from "../federation/held-manifest.ts";
import type { NodeConfig } from "../platform.ts";

/** The protected resource metadata of RFC 9728: where a client gets a token for this node. */
export function resourceMetadata(
  { url, node }: NodeConfig,
  held: HeldManifest | undefined,
): Readonly<Record<string, unknown>> {
  const organizations = Object.values(held?.manifest.organizations ?? {});
  const issuers = [...new Set(organizations.flatMap(({ issuers }) => issuers.map(({ issuer }) => issuer)))].toSorted();
  return {
    resource: `${url}/mcp`,
    ...(issuers.length > 0 && { authorization_servers: issuers }),
    bearer_methods_supported: ["header"],
    resource_name: node,
  };
}
