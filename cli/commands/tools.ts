import { defineCommand } from "../command.ts";
import { peerWarnings } from "../mcp.ts";
import { openSession } from "../session.ts";
import { printable, table } from "../table.ts";

export default defineCommand({
  help: `tools [NODE] [options]

Lists the tools that a node offers to a user: its own, and under their prefixes those of its peers.

  NODE          organization/node, or the node's name where it is the only one (default: the first node)
  --user USER   name@organization (default: the first user of the node's organization)
`,
  options: { user: { type: "string" } },
  arguments: ["[NODE]"],
  async run({ values, positionals, project, print, note }) {
    const { mcp } = await openSession(project, { stack: values.stack, node: positionals[0], user: values.user });
    const list = await mcp.listTools();
    for (const line of peerWarnings(list)) note(printable(`warning: ${line}`));
    if (values.json) return print(JSON.stringify(list));
    const rows = list.tools.map(({ name, title, description }) => [
      printable(name),
      printable((description ?? title ?? "").split("\n")[0]!),
    ]);
    print(table([["TOOL", "DESCRIPTION"], ...rows]));
  },
});
