/** Something the user can mend: shown without a stack, exit code 1. */
export class CliError extends Error {
  override readonly name = "CliError";
}

/** The command was called in a way it does not know: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
