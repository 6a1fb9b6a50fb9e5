import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { ResourceError } from "../plugin/resource.ts";
import type { File } from "./api-types.ts";

/** All files of one machine, bytes before base64. Fly documents no limit; this one is ours. */
export const maxFileBytes = 1_048_576;

/** A file of the project that is put on a machine. */
export interface ProjectFile {
  readonly guestPath: string;
  /** Relative to the project's root, so that the same state serves every checkout. */
  readonly path: string;
  /** Hex. */
  readonly sha256: string;
}

/** The files as a machine's config carries them. Throws when one is missing, is not what the plan hashed, or all are too large. */
export async function machineFiles(files: readonly ProjectFile[], root = projectRoot()): Promise<readonly File[]> {
  const contents = await Promise.all(files.map((file) => read(file, root)));
  const bytes = contents.reduce((sum, content) => sum + content.length, 0);
  if (bytes > maxFileBytes) {
    const names = files.map((file) => file.path).join(", ");
    throw new ResourceError(
      `The machine's files (${names}) have ${bytes} bytes; the limit is ${maxFileBytes}. Use fewer functions or smaller libraries.`,
    );
  }
  return files.map((file, index) => ({
    guest_path: file.guestPath,
    raw_value: (contents[index] as Buffer).toString("base64"),
  }));
}

/** Hex SHA-256 of what a machine's file holds; undefined where the API does not give the content. */
export function hashOf(file: File): string | undefined {
  return file.raw_value === undefined ? undefined : sha256(Buffer.from(file.raw_value, "base64"));
}

/** The engine starts the plugin in the program's folder: the project's root or a folder below it. */
function projectRoot(): string {
  for (let folder = process.cwd(); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "Pulumi.yaml"))) return folder;
    if (folder === dirname(folder))
      throw new ResourceError(`There is no Pulumi.yaml in ${process.cwd()} or above: run \`pulumi\` in the project.`);
  }
}

async function read(file: ProjectFile, root: string): Promise<Buffer> {
  const content = await readFile(join(root, file.path)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    throw new ResourceError(
      `The bundle ${file.path} is not in the project's folder. Run \`pulumi up\` so that it is built again.`,
    );
  });
  const found = sha256(content);
  if (found !== file.sha256) {
    throw new ResourceError(
      `The bundle ${file.path} has SHA-256 ${found}, but ${file.sha256} was planned. Run \`pulumi up\` again.`,
    );
  }
  return content;
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
