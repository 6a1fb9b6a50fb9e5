import type { HeldManifest } from "../../federation/held-manifest.ts";
import { resourceMetadata } from "../../security/resource-metadata.ts";
import type { NodeConfig } from "../../platform.ts";
import { etagOf, isKnown } from "../etag.ts";
import type { Fields } from "../rpc.ts";
import { aiCatalog, aiCatalogType, serverCard, serverCardType } from "./server-card.ts";

interface Document {
  readonly type: string;
  body(): Promise<Fields> | Fields;
}

/** Answers a request for a public document about the node; undefined for every other request. */
export type ServePublic = (request: Request, pathname: string) => Promise<Response | undefined>;

/** Seconds. A node's issuers may change with its manifest. */
const maxAge = 300;
/** These documents, and only these, are for pages of every origin: they hold nothing that is not for everybody. */
const cors = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET",
  "access-control-allow-headers": "content-type, if-none-match, mcp-protocol-version",
  "access-control-expose-headers": "etag",
};

export function publicDocuments(config: NodeConfig, held: () => Promise<HeldManifest | undefined>): ServePublic {
  const metadata: Document = { type: "application/json", body: async () => resourceMetadata(config, await held()) };
  const metadataPath = "/.well-known/oauth-protected-resource";
  const documents: Readonly<Record<string, Document>> = {
    [metadataPath]: metadata,
    // RFC 9728, 3.1: the resource's own path goes behind the well-known one.
    [`${metadataPath}/mcp`]: metadata,
    [`${metadataPath}${new URL(`${config.url}/mcp`).pathname}`]: metadata,
    "/mcp/server-card": { type: serverCardType, body: () => serverCard(config) },
    "/.well-known/ai-catalog.json": { type: aiCatalogType, body: () => aiCatalog(config) },
  };

  return async (request, pathname) => {
    const document = Object.hasOwn(documents, pathname) ? documents[pathname] : undefined;
    if (!document) return undefined;
    if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: cors });
    if (request.method !== "GET" && request.method !== "HEAD") return undefined;
    const text = JSON.stringify(await document.body());
    const headers = {
      ...cors,
      "content-type": document.type,
      "cache-control": `public, max-age=${maxAge}`,
      etag: await etagOf(text),
    };
    if (isKnown(request, headers.etag)) return new Response(null, { status: 304, headers });
    return new Response(request.method === "HEAD" ? null : text, { headers });
  };
}
