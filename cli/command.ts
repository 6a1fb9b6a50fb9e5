import type { parseArgs, ParseArgsConfig, ParseArgsOptionsConfig } from "node:util";
import type { Project } from "./project.ts";

/** Options that every command has. */
export const commonOptions = {
  json: { type: "boolean", default: false },
  stack: { type: "string", default: "local" },
  cwd: { type: "string" },
  help: { type: "boolean", short: "h", default: false },
} as const satisfies ParseArgsOptionsConfig;

export const commonHelp = `  --stack NAME  Pulumi stack that describes the network (default local)
  --cwd DIR     project folder (default: where you are, or the nearest folder above with a Pulumi.yaml)
  --json        for scripts
  --help`;

type Values<Options extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: Options & typeof commonOptions; allowPositionals: true }>
>["values"];

/** What a command may use. */
export interface Invocation<Options extends ParseArgsOptionsConfig> {
  readonly values: Values<Options>;
  readonly positionals: readonly string[];
  readonly project: Project;
  /** Writes to stdout: the result. */
  print(text: string): void;
  /** Writes to stderr: progress and warnings. */
  note(text: string): void;
}

/** One command of `federation`. */
export interface Command<Options extends ParseArgsOptionsConfig = any> {
  /** Shown by `--help`; its first line is the synopsis. */
  readonly help: string;
  readonly options: Options;
  /** Names of the arguments, for errors; those in brackets may be left out. */
  readonly arguments: readonly string[];
  /** Answers the exit code when it is not 0. */
  run(invocation: Invocation<Options>): Promise<number | void>;
}

/** Infers the types of a command from its options. */
export function defineCommand<const Options extends NonNullable<ParseArgsConfig["options"]>>(
  command: Command<Options>,
): Command {
  return command as Command;
}
