import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ResourceError } from "./resource.ts";

/** A file that a resource deploys. State holds this and not the content. */
export interface ProjectFile {
  /** Relative to the project's root, so that the same state serves every checkout. */
  readonly path: string;
  /** Of the content that was planned, hex. */
  readonly sha256: string;
}

/** The content of a project's file. Throws a `ResourceError` when it is missing, or is not what was planned. */
export async function readProjectFile({ path, sha256 }: ProjectFile): Promise<Buffer<ArrayBuffer>> {
  const content = await readFile(join(projectRoot(), path)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    throw new ResourceError(`the file ${path} is not in the project: run \`pulumi up\` again, which makes it`);
  });
  const found = createHash("sha256").update(content).digest("hex");
  if (found === sha256) return content;
  throw new ResourceError(
    `the file ${path} has SHA-256 ${found}, but ${sha256} was planned: it changed during the update; run \`pulumi up\` again`,
  );
}

/** The engine starts plugins in the program's folder: the project's root, or one below it. */
function projectRoot(): string {
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "Pulumi.yaml"))) return folder;
    if (folder === dirname(folder)) {
      throw new ResourceError(`there is no Pulumi.yaml in ${process.cwd()} or above: run \`pulumi\` in the project`);
    }
  }
}
