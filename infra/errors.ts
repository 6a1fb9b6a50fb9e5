import { RunError } from "@pulumi/pulumi";

/** One mistake in the stack config. */
export interface Problem {
  /** Where: the path in the stack config, for example `organizations.acme.nodes.edge.provider`. */
  readonly path: string;
  /** The value that is there; undefined when it is missing. */
  readonly value: unknown;
  /** What is wrong, in a few words. */
  readonly problem: string;
  /** What may stand there. */
  readonly allowed: string;
  /** What to do about it. */
  readonly remedy: string;
}

const longestValue = 80;

/** A problem as people read it, on four short lines. */
export function formatProblem({ path, value, problem, allowed, remedy }: Problem): string {
  const text = value === undefined ? "(missing)" : JSON.stringify(value);
  const shown = text.length > longestValue ? `${text.slice(0, longestValue)}… (${text.length} characters)` : text;
  return [`${path}: ${problem}`, `    value:   ${shown}`, `    allowed: ${allowed}`, `    do:      ${remedy}`].join(
    "\n",
  );
}

/**
 * The user's config cannot be deployed. Lists every problem at once; Pulumi shows it without a stack.
 * All other errors are the toolkit's own and keep theirs.
 */
export class ConfigError extends RunError {
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super(`The stack config has ${count}.\n\n${problems.map(formatProblem).join("\n\n")}\n`);
    this.problems = problems;
  }
}
