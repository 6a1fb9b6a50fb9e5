import type { NodeConfig } from "../../platform.ts";
import { serverInfo } from "../envelope.ts";
import { type Fields, modernVersion } from "../rpc.ts";

export const serverCardType = "application/mcp-server-card+json";
export const aiCatalogType = "application/ai-catalog+json";

/** Revisions of MCP that a node serves. */
const versions = ["2025-03-26", "2025-06-18", "2025-11-25", modernVersion];

/** The node's server card (SEP-2127): what it is and how to connect, and nothing of what it serves. */
export function serverCard({ node, network, url }: NodeConfig): Fields {
  return {
    $schema: "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
    name: cardName(node, url),
    version: serverInfo.version,
    title: node.slice(0, 100),
    description: `MCP node ${node} of the federation ${network}`.slice(0, 100),
    remotes: [{ type: "streamable-http", url: `${url}/mcp`, supportedProtocolVersions: versions }],
  };
}

/** The AI catalog of the node's host; it names the node and none of its peers, which publish their own. */
export function aiCatalog({ node, url }: NodeConfig): Fields {
  const { hostname } = new URL(url);
  return {
    specVersion: "1.0",
    entries: [
      {
        identifier: `urn:air:${hostname}:mcp:${suffix(node)}`,
        displayName: node,
        type: serverCardType,
        url: `${url}/mcp/server-card`,
      },
    ],
  };
}

/** Reverse DNS of the node's host, a slash, and the node: `dev.workers.acme.edge/acme-edge`. */
function cardName(node: string, url: string): string {
  return `${new URL(url).hostname.split(".").toReversed().join(".")}/${suffix(node)}`;
}

function suffix(node: string): string {
  return node.replace("/", "-");
}
