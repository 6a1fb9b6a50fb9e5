import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import * as z from "zod";
import { client, done, found } from "../api.ts";
import { defineResource, ResourceError } from "../../plugin/resource.ts";
import { importId } from "./observed.ts";

const module = z.strictObject({
  name: z.string(),
  contentType: z.string(),
  /** Relative to the program's folder. */
  contentFile: z.string().optional(),
  contentBase64: z.string().optional(),
  /** Computed; accepted because a program may pass on what it read. */
  contentSha256: z.string().optional(),
});

const binding = z.strictObject({
  type: z.string(),
  name: z.string(),
  text: z.string().optional(),
  json: z.string().optional(),
  className: z.string().optional(),
});

const inputs = z.strictObject({
  accountId: z.string(),
  workerId: z.string(),
  deploy: z.boolean().optional(),
  mainModule: z.string().optional(),
  modules: z.array(module).optional(),
  bindings: z.array(binding).optional(),
  exports: z
    .record(
      z.string(),
      z.strictObject({
        type: z.string(),
        storage: z.string().optional(),
        state: z.string().optional(),
        renamedTo: z.string().optional(),
      }),
    )
    .optional(),
  compatibilityDate: z.string().optional(),
  compatibilityFlags: z.array(z.string()).optional(),
});

type Inputs = z.output<typeof inputs>;
type Module = z.output<typeof module>;
type Binding = z.output<typeof binding>;
type Outputs = Readonly<Record<string, unknown>>;

/** A version as the API answers it. */
interface Remote {
  readonly id: string;
  readonly number: number;
  readonly created_on: string;
  readonly source?: string;
  readonly urls: readonly string[];
  readonly startup_time_ms?: number;
  readonly main_module?: string;
  readonly compatibility_date?: string;
  readonly compatibility_flags?: readonly string[];
  readonly bindings?: readonly {
    readonly type: string;
    readonly name: string;
    readonly text?: string;
    readonly json?: unknown;
    readonly class_name?: string;
  }[];
  readonly modules?: readonly {
    readonly name: string;
    readonly content_type: string;
    readonly content_base64: string;
  }[];
}

/** A version of a Worker: code and configuration. It never changes; a change is a new version. */
export const workerVersion = defineResource<Inputs, Outputs>({
  token: "cloudflare:index/workerVersion:WorkerVersion",
  description: "A version of a Cloudflare Worker: code and configuration, immutable.",
  inputs,
  secrets: [],
  replaceOn: [
    "accountId",
    "workerId",
    "deploy",
    "mainModule",
    "modules",
    "bindings",
    "exports",
    "compatibilityDate",
    "compatibilityFlags",
  ],

  async create(inputs, context) {
    const { versions } = (await client(context)).workers.beta.workers;
    // The SDK's types do not know `exports` yet; it passes on what it does not know.
    const body = (await requestBody(inputs)) as unknown as Parameters<typeof versions.create>[1];
    const remote = (await done(versions.create(inputs.workerId, body))) as Remote;
    return { id: remote.id, outputs: outputs(inputs, remote) };
  },

  async read(id, stored, context) {
    const [account = stored?.inputs.accountId, worker = stored?.inputs.workerId, version = id] = stored
      ? []
      : importId(id, "<account_id>/<worker_id>/<version_id>");
    if (account === undefined || worker === undefined)
      throw new ResourceError(`the version ${id} has no accountId and workerId in the stack's state`);
    const { versions } = (await client(context)).workers.beta.workers;
    const remote = (await found(versions.get(worker, version, { account_id: account, include: "modules" }))) as
      | Remote
      | undefined;
    if (!remote) return undefined;
    const inputs = stored ? observe(stored.inputs, remote) : imported(account, worker, remote);
    return { id: remote.id, inputs, outputs: outputs(inputs, remote) };
  },

  async update() {
    throw new Error("a version never changes: each of its inputs is in replaceOn");
  },

  // Like the vendor's provider: versions are forgotten, not deleted, since the Worker keeps those it can be rolled back to.
  async delete() {},
});

