import { createHash } from "node:crypto";
import { type ProjectFile, readProjectFile } from "../plugin/project-file.ts";
import { ResourceError } from "../plugin/resource.ts";
import type { File } from "./api-types.ts";

/** All files of one machine, bytes before base64. Fly documents no limit; this one is ours. */
export const maxFileBytes = 1_048_576;

/** A file of the project that is put on a machine. */
export interface MachineFile extends ProjectFile {
  readonly guestPath: string;
}

/** The files as a machine's config carries them. Throws when one is missing, is not what the plan hashed, or all are too large. */
export async function machineFiles(files: readonly MachineFile[]): Promise<readonly File[]> {
  const contents = await Promise.all(files.map(readProjectFile));
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

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
