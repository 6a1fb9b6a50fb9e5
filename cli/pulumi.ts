import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { CliError } from "./errors.ts";
import { pulumiEnvironment } from "./environment.ts";
import { stackFile, type Project } from "./project.ts";

/** A Pulumi program's end, with what it wrote where that was not shown. */
interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Answers a stack's outputs, secrets included, as JSON text. */
export async function readOutputs(project: Project, stack: string): Promise<string> {
  const { code, stdout, stderr } = await pulumi(project, stack, [
    "stack",
    "output",
    "--json",
    "--show-secrets",
    "--stack",
    stack,
  ]);
  if (code === 0) return stdout;
  // stdout could hold keys; stderr is Pulumi's own words.
  const remedy = /no stack named/.test(stderr) ? ": it is not deployed yet, run `npx federation up`" : "";
  throw new CliError(`pulumi could not read the outputs of stack ${stack}${remedy}\n${stderr.trim()}`);
}

/** Makes the stack where there is none; answers whether it did. */
export async function ensureStack(project: Project, stack: string): Promise<boolean> {
  const { code, stderr } = await keepingSalt(project, stack, () =>
    pulumi(project, stack, ["stack", "init", stack, "--no-select", "--non-interactive"]),
  );
  if (code === 0) return true;
  if (/already exists/.test(stderr)) return false;
  throw new CliError(`pulumi could not make stack ${stack}\n${stderr.trim()}`);
}

/** Deploys the stack; Pulumi's progress is shown as it comes, on `fd` (1 stdout, 2 stderr). */
export async function deploy(project: Project, stack: string, fd: 1 | 2): Promise<void> {
  const args = ["up", "--yes", "--skip-preview", "--suppress-outputs", "--stack", stack];
  const { code } = await keepingSalt(project, stack, () => pulumi(project, stack, args, fd));
  if (code !== 0) throw new CliError(`pulumi up ended with exit code ${code}; its own words are above`);
}

/**
 * Pulumi adds the salt of the passphrase to the config file. The file is everybody's and the passphrase this machine's own, and the
 * stack's state has the salt too: so the line is taken out again, unless it was there before or the file has secrets of its own.
 */
async function keepingSalt<T>(project: Project, stack: string, work: () => Promise<T>): Promise<T> {
  const path = stackFile(project, stack);
  const saltLine = /^encryptionsalt:.*\n?/m;
  const before = readFileSync(path, "utf8");
  try {
    return await work();
  } finally {
    const after = readFileSync(path, "utf8");
    if (!saltLine.test(before) && !/^\s+secure:/m.test(after) && saltLine.test(after))
      writeFileSync(path, after.replace(saltLine, ""));
  }
}

function pulumi(project: Project, stack: string, args: readonly string[], shownOn?: 1 | 2): Promise<Ended> {
  const stdio = shownOn === undefined ? (["ignore", "pipe", "pipe"] as const) : (["ignore", shownOn, 2] as const);
  const child = spawn("pulumi", args, { cwd: project.dir, env: pulumiEnvironment(project, stack), stdio: [...stdio] });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "ENOENT" ? new CliError("there is no `pulumi` on the PATH: run ./install.sh") : error),
    );
    child.once("close", (code, signal) =>
      resolve({ code: code ?? 1, stdout, stderr: stderr || (signal ? `ended by ${signal}` : "") }),
    );
  });
}
