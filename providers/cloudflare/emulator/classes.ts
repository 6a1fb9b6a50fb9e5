import { createHash } from "node:crypto";
import { ApiError, invalid } from "./envelope.ts";
import type { Binding, Namespace, Worker } from "./store.ts";

/** The Durable Object classes of a Worker and how they came to be. */
export type Classes = Pick<Worker, "namespaces" | "lifecycle" | "migrationTag">;

type Step = Readonly<Record<string, unknown>>;

/**
 * The classes of a Worker after an upload with this metadata; throws where Cloudflare refuses the upload.
 *
 * `exports` declares what is there and is compared with what exists, so it can be sent with every upload.
 * `migrations` is a change: it applies only while `old_tag` is the tag of the last one, so sending it twice is an error.
 */
export function nextClasses(worker: string, now: Classes, metadata: Readonly<Record<string, unknown>>): Classes {
  const exports = durableExports(metadata["exports"]);
  const migrations = metadata["migrations"] as Step | undefined | null;
  if (exports && migrations) throw invalid("`exports` and `migrations` are mutually exclusive.");
  if (exports) return { ...now, lifecycle: "exports", namespaces: reconcile(worker, now.namespaces, exports) };
  if (!migrations) return now;
  if (now.lifecycle === "exports")
    throw new ApiError(
      400,
      100403,
      "This Worker manages its Durable Object classes with `exports`; it cannot go back to `migrations`.",
    );
  const oldTag = (migrations["old_tag"] as string | undefined) ?? "";
  const tag = now.migrationTag ?? "";
  if (oldTag !== tag) {
    throw new ApiError(
      412,
      10079,
      `Actor migration tag precondition failed, got tag '${oldTag}' when expected tag is '${tag}'. Please make sure the tags match and try again.`,
    );
  }
  const steps = (migrations["steps"] as readonly Step[] | undefined) ?? [migrations];
  const namespaces = steps.reduce((classes, step) => migrate(worker, classes, step), now.namespaces);
  const newTag = (migrations["new_tag"] as string | undefined) ?? now.migrationTag;
  return { namespaces, lifecycle: "migrations", ...(newTag === undefined ? {} : { migrationTag: newTag }) };
}

/** Every bound class must exist; throws Cloudflare's error for the first that does not. */
export function checkBoundClasses(classes: Classes, bindings: readonly Binding[]): void {
  for (const binding of bindings) {
    if (binding.type !== "durable_object_namespace") continue;
    const name = String(binding["class_name"]);
    if (classes.namespaces.some(({ className }) => className === name)) continue;
    throw new ApiError(
      400,
      10061,
      `Cannot create binding for class '${name}' because it is not currently configured to implement Durable Objects. Ensure a --new-class migration has been applied to it.`,
    );
  }
}

function durableExports(value: unknown): ReadonlyMap<string, Step> | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const entries = Object.entries(value as Readonly<Record<string, Step>>).filter(
    ([, entry]) => entry["type"] === "durable-object",
  );
  return entries.length > 0 ? new Map(entries) : undefined;
}

function reconcile(worker: string, existing: readonly Namespace[], exports: ReadonlyMap<string, Step>): Namespace[] {
  let classes = [...existing];
  for (const { className } of existing) {
    if (!exports.has(className))
      throw invalid(
        `The class '${className}' has stored objects but is not in \`exports\`; add it, or \`"${className}": { "type": "durable-object", "state": "deleted" }\`.`,
      );
  }
  for (const [className, entry] of exports) {
    const found = classes.find((namespace) => namespace.className === className);
    switch (entry["state"] ?? "created") {
      case "created": {
        const storage = entry["storage"];
        if (storage !== "sqlite" && storage !== "legacy-kv")
          throw invalid(`The class '${className}' in \`exports\` needs \`storage\`: "sqlite" or "legacy-kv".`);
        if (found && found.storage !== storage)
          throw invalid(`The storage of class '${className}' is "${found.storage}" and cannot be changed.`);
        const renamed = [...exports.values()].some(
          (other) => other["state"] === "renamed" && other["renamed_to"] === className,
        );
        if (!found && !renamed) classes.push(create(worker, className, storage));
        break;
      }
      case "deleted":
        classes = classes.filter((namespace) => namespace !== found);
        break;
      case "renamed":
        if (found) classes = rename(classes, className, String(entry["renamed_to"]));
        break;
      default:
        throw invalid(
          `The local cloud does not support the state "${String(entry["state"])}" of class '${className}' in \`exports\`.`,
        );
    }
  }
  return classes;
}

function migrate(worker: string, existing: readonly Namespace[], step: Step): readonly Namespace[] {
  let classes = [...existing];
  const names = (key: string): readonly string[] => (step[key] as readonly string[] | undefined) ?? [];
  if (names("transferred_classes").length > 0) throw invalid("The local cloud does not support transferred_classes.");
  for (const [key, storage] of [
    ["new_classes", "legacy-kv"],
    ["new_sqlite_classes", "sqlite"],
  ] as const) {
    for (const className of names(key)) {
      if (classes.some((namespace) => namespace.className === className)) {
        const kind = key === "new_classes" ? "new-class" : "new-sqlite-class";
        throw new ApiError(
          400,
          10074,
          `Cannot apply ${kind} migration to class '${className}' that is already depended on by existing Durable Objects`,
        );
      }
      classes.push(create(worker, className, storage));
    }
  }
  for (const { from, to } of (step["renamed_classes"] as readonly { from: string; to: string }[] | undefined) ?? [])
    classes = rename(classes, from, to);
  const deleted = new Set(names("deleted_classes"));
  return classes.filter(({ className }) => !deleted.has(className));
}

function rename(classes: readonly Namespace[], from: string, to: string): Namespace[] {
  if (!classes.some(({ className }) => className === from))
    throw invalid(`There is no class '${from}' to rename to '${to}'.`);
  return classes.map((namespace) => (namespace.className === from ? { ...namespace, className: to } : namespace));
}

function create(worker: string, className: string, storage: Namespace["storage"]): Namespace {
  // The same Worker and class give the same id, so that a new start after a crash finds the same folder.
  const id = createHash("sha256").update(`${worker}/${className}`).digest("hex").slice(0, 32);
  return { id, className, storage };
}
