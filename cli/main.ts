#!/usr/bin/env node
import { parseArgs } from "node:util";
import { commonHelp, commonOptions, type Command } from "./command.ts";
import { CliError, UsageError } from "./errors.ts";
import { findProject } from "./project.ts";

const commands: Readonly<Record<string, { readonly summary: string; load(): Promise<{ default: Command }> }>> = {
  up: {
    summary: "bring a network up: local cloud if it needs one, pulumi up, table",
    load: () => import("./commands/up.ts"),
  },
  status: {
    summary: "every node: does it serve, and the newest manifest?",
    load: () => import("./commands/status.ts"),
  },
  tools: { summary: "the tools that a node offers, its own and its peers'", load: () => import("./commands/tools.ts") },
  call: { summary: "call a tool", load: () => import("./commands/call.ts") },
  token: { summary: "an access token for a user", load: () => import("./commands/token.ts") },
  audit: { summary: "who called what on a node", load: () => import("./commands/audit.ts") },
  "server-json": {
    summary: "a server.json that publishes a node to the MCP registry",
    load: () => import("./commands/server-json.ts"),
  },
  cloud: { summary: "start, stop or look at the local cloud", load: () => import("./commands/cloud.ts") },
  down: { summary: "stop the local cloud; what was deployed stays on disk", load: () => import("./commands/down.ts") },
};

const overview = `usage: federation COMMAND [arguments]

${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(13)}${summary}`)
  .join("\n")}

\`federation COMMAND --help\` says more. Exit codes: 0 done, 1 failed, 2 called in a wrong way.
`;

process.exitCode = await main(process.argv.slice(2));

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    (name === undefined ? process.stderr : process.stdout).write(overview);
    return name === undefined ? 2 : 0;
  }
  try {
    if (!Object.hasOwn(commands, name)) throw new UsageError(`there is no command "${name}"\n\n${overview.trimEnd()}`);
    const { default: command } = await commands[name]!.load();
    return await run(name, command, args);
  } catch (error) {
    if (!(error instanceof CliError || error instanceof UsageError)) throw error;
    process.stderr.write(`federation: ${error.message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

async function run(name: string, command: Command, args: string[]): Promise<number> {
  const { values, positionals } = parse(name, command, args);
  const { help, cwd } = values as { help: boolean; cwd?: string };
  if (help) {
    process.stdout.write(`usage: federation ${command.help.trimEnd()}\n${commonHelp}\n`);
    return 0;
  }
  const required = command.arguments.filter((argument) => !argument.startsWith("["));
  if (positionals.length < required.length)
    throw wrong(name, `${required.slice(positionals.length).join(" and ")} missing`);
  if (positionals.length > command.arguments.length)
    throw wrong(name, `"${positionals[command.arguments.length]}" is one argument too many`);
  const code = await command.run({
    values,
    positionals,
    project: findProject(cwd ?? process.cwd()),
    print: (text) => void process.stdout.write(`${text}\n`),
    note: (text) => void process.stderr.write(`${text}\n`),
  });
  return code ?? 0;
}

function parse(name: string, command: Command, args: string[]) {
  try {
    return parseArgs({ args, options: { ...commonOptions, ...command.options }, allowPositionals: true });
  } catch (error) {
    if (!String((error as { code?: unknown }).code).startsWith("ERR_PARSE_ARGS")) throw error;
    throw wrong(name, (error as Error).message);
  }
}

function wrong(name: string, message: string): UsageError {
  return new UsageError(`${name}: ${message}; \`federation ${name} --help\` says how it is used`);
}
