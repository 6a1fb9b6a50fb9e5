import { mintToken, parseTtl } from "../access-token.ts";
import { defineCommand } from "../command.ts";
import { findNode, findUser, readNetwork, subject } from "../network.ts";

export default defineCommand({
  help: `token [options]

Prints an access token for a user. Whoever has it is that user until it expires.

  --user USER   name@organization (default: the first user of the first organization)
  --node NODE   a node that it opens; may be given several times (default: all nodes of the user's organization)
  --ttl TIME    90s, 15m, 1h; at most 24h (default 1h)
`,
  options: {
    user: { type: "string" },
    node: { type: "string", multiple: true },
    ttl: { type: "string", default: "1h" },
  },
  arguments: [],
  async run({ values, project, print }) {
    const ttl = parseTtl(values.ttl);
    const network = await readNetwork(project, values.stack);
    const user = findUser(network, values.user);
    const nodes = values.node
      ? values.node.map((id) => findNode(network, id))
      : Object.values(network.nodes).filter(({ organization }) => organization === user.organization);
    const token = await mintToken(network, user, nodes, ttl);
    const audience = nodes.map(({ url }) => `${url}/mcp`);
    print(values.json ? JSON.stringify({ token, user: subject(user), audience, expiresIn: ttl }) : token);
  },
});
