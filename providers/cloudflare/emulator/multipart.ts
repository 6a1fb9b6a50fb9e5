import { invalid } from "./envelope.ts";

/** A module of an upload. */
export interface UploadedModule {
  readonly name: string;
  readonly contentType: string;
  readonly content: Uint8Array;
}

export interface Upload {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly modules: readonly UploadedModule[];
}

/**
 * Reads a script upload. The content type of the request alone decides how:
 * `multipart/form-data` is metadata and modules, anything else is read whole as the code of a service worker.
 *
 * The metadata is a field or a file; a module is known by its file name, or by the name of its part where it has none.
 */
export async function readUpload(request: Request): Promise<Upload> {
  const type = request.headers.get("content-type") ?? "";
  if (!type.startsWith("multipart/form-data")) {
    const content = new Uint8Array(await request.arrayBuffer());
    const worker = { name: "worker.js", contentType: "application/javascript", content };
    return { metadata: { body_part: worker.name }, modules: [worker] };
  }
  let form: FormData;
  try {
    form = await request.formData();
  } catch (error) {
    throw invalid(`The multipart body could not be read: ${(error as Error).message}`);
  }
  const parts = await Promise.all([...form].map(([name, value]) => readPart(name, value)));
  const metadata = parts.find((part) => part.part === "metadata");
  if (!metadata) throw invalid("Multipart uploads must have a part named 'metadata'.");
  return {
    metadata: parseMetadata(metadata.content),
    modules: parts
      .filter((part) => part !== metadata)
      .map(({ name, contentType, content }) => ({ name, contentType, content })),
  };
}

async function readPart(part: string, value: FormDataEntryValue): Promise<UploadedModule & { readonly part: string }> {
  if (typeof value === "string")
    return { part, name: part, contentType: "application/javascript+module", content: new TextEncoder().encode(value) };
  return {
    part,
    name: value.name || part,
    contentType: value.type,
    content: new Uint8Array(await value.arrayBuffer()),
  };
}

function parseMetadata(content: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(content));
  } catch {
    throw invalid("The part 'metadata' is not JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid("The part 'metadata' is not a JSON object.");
  return value as Record<string, unknown>;
}
