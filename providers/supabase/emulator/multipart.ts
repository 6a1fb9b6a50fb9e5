import { createHash } from "node:crypto";
import * as z from "zod";
import { ApiError } from "./errors.ts";

const metadataSchema = z.looseObject({
  entrypoint_path: z.string().min(1),
  import_map_path: z.string().optional(),
  static_patterns: z.array(z.string()).default([]),
  verify_jwt: z.boolean().optional(),
  name: z.string().optional(),
});

/** A function's sources as they were uploaded. */
export interface Upload {
  readonly metadata: z.output<typeof metadataSchema>;
  /** By path relative to the folder that the client deployed from. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Of all paths and contents, hex; stands in for the hash of the eszip that Supabase would make. */
  readonly sha256: string;
}

/** Reads the body of `POST .../functions/deploy`: parts `file`, and `metadata` first or last. */
export async function readUpload(request: Request): Promise<Upload> {
  if (!request.headers.get("content-type")?.startsWith("multipart/form-data"))
    throw new ApiError(400, "the body must be multipart/form-data");
  const form = await request.formData().catch((error: Error) => {
    throw new ApiError(400, `the multipart body cannot be read: ${error.message}`);
  });
  const part = form.get("metadata");
  if (part === null) throw new ApiError(400, "the part metadata is missing");
  const files = new Map<string, Uint8Array>();
  for (const file of form.getAll("file")) {
    if (typeof file === "string") throw new ApiError(400, "a part file has no filename");
    files.set(checkPath(file.name), new Uint8Array(await file.arrayBuffer()));
  }
  return makeUpload(parseMetadata(typeof part === "string" ? part : await part.text()), files);
}

export function makeUpload(metadata: Upload["metadata"], files: ReadonlyMap<string, Uint8Array>): Upload {
  if (!files.has(metadata.entrypoint_path))
    throw new ApiError(400, `Entrypoint path does not exist - ${metadata.entrypoint_path}`);
  if (metadata.import_map_path && !files.has(metadata.import_map_path)) {
    throw new ApiError(400, `Import map path does not exist - ${metadata.import_map_path}`);
  }
  const hash = createHash("sha256");
  for (const path of [...files.keys()].sort()) {
    const bytes = files.get(path)!;
    hash.update(`${path}\0${bytes.length}\0`).update(bytes);
  }
  return { metadata, files, sha256: hash.digest("hex") };
}

function parseMetadata(text: string): Upload["metadata"] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ApiError(400, "the part metadata is not JSON");
  }
  const parsed = metadataSchema.safeParse(value);
  if (!parsed.success) throw new ApiError(400, `metadata: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Uploads are written below a folder and must stay there. */
function checkPath(path: string): string {
  const steps = path.split("/");
  if (
    path.startsWith("/") ||
    path.includes("\\") ||
    path.includes("\0") ||
    steps.some((step) => step === "" || step === "." || step === "..")
  ) {
    throw new ApiError(400, `the file path ${JSON.stringify(path)} must be relative and stay below its folder`);
  }
  return path;
}