async function requestBody(inputs: Inputs): Promise<object> {
  return {
    account_id: inputs.accountId,
    deploy: inputs.deploy,
    main_module: inputs.mainModule,
    compatibility_date: inputs.compatibilityDate,
    compatibility_flags: inputs.compatibilityFlags,
    bindings: inputs.bindings?.map(({ className, ...binding }) => ({ ...binding, class_name: className })),
    exports:
      inputs.exports &&
      Object.fromEntries(
        Object.entries(inputs.exports).map(([name, { renamedTo, ...entry }]) => [
          name,
          { ...entry, renamed_to: renamedTo },
        ]),
      ),
    modules:
      inputs.modules &&
      (await Promise.all(
        inputs.modules.map(async (module) => ({
          name: module.name,
          content_type: module.contentType,
          content_base64: await contentOf(module),
        })),
      )),
  };
}

async function contentOf({ name, contentFile, contentBase64 }: Module): Promise<string> {
  if (contentBase64 !== undefined) return contentBase64;
  if (contentFile === undefined)
    throw new ResourceError(`the module "${name}" has neither contentFile nor contentBase64`);
  try {
    return await readFile(contentFile, "base64");
  } catch (error) {
    throw new ResourceError(
      `the module "${name}" cannot be read from ${contentFile} (in ${process.cwd()}): ${(error as Error).message}`,
    );
  }
}

/** What was asked for, with what the API says in the place of what it can say. Secret texts are never answered, so they stay. */
function observe(asked: Inputs, remote: Remote): Inputs {
  return {
    ...asked,
    ...(remote.main_module !== undefined && { mainModule: remote.main_module }),
    ...(remote.compatibility_date !== undefined && { compatibilityDate: remote.compatibility_date }),
    ...(asked.compatibilityFlags && { compatibilityFlags: [...(remote.compatibility_flags ?? [])] }),
    ...(asked.bindings && { bindings: observeBindings(asked.bindings, remote) }),
  };
}

function observeBindings(asked: readonly Binding[], remote: Remote): Binding[] {
  const now = new Map(toBindings(remote).map((binding) => [binding.name, binding]));
  const kept = asked.flatMap((binding) => {
    const found = now.get(binding.name);
    now.delete(binding.name);
    if (!found) return [];
    return [found.type === "secret_text" && binding.type === "secret_text" ? binding : found];
  });
  return [...kept, ...now.values()];
}

function imported(accountId: string, workerId: string, remote: Remote): Inputs {
  return {
    accountId,
    workerId,
    ...(remote.main_module !== undefined && { mainModule: remote.main_module }),
    ...(remote.compatibility_date !== undefined && { compatibilityDate: remote.compatibility_date }),
    bindings: toBindings(remote),
    modules: (remote.modules ?? []).map(({ name, content_type, content_base64 }) => ({
      name,
      contentType: content_type,
      contentBase64: content_base64,
    })),
  };
}

function toBindings(remote: Remote): Binding[] {
  return (remote.bindings ?? []).map(({ type, name, text, json, class_name }) => ({
    type,
    name,
    ...(text !== undefined && { text }),
    ...(json !== undefined && { json: JSON.stringify(json) }),
    ...(class_name !== undefined && { className: class_name }),
  }));
}

function outputs(inputs: Inputs, remote: Remote): Outputs {
  const contents = new Map(
    (remote.modules ?? []).map((module) => [module.name, Buffer.from(module.content_base64, "base64")]),
  );
  const modules = inputs.modules?.map((module) => {
    const content = contents.get(module.name);
    return content ? { ...module, contentSha256: createHash("sha256").update(content).digest("hex") } : module;
  });
  return {
    ...(modules && { modules }),
    number: remote.number,
    createdOn: remote.created_on,
    urls: remote.urls,
    ...(remote.source !== undefined && { source: remote.source }),
    ...(remote.startup_time_ms !== undefined && { startupTimeMs: remote.startup_time_ms }),
  };
}
