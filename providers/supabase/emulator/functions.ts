import { randomUUID } from "node:crypto";
import type { EmulatorHost } from "../../local-cloud/emulator.ts";
import { ApiError } from "./errors.ts";
import type { Upload } from "./multipart.ts";
import { functionRuntime } from "./runtime.ts";
import type { FunctionRecord, Project, Store } from "./store.ts";

/** The deployed functions of all projects and the runtimes that serve them. */
export interface Functions {
  /** Name of the runtime that serves a function; undefined while none does. */
  runtimeOf(ref: string, slug: string): string | undefined;
  /** Stores an upload and answers its record; what runs stays as it is. */
  stage(project: Project, slug: string, upload: Upload): FunctionRecord;
  /** Starts a staged upload, then sends requests there. Where it does not start, what ran before stays, and the call is refused. */
  activate(project: Project, record: FunctionRecord): Promise<FunctionRecord>;
  /** False when there is no such function. */
  remove(project: Project, slug: string): Promise<boolean>;
  /** Starts everything that was deployed before. */
  startAll(): Promise<void>;
  /** Brings changed secrets to the project's functions, soon and without a pause in their service. */
  restartSoon(project: Project): void;
}

/** Time for requests that are under way when their runtime is replaced. */
const drainMs = 1_000;
/** A deployment writes several secrets; its functions are restarted once for all of them. */
const settleMs = 250;

export function openFunctions(host: EmulatorHost, store: Store): Functions {
  /** The two runtimes of a function take turns, so that the new one serves before the old one ends. */
  const serving = new Map<string, "a" | "b">();
  const queues = new Map<string, Promise<unknown>>();
  const restarts = new Map<string, NodeJS.Timeout>();
  return { runtimeOf, stage, activate, remove, startAll, restartSoon };

  function runtimeOf(ref: string, slug: string): string | undefined {
    const side = serving.get(`${ref}.${slug}`);
    return side && `${ref}.${slug}.${side}`;
  }

  function stage(project: Project, slug: string, { metadata, files, sha256 }: Upload): FunctionRecord {
    const before = project.functions[slug];
    const now = Date.now();
    store.writeUpload(project.ref, slug, sha256, files);
    return {
      id: before?.id ?? randomUUID(),
      slug,
      name: metadata.name ?? before?.name ?? slug,
      status: "ACTIVE",
      version: (before?.version ?? 0) + 1,
      created_at: before?.created_at ?? now,
      updated_at: now,
      verify_jwt: metadata.verify_jwt ?? before?.verify_jwt ?? true,
      import_map: Boolean(metadata.import_map_path),
      entrypoint_path: metadata.entrypoint_path,
      import_map_path: metadata.import_map_path ?? "",
      ezbr_sha256: sha256,
      static_patterns: metadata.static_patterns,
    };
  }

  function activate(project: Project, record: FunctionRecord): Promise<FunctionRecord> {
    return inTurn(project.ref, record.slug, async () => {
      await start(project, record).catch((error: Error) => {
        store.pruneUploads(project.ref, record.slug, project.functions[record.slug]?.ezbr_sha256);
        throw new ApiError(400, `Failed to boot the function: ${error.message}`);
      });
      project.functions[record.slug] = record;
      store.save(project);
      store.pruneUploads(project.ref, record.slug, record.ezbr_sha256);
      return record;
    });
  }

  function remove(project: Project, slug: string): Promise<boolean> {
    return inTurn(project.ref, slug, async () => {
      if (!project.functions[slug]) return false;
      delete project.functions[slug];
      store.save(project);
      serving.delete(`${project.ref}.${slug}`);
      await Promise.all(["a", "b"].map((side) => host.runtimes.stop(`${project.ref}.${slug}.${side}`)));
      store.pruneUploads(project.ref, slug);
      return true;
    });
  }

  async function startAll(): Promise<void> {
    await Promise.all(store.list().map(restart));
  }

  function restartSoon(project: Project): void {
    clearTimeout(restarts.get(project.ref));
    restarts.set(project.ref, setTimeout(() => void restart(project), settleMs).unref());
  }

  /** Each on its own: one function that does not start must not take the others down. */
  async function restart(project: Project): Promise<void> {
    const starts = Object.keys(project.functions).map((slug) =>
      inTurn(project.ref, slug, async () => {
        const record = project.functions[slug];
        if (record) await start(project, record);
      }).catch((error: Error) => host.log(`function ${project.ref}/${slug} does not start: ${error.message}`)),
    );
    await Promise.all(starts);
  }

  async function start(project: Project, record: FunctionRecord): Promise<void> {
    const key = `${project.ref}.${record.slug}`;
    const before = serving.get(key);
    const next = before === "a" ? "b" : "a";
    await host.runtimes.start(`${key}.${next}`, functionRuntime(host, store, project, record));
    serving.set(key, next);
    if (before) setTimeout(() => void drained(project.ref, record.slug, before), drainMs).unref();
  }

  /** In turn, since a start that is under way may be about to use this side again. */
  function drained(ref: string, slug: string, side: "a" | "b"): Promise<void> {
    return inTurn(ref, slug, async () => {
      if (serving.get(`${ref}.${slug}`) !== side) await host.runtimes.stop(`${ref}.${slug}.${side}`);
    });
  }

  function inTurn<Result>(ref: string, slug: string, work: () => Promise<Result>): Promise<Result> {
    const key = `${ref}.${slug}`;
    const result = (queues.get(key) ?? Promise.resolve()).then(work, work);
    queues.set(
      key,
      result.catch(() => undefined), // whoever asked gets the error
    );
    return result;
  }
}
