import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { localCloudPort, type Project } from "./project.ts";

/** Variables of a vendor's token, by provider. */
const tokenVariables = {
  cloudflare: "CLOUDFLARE_API_TOKEN",
  supabase: "SUPABASE_ACCESS_TOKEN",
  fly: "FLY_API_TOKEN",
} as const;

/**
 * The environment in which Pulumi works on a stack.
 *
 * A stack on the local cloud gets its state, passphrase and tokens from `.federation`, unless PULUMI_BACKEND_URL says that
 * the user has chosen (for one by `source .federation/env`). Any other stack gets the user's environment as it is.
 */
export function pulumiEnvironment(
  project: Project,
  stack: string,
  base: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  if (base["PULUMI_BACKEND_URL"] || localCloudPort(project, stack) === undefined) return base;
  // Pulumi prefers the passphrase itself to the file that holds it.
  const { PULUMI_CONFIG_PASSPHRASE: _, ...rest } = base;
  return { ...rest, ...variables(project), PATH: [...searchPath(project), base["PATH"]].join(delimiter) };
}

/** Makes what the local stack needs at its first start, and `.federation/env` for shells; idempotent. Needs a local cloud that has started once. */
export function prepareEnvironment(project: Project): void {
  mkdirSync(join(project.home, "state"), { recursive: true, mode: 0o700 });
  const passphrase = passphraseFile(project);
  if (!existsSync(passphrase))
    writeFileSync(passphrase, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
  const lines = [
    "# Made by `federation up`: the environment in which `pulumi` works on the local stack. Holds tokens of the local cloud.",
    ...Object.entries(variables(project)).map(([name, value]) => `export ${name}=${quote(value)}`),
    "unset PULUMI_CONFIG_PASSPHRASE",
    `export PATH=${searchPath(project).map(quote).join(":")}:"$PATH"`,
  ];
  writeFileSync(join(project.home, "env"), `${lines.join("\n")}\n`, { mode: 0o600 });
}

function variables(project: Project): Record<string, string> {
  const tokens = localTokens(project);
  return {
    PULUMI_BACKEND_URL: `file://${join(project.home, "state")}`,
    PULUMI_CONFIG_PASSPHRASE_FILE: passphraseFile(project),
    PULUMI_SKIP_UPDATE_CHECK: "true",
    // The stack's salt is in its state: a config file without one stays as it is and fits every checkout.
    PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER: "true",
    NODE_COMPILE_CACHE: join(project.home, "compile-cache"),
    ...Object.fromEntries(
      Object.entries(tokenVariables).flatMap(([provider, name]) =>
        tokens[provider] ? [[name, tokens[provider]]] : [],
      ),
    ),
  };
}

/** Tokens that the local cloud made; empty before its first start. */
function localTokens(project: Project): Readonly<Record<string, string>> {
  const path = join(project.home, "cloud", "tokens.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Record<string, string>) : {};
}

function searchPath({ dir }: Project): string[] {
  return [join(dir, "providers", "local-cloud", "bin"), join(dir, "node_modules", ".bin")];
}

function passphraseFile({ home }: Project): string {
  return join(home, "passphrase");
}

/** For POSIX shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
