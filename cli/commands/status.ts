import { defineCommand } from "../command.ts";
import { readNetwork } from "../network.ts";
import { healthOfAll } from "../node-health.ts";
import { nodeList, nodeTable } from "../overview.ts";

export default defineCommand({
  help: `status [options]

Asks every node of the network how it is. Exit code 1 when one is not ok.

  ok           serves, and holds the newest manifest
  waiting      serves, and has not got the newest manifest yet
  unreachable  does not serve
`,
  options: {},
  arguments: [],
  async run({ values, project, print }) {
    const network = await readNetwork(project, values.stack);
    const health = await healthOfAll(network);
    if (values.json) {
      print(JSON.stringify({ network: network.network, manifest: network.manifest, nodes: nodeList(network, health) }));
    } else {
      print(`network ${network.network}, manifest ${network.manifest.serial}\n\n${nodeTable(network, health)}`);
    }
    return Object.values(health).every(({ state }) => state === "ok") ? 0 : 1;
  },
});
