import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { EmulatorHost } from "../../local-cloud/emulator.ts";
import { objectsFolder, workerdConfig } from "./capnp.ts";
import { checkBoundClasses, nextClasses } from "./classes.ts";
import type { Classes } from "./classes.ts";
import { ApiError, invalid, noScript } from "./envelope.ts";
import type { Upload } from "./multipart.ts";
import { blank, deployedVersion, newDeployment, nextNumber } from "./records.ts";
import { mergeSettings, replace } from "./store.ts";
import type { Deployment, Store, Version, Worker } from "./store.ts";
import { draftVersion, withSecret } from "./upload.ts";
import type { Draft } from "./upload.ts";
import { runtimeSpec, tryStart } from "./workerd.ts";
import type { Run } from "./workerd.ts";

/** A Worker keeps as many versions as can be deployed again. */
const versionsKept = 100;

export interface UploadRequest {
  readonly upload: Upload;
  /** Send all requests to the new version. */
  readonly deploy: boolean;
  /** Refuse `inherit` bindings that cannot be resolved. */
  readonly strict: boolean;
  readonly source: string;
}

/** What can be done to Workers: each change is checked in the real runtime before it is stored, and stored before it is served. */
export interface Control {
  find(account: string, name: string): Worker;
  /** Makes a Worker without code; an error when the name is taken. */
  create(account: string, name: string, fields?: Partial<Pick<Worker, "subdomain" | "settings">>): Promise<Worker>;
  /** Makes the Worker when there is none. */
  upload(account: string, name: string, request: UploadRequest): Promise<{ worker: Worker; version: Version }>;
  deploy(account: string, name: string, deployment: Pick<Deployment, "versions" | "annotations">): Promise<Deployment>;
  setSecret(account: string, name: string, secret: string, text: string | undefined): Promise<void>;
  change(account: string, name: string, fields: Partial<Pick<Worker, "subdomain" | "settings">>): Promise<Worker>;
  remove(account: string, name: string): Promise<void>;
  /** Starts what was deployed when the emulator last ran. */
  resume(): Promise<void>;
}

