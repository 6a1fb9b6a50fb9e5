import { defineCommand } from "../command.ts";
import { UsageError } from "../errors.ts";
import { peerWarnings, type ToolResult } from "../mcp.ts";
import { openSession } from "../session.ts";
import { printable } from "../table.ts";

export default defineCommand({
  help: `call NODE TOOL [ARGUMENTS] [options]

Calls a tool on a node, or through it on one of its peers.

  NODE          organization/node, or the node's name where it is the only one
  TOOL          as \`federation tools\` names it
  ARGUMENTS     a JSON object (default {})
  --user USER   name@organization (default: the first user of the node's organization)

Text is printed as it is, other content as JSON, a line each. A tool's error goes to stderr and is exit code 1.
`,
  options: { user: { type: "string" } },
  arguments: ["NODE", "TOOL", "[ARGUMENTS]"],
  async run({ values, positionals: [node, tool, text = "{}"], project, print, note }) {
    const args = parseArguments(text);
    const { mcp } = await openSession(project, { stack: values.stack, node, user: values.user });
    const result = await mcp.callTool(tool!, args);
    for (const line of peerWarnings(result)) note(printable(`warning: ${line}`));
    if (values.json) print(JSON.stringify(result));
    else (result.isError ? note : print)(shown(result));
    return result.isError ? 1 : 0;
  },
});

function parseArguments(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`call: ARGUMENTS is not JSON (${(error as Error).message}); for example '{"text":"hello"}'`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new UsageError(`call: ARGUMENTS must be a JSON object, for example '{"text":"hello"}'`);
}

function shown({ content }: ToolResult): string {
  return content
    .map((block) => (block.type === "text" ? printable(String(block["text"])) : JSON.stringify(block)))
    .join("\n");
}
