import { mintToken } from "../access-token.ts";
import { defineCommand } from "../command.ts";
import { prepareEnvironment } from "../environment.ts";
import { startCloud } from "../local-cloud.ts";
import { connectMcp } from "../mcp.ts";
import { readNetwork, subject, usersOf, type Network, type User } from "../network.ts";
import { healthOfAll } from "../node-health.ts";
import { nodeList, nodeTable } from "../overview.ts";
import { localCloudPort } from "../project.ts";
import { deploy, ensureStack } from "../pulumi.ts";

export default defineCommand({
  help: `up [options]

Brings a network up: starts the local cloud where the stack's endpoints name it, runs \`pulumi up\`, shows the nodes.
A second run changes nothing. To see a preview first, use Pulumi itself: \`source .federation/env && pulumi up -s local\`.
`,
  options: {},
  arguments: [],
  async run({ values, project, print, note }) {
    const port = localCloudPort(project, values.stack);
    if (port !== undefined) {
      const cloud = await startCloud(project, port);
      prepareEnvironment(project);
      note(`local cloud: ${cloud.fresh ? "started" : "running"} on ${cloud.url} (pid ${cloud.pid})`);
    }
    const first = await ensureStack(project, values.stack);
    note(`pulumi up: stack ${values.stack}`);
    await deploy(project, values.stack, values.json ? 2 : 1);
    const network = await readNetwork(project, values.stack);
    const health = await healthOfAll(network);
    const ok = Object.values(health).every(({ state }) => state === "ok");
    if (values.json) {
      print(JSON.stringify({ network: network.network, manifest: network.manifest, nodes: nodeList(network, health) }));
    } else {
      print(`\n${nodeTable(network, health)}`);
      if (ok) print(`\n${await nextSteps(network, values.stack, first && port !== undefined)}`);
    }
    return ok ? 0 : 1;
  },
});

/** What to do with a network that is up: a token, and three commands to copy. */
async function nextSteps(network: Network, stack: string, showToken: boolean): Promise<string> {
  const user = usersOf(network)[0];
  const own = Object.entries(network.nodes).filter(([, { organization }]) => organization === user?.organization);
  const [id, node] = own[0] ?? [];
  if (!user || !id || !node)
    return "A network with a node and a user in one organization has more to show: add them to the stack config.";
  const options = stack === "local" ? "" : ` --stack ${stack}`;
  const lines = [`Token of ${subject(user)}, for an hour: npx federation token${options}`];
  if (showToken)
    lines.push(
      await mintToken(
        network,
        user,
        own.map(([, deployed]) => deployed),
      ),
    );
  lines.push("", "List the federated tools:", `  npx federation tools ${id}${options}`);
  const tool = await foreignTool(network, user, id);
  if (tool) lines.push("Call a tool of another organization:", `  npx federation call ${id} ${tool}${options}`);
  lines.push(
    "Open the node with an MCP client:",
    `  npx @modelcontextprotocol/inspector --cli ${node.url}/mcp --transport http --header "Authorization: Bearer $(npx federation token${options})" --method tools/list`,
  );
  return lines.join("\n");
}

/** A tool of another organization as this node offers it to the user, with arguments where they are known; undefined when there is none. */
async function foreignTool(network: Network, user: User, id: string): Promise<string | undefined> {
  const node = network.nodes[id]!;
  const mcp = connectMcp(`${node.url}/mcp`, await mintToken(network, user, [node]));
  const { tools } = await mcp.listTools();
  const names = tools
    .map(({ name }) => name)
    .filter((name) => name.includes(".") && !name.startsWith(`${user.organization}-`));
  const echo = names.find((name) => name.endsWith(".echo"));
  return echo ? `${echo} '{"text":"hello"}'` : names[0];
}