export function createControl(host: EmulatorHost, store: Store): Control {
  const queues = new Map<string, Promise<unknown>>();

  return {
    find,

    create: (account, name, fields) =>
      inTurn(name, async () => {
        if (store.get(name)) throw new ApiError(409, 10040, `A Worker named '${name}' exists already.`);
        const worker = { ...blank(account, name), ...fields };
        await store.save(worker);
        return worker;
      }),

    upload: (account, name, request) => inTurn(name, () => upload(account, name, request)),

    deploy: (account, name, { versions, annotations }) =>
      inTurn(name, async () => {
        const worker = find(account, name);
        const deployment = newDeployment(versions, annotations);
        const unknown = versions.find(({ version_id }) => !worker.versions.some(({ id }) => id === version_id));
        if (unknown) throw new ApiError(404, 10212, `There is no version ${unknown.version_id} of this Worker.`);
        const sum = versions.reduce((total, { percentage }) => total + percentage, 0);
        if (sum !== 100)
          throw new ApiError(400, 10213, `The percentages of a deployment must total 100; these total ${sum}.`);
        const version = deployedVersion({ ...worker, deployments: [deployment] });
        if (!version)
          throw new ApiError(400, 10213, "The local cloud runs one version at a time: give one version 100 percent.");
        await swap(
          worker,
          { ...worker, deployments: [...worker.deployments, deployment] },
          await loadDraft(worker, version),
        );
        return deployment;
      }),

    setSecret: (account, name, secret, text) =>
      inTurn(name, async () => {
        const worker = find(account, name);
        const version = deployedVersion(worker) ?? worker.versions.at(-1);
        if (!version) throw noScript();
        if (
          text === undefined &&
          !version.bindings.some((binding) => binding.type === "secret_text" && binding.name === secret)
        ) {
          throw new ApiError(404, 10056, `There is no secret named '${secret}'.`);
        }
        const draft = withSecret(await loadDraft(worker, version), secret, text, nextNumber(worker));
        await add(worker, draft, worker, true);
      }),

    change: (account, name, fields) =>
      inTurn(name, async () => {
        const worker = { ...find(account, name), ...fields, modified: new Date().toISOString() };
        await store.save(worker);
        return worker;
      }),

    remove: (account, name) =>
      inTurn(name, async () => {
        find(account, name);
        await host.runtimes.stop(name);
        await store.remove(name);
      }),

    async resume() {
      await Promise.all(
        store.all().map(async (worker) => {
          const version = deployedVersion(worker);
          if (!version) return;
          try {
            await host.runtimes.start(
              worker.name,
              runtimeSpec(await prepare(worker, await loadDraft(worker, version))),
            );
          } catch (error) {
            // One Worker that does not start must not keep the others from serving.
            host.log(`${worker.name} does not start: ${(error as Error).message}`);
          }
        }),
      );
    },
  };

  function find(account: string, name: string): Worker {
    const worker = store.get(name);
    if (worker?.account !== account) throw noScript();
    return worker;
  }

  async function upload(
    account: string,
    name: string,
    request: UploadRequest,
  ): Promise<{ worker: Worker; version: Version }> {
    const worker = store.get(name) ?? blank(account, name);
    if (worker.account !== account)
      throw invalid(
        `The local cloud serves the Workers of all accounts below one host, and account ${worker.account} has one named '${name}'.`,
      );
    const before = deployedVersion(worker) ?? worker.versions.at(-1);
    const draft = draftVersion(request.upload, {
      number: nextNumber(worker),
      previous: { bindings: before?.bindings ?? [], secrets: before ? await store.secrets(name, before.id) : {} },
      strict: request.strict,
      source: request.source,
    });
    const classes = nextClasses(name, worker, request.upload.metadata);
    const changed = JSON.stringify(classes.namespaces) !== JSON.stringify(worker.namespaces);
    if (changed && !request.deploy) {
      throw new ApiError(
        400,
        10211,
        "Version upload failed. You attempted to upload a version of a Worker that includes a Durable Object migration, but migrations must be fully applied via a non-versioned deployment.",
      );
    }
    checkBoundClasses(classes, draft.version.bindings);
    const settings = request.deploy ? mergeSettings(worker.settings, request.upload.metadata) : worker.settings;
    return add({ ...worker, settings }, draft, classes, request.deploy);
  }

  /** Adds a version after it started once, and deploys it if asked to. */
  async function add(
    worker: Worker,
    draft: Draft,
    classes: Classes,
    deploy: boolean,
  ): Promise<{ worker: Worker; version: Version }> {
    const { name } = worker;
    const next: Worker = { ...worker, ...pick(classes) };
    await store.writeVersion(name, draft.version, draft.contents, draft.secrets);
    const outcome = await tryStart(await prepare(next, draft));
    if ("error" in outcome) {
      await store.removeVersion(name, draft.version.id);
      throw invalid(outcome.error);
    }
    const version: Version = { ...draft.version, startupMs: outcome.startupMs };
    const deployment = newDeployment([{ version_id: version.id, percentage: 100 }], version.annotations);
    const added: Worker = {
      ...next,
      modified: version.created,
      versions: [...worker.versions, version].slice(-versionsKept),
      deployments: deploy ? [...worker.deployments, deployment].slice(-versionsKept) : worker.deployments,
    };
    if (deploy) await swap(worker, added, { ...draft, version });
    else await store.save(added);
    await Promise.all(
      worker.versions
        .filter(({ id }) => !added.versions.some((kept) => kept.id === id))
        .map(({ id }) => store.removeVersion(name, id)),
    );
    await removeStorage(worker, added);
    return { worker: added, version };
  }

  /** Stores the next state and serves it. When it does not come up after all, the state before is stored and served again. */
  async function swap(before: Worker, next: Worker, draft: Draft): Promise<void> {
    await store.save(next);
    try {
      await host.runtimes.start(next.name, runtimeSpec(await prepare(next, draft)));
    } catch (error) {
      const version = deployedVersion(before);
      await store.save(before);
      if (version)
        await host.runtimes.start(before.name, runtimeSpec(await prepare(before, await loadDraft(before, version))));
      throw invalid((error as Error).message);
    }
  }

  /** Writes the runtime's configuration beside the version's modules. */
  async function prepare(worker: Worker, { version, secrets }: Draft): Promise<Run> {
    const cwd = store.folder(worker.name);
    const config = join(store.versionFolder(worker.name, version.id), "worker.capnp");
    await mkdir(join(cwd, objectsFolder), { recursive: true, mode: 0o700 });
    await replace(config, workerdConfig(version, worker.namespaces));
    return { cwd, config, secrets };
  }

  async function loadDraft(worker: Worker, version: Version): Promise<Draft> {
    return {
      version,
      contents: await store.contents(worker.name, version),
      secrets: await store.secrets(worker.name, version.id),
    };
  }

  async function removeStorage(before: Worker, next: Worker): Promise<void> {
    const gone = before.namespaces.filter(({ id }) => !next.namespaces.some((kept) => kept.id === id));
    await Promise.all(
      gone.map(({ id }) => rm(join(store.folder(next.name), objectsFolder, id), { recursive: true, force: true })),
    );
  }

  /** Changes of one Worker run one after the other. */
  function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const result = (queues.get(name) ?? Promise.resolve()).then(work);
    queues.set(
      name,
      result.catch(() => undefined),
    ); // whoever asked gets the error; the next in turn does not
    return result;
  }
}

function pick({ namespaces, lifecycle, migrationTag }: Classes): Classes {
  return { namespaces, ...(lifecycle && { lifecycle }), ...(migrationTag !== undefined && { migrationTag }) };
}
