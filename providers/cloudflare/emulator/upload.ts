import { createHash, randomUUID } from "node:crypto";
import { isRunnable } from "./capnp.ts";
import { invalid } from "./envelope.ts";
import type { Upload, UploadedModule } from "./multipart.ts";
import type { Binding, Version } from "./store.ts";

/** A version with what belongs to it but is not in its record. */
export interface Draft {
  readonly version: Version;
  /** Of the version's modules, in their order. */
  readonly contents: readonly Uint8Array[];
  /** Secret texts by binding name. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** What an upload may keep of the version before it. */
export interface Previous {
  readonly bindings: readonly Binding[];
  readonly secrets: Readonly<Record<string, string>>;
}

/** `strict` = an `inherit` binding that cannot be resolved is an error; else it is dropped. */
export interface UploadOptions {
  readonly number: number;
  readonly previous: Previous;
  readonly strict: boolean;
  readonly source: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** Fields that a supported type of binding must have. Other types need services that the local cloud does not have. */
const requiredFields: Readonly<Record<string, readonly string[]>> = {
  plain_text: ["text"],
  secret_text: ["text"],
  json: ["json"],
  durable_object_namespace: ["class_name"],
  inherit: [],
};

/** What a Worker without a compatibility date gets, the first date there is. */
const oldestCompatibilityDate = "2021-11-02";

/** Makes a version of an upload; throws Cloudflare's errors for one that cannot run. */
export function draftVersion(upload: Upload, options: UploadOptions): Draft {
  const { metadata, modules } = upload;
  const main = (metadata["main_module"] ?? metadata["body_part"]) as string | undefined;
  if (typeof main !== "string") throw invalid("The metadata must name a main_module or a body_part.");
  if (!modules.some(({ name }) => name === main))
    throw invalid(
      `No such module "${main}": the upload has ${modules.map(({ name }) => `"${name}"`).join(", ") || "no module"}.`,
    );
  const kept = modules.filter(({ contentType }) => contentType !== "application/source-map");
  const syntax = metadata["main_module"] === undefined ? "service-worker" : "modules";
  for (const { name, contentType } of syntax === "modules" ? kept : []) {
    if (!isRunnable(contentType))
      throw invalid(`The module "${name}" has the content type "${contentType}", which the local cloud does not run.`);
  }
  const { bindings, secrets } = bind(metadata, options);
  const version: Version = {
    id: randomUUID(),
    number: options.number,
    created: new Date().toISOString(),
    source: options.source,
    main,
    syntax,
    modules: kept.map(({ name, contentType }, index) => ({ name, contentType, file: String(index) })),
    bindings,
    compatibilityDate: ((metadata["compatibility_date"] as string | undefined) || oldestCompatibilityDate).slice(0, 10),
    compatibilityFlags: (metadata["compatibility_flags"] as readonly string[] | undefined) ?? [],
    annotations: (metadata["annotations"] as Readonly<Record<string, string>> | undefined) ?? {},
    ...liveExports(metadata),
    etag: etag(kept),
    startupMs: 0,
  };
  return { version, contents: kept.map(({ content }) => content), secrets };
}

function bind(metadata: Fields, { previous, strict }: UploadOptions): Previous {
  const bindings = new Map<string, Binding>();
  const secrets: Record<string, string> = {};
  const keep = new Set((metadata["keep_bindings"] as readonly string[] | undefined) ?? []);
  for (const binding of previous.bindings) if (keep.has(binding.type)) take(binding.name, binding);
  for (const binding of (metadata["bindings"] as readonly Binding[] | undefined) ?? []) {
    checkBinding(binding);
    delete secrets[binding.name];
    bindings.delete(binding.name);
    if (binding.type === "inherit") {
      const old = previous.bindings.find(({ name }) => name === (binding["old_name"] ?? binding.name));
      if (old) take(binding.name, old);
      else if (strict)
        throw invalid(`The binding "${binding.name}" inherits from a binding that the version before does not have.`);
    } else if (binding.type === "secret_text") {
      bindings.set(binding.name, { type: "secret_text", name: binding.name });
      secrets[binding.name] = String(binding["text"]);
    } else bindings.set(binding.name, binding);
  }
  return { bindings: sorted([...bindings.values()]), secrets };

  function take(name: string, old: Binding): void {
    bindings.set(name, { ...old, name });
    const secret = previous.secrets[old.name];
    if (old.type === "secret_text" && secret !== undefined) secrets[name] = secret;
  }
}

/** A copy of a version in which one secret is another, or gone when `text` is undefined. */
export function withSecret(draft: Draft, name: string, text: string | undefined, number: number): Draft {
  const { [name]: _, ...secrets } = draft.secrets;
  const others = draft.version.bindings.filter((binding) => binding.name !== name);
  const bindings = text === undefined ? others : sorted([...others, { type: "secret_text", name }]);
  const version: Version = {
    ...draft.version,
    id: randomUUID(),
    number,
    created: new Date().toISOString(),
    annotations: {},
    bindings,
  };
  return { ...draft, version, secrets: text === undefined ? secrets : { ...secrets, [name]: text } };
}

function checkBinding(binding: Binding): void {
  const fields = requiredFields[binding.type];
  if (!binding.name) throw invalid("A binding has no name.");
  if (!fields)
    throw invalid(
      `The local cloud has no bindings of type "${binding.type}" ("${binding.name}"); it has ${Object.keys(requiredFields).join(", ")}.`,
    );
  const missing = fields.find((field) => binding[field] === undefined);
  if (missing) throw invalid(`The binding "${binding.name}" of type "${binding.type}" has no "${missing}".`);
  if (binding["script_name"] !== undefined)
    throw invalid(
      `The local cloud binds only to classes of the same Worker; "${binding.name}" names the script "${String(binding["script_name"])}".`,
    );
}

/** Cloudflare lists bindings by name. */
function sorted(bindings: readonly Binding[]): Binding[] {
  return bindings.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Entries that change what exists are done once they are applied; reads never show them. */
function liveExports(metadata: Fields): { exports: Fields } | undefined {
  const exports = metadata["exports"] as Readonly<Record<string, Fields>> | undefined;
  if (!exports) return undefined;
  return {
    exports: Object.fromEntries(
      Object.entries(exports).filter(([, entry]) => (entry["state"] ?? "created") === "created"),
    ),
  };
}

function etag(modules: readonly UploadedModule[]): string {
  const hash = createHash("sha256");
  for (const { name, contentType, content } of modules)
    hash.update(`${name}\n${contentType}\n${content.length}\n`).update(content);
  return hash.digest("hex");
}
