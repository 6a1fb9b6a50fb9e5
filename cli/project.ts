import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CliError } from "./errors.ts";

/** A checkout with a `Pulumi.yaml`. */
export interface Project {
  readonly dir: string;
  /** What the toolkit keeps on this machine: state, passphrase, the local cloud. Never committed. */
  readonly home: string;
}

/** The nearest project at or above a folder. */
export function findProject(start: string): Project {
  for (let dir = resolve(start); ; dir = dirname(dir)) {
    if (existsSync(join(dir, "Pulumi.yaml"))) return { dir, home: join(dir, ".federation") };
    if (dir === dirname(dir))
      throw new CliError(`no Pulumi.yaml in ${resolve(start)} or above: go into the project, or name it with --cwd`);
  }
}

/** The config file of a stack. */
export function stackFile({ dir }: Project, stack: string): string {
  return join(dir, "stacks", `Pulumi.${stack}.yaml`);
}

/**
 * Port of the local cloud that a stack's endpoints name; undefined when they are real clouds.
 * Endpoints are read as text: the CLI does not know the config's schema, and a stack that is not deployed yet has no outputs.
 */
export function localCloudPort(project: Project, stack: string): number | undefined {
  const path = stackFile(project, stack);
  if (!existsSync(path)) throw new CliError(`stack ${stack} has no config: ${path} does not exist`);
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => !/^\s*#/.test(line));
  const endpoints = lines
    .join("\n")
    .matchAll(/http:\/\/(?:127\.0\.0\.1|localhost|\[::1\]):(\d+)\/(?:cloudflare|supabase|fly)\b/g);
  const ports = [...new Set([...endpoints].map(([, port]) => Number(port)))];
  if (ports.length > 1)
    throw new CliError(`the endpoints in ${path} name the local cloud on several ports (${ports.join(", ")}): use one`);
  return ports[0];
}
