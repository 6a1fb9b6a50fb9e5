import { defineCommand } from "../command.ts";
import { CliError, UsageError } from "../errors.ts";
import { unreachable } from "../mcp.ts";
import { findNode, readNetwork } from "../network.ts";
import { printable } from "../table.ts";

/** The members of a node's server card (SEP-2127) that the registry's document shares. */
interface ServerCard {
  readonly name: string;
  readonly version: string;
  readonly title?: string;
  readonly description: string;
  readonly remotes: readonly { readonly type: string; readonly url: string }[];
}

const timeoutMs = 10_000;
const namePattern = /^[a-zA-Z0-9.-]+\/[a-zA-Z0-9._-]+$/;

export default defineCommand({
  help: `server-json NODE [options]

Prints a server.json that publishes a node to the official MCP registry (schema 2025-12-11), made from the node's own server card.

  NODE          organization/node, or the node's name where it is the only one
  --name NAME   namespace/name; the namespace must be one that you can prove to the registry: a domain of yours in reverse
                (com.example/edge), or io.github.USER (default: from the node's host, which is often the provider's domain)

It names no tools, users or tokens. Whoever finds the node still needs a token of its network.
`,
  options: { name: { type: "string" } },
  arguments: ["NODE"],
  async run({ values, positionals, project, print, note }) {
    const { name } = values;
    if (name !== undefined && (!namePattern.test(name) || name.length > 200))
      throw new UsageError(
        `--name is "${name}"; it must be namespace/name, of letters, digits, dots and dashes, such as com.example/edge`,
      );
    const node = findNode(await readNetwork(project, values.stack), positionals[0]);
    const document = serverJson(await readCard(`${node.url}/mcp/server-card`), name);
    for (const { url } of document.remotes)
      if (!url.startsWith("https://"))
        note(printable(`warning: the registry takes public https URLs only, and the node is at ${url}`));
    print(JSON.stringify(document, undefined, 2));
  },
});

/** Pure: the registry's document for a node. */
export function serverJson({ name, title, description, version, remotes }: ServerCard, wanted = name) {
  return {
    $schema: "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
    name: wanted,
    ...(title !== undefined && { title }),
    description,
    version,
    remotes: remotes.map(({ type, url }) => ({
      type,
      url,
      headers: [
        {
          name: "Authorization",
          description: "Access token of the node's network: Bearer TOKEN",
          isRequired: true,
          isSecret: true,
        },
      ],
    })),
  };
}

async function readCard(url: string): Promise<ServerCard> {
  const response = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(timeoutMs) }).catch(
    (error: unknown) => {
      throw unreachable(url, error);
    },
  );
  const text = await response.text();
  try {
    const card = JSON.parse(text) as Partial<ServerCard>;
    if (response.ok && typeof card.name === "string" && Array.isArray(card.remotes)) return card as ServerCard;
  } catch {
    // Told below, with what came instead.
  }
  throw new CliError(`${url} answered HTTP ${response.status} without a server card: ${printable(text.slice(0, 300))}`);
}
