import * as answers from "./answers.ts";
import type { Control } from "./control.ts";
import { ApiError, invalid, noScript, success } from "./envelope.ts";
import type { UploadedModule } from "./multipart.ts";
import type { Call, Route } from "./router.ts";
import { readJson } from "./scripts.ts";
import { mergeSettings } from "./store.ts";
import type { Settings, Store, Version, Worker } from "./store.ts";

const workers = "/accounts/{account}/workers/workers";
const one = `${workers}/{worker}`;

/** The Workers API: JSON, with the Worker, its versions and its deployments as things of their own; what the adapter uses. */
export function workerRoutes(control: Control, store: Store, urlOf: (name: string) => string): readonly Route[] {
  return [
    [`POST ${workers}`, create],
    [`GET ${workers}`, list],
    [`GET ${one}`, ({ account, path }) => answer(find(account, path.worker))],
    [`PUT ${one}`, (call) => change(call, blankSettings)],
    [`PATCH ${one}`, (call) => change(call, find(call.account, call.path["worker"]!).settings)],
    [`DELETE ${one}`, remove],

    [`POST ${one}/versions`, createVersion],
    [`GET ${one}/versions`, listVersions],
    [`GET ${one}/versions/{version}`, getVersion],
  ];

  function find(account: string, idOrName: string): Worker {
    const worker = store.all().find(({ id, name }) => id === idOrName || name === idOrName);
    if (worker?.account !== account) throw noScript();
    return worker;
  }

  function answer(worker: Worker): Response {
    return success(answers.worker(worker, urlOf(worker.name)));
  }

  async function create({ request, account }: Call): Promise<Response> {
    const body = (await readJson(request)) as Body;
    if (typeof body.name !== "string" || !/^[a-z0-9_][a-z0-9_-]{0,62}$/.test(body.name))
      throw invalid(
        `The name ${JSON.stringify(body.name)} of a Worker must be 1 to 63 lower-case letters, digits, '-' and '_'.`,
      );
    return answer(await control.create(account, body.name, fields(body, blankSettings, notServed)));
  }

  function list({ account }: Call): Response {
    const found = store.all().filter((worker) => worker.account === account);
    return success(
      found.map((worker) => answers.worker(worker, urlOf(worker.name))),
      { count: found.length },
    );
  }

  async function change({ request, account, path }: Call, settings: Settings): Promise<Response> {
    const worker = find(account, path["worker"]!);
    const body = (await readJson(request)) as Body;
    if (body.name !== undefined && body.name !== worker.name) throw invalid("The local cloud does not rename Workers.");
    return answer(await control.change(account, worker.name, fields(body, settings, worker.subdomain)));
  }

  async function remove({ account, path }: Call): Promise<Response> {
    await control.remove(account, find(account, path["worker"]!).name);
    return success(null);
  }

  async function createVersion({ request, query, account, path }: Call): Promise<Response> {
    const worker = find(account, path["worker"]!);
    const { modules, ...metadata } = (await readJson(request)) as Readonly<Record<string, unknown>>;
    const result = await control.upload(account, worker.name, {
      upload: { metadata, modules: decode(modules) },
      deploy: query.get("deploy") === "true",
      strict: false,
      source: "api",
    });
    return success(answers.version(result.worker, result.version, await store.contents(worker.name, result.version)));
  }

  function listVersions({ account, path }: Call): Response {
    const worker = find(account, path["worker"]!);
    const items = worker.versions.toReversed().map((version) => answers.version(worker, version));
    return success(items, { count: items.length });
  }

  async function getVersion({ query, account, path }: Call): Promise<Response> {
    const worker = find(account, path["worker"]!);
    const version: Version | undefined = worker.versions.find(({ id }) => id === path["version"]);
    if (!version) throw new ApiError(404, 10212, `There is no version ${path["version"]} of this Worker.`);
    return success(
      answers.version(
        worker,
        version,
        query.get("include") === "modules" ? await store.contents(worker.name, version) : undefined,
      ),
    );
  }
}

type Body = Partial<Settings> & { readonly name?: unknown; readonly subdomain?: Partial<Worker["subdomain"]> };

const blankSettings: Settings = { logpush: false, observability: { enabled: false }, tags: [], tail_consumers: [] };
const notServed: Worker["subdomain"] = { enabled: false, previews_enabled: false };

function fields(
  body: Body,
  settings: Settings,
  { enabled, previews_enabled }: Worker["subdomain"],
): Pick<Worker, "settings" | "subdomain"> {
  return {
    settings: mergeSettings(settings, body),
    subdomain: {
      enabled: body.subdomain?.enabled ?? enabled,
      previews_enabled: body.subdomain?.previews_enabled ?? previews_enabled,
    },
  };
}

function decode(modules: unknown): UploadedModule[] {
  if (!Array.isArray(modules)) throw invalid("The version has no modules.");
  return modules.map((module: Readonly<Record<string, unknown>>) => ({
    name: String(module["name"]),
    contentType: String(module["content_type"]),
    content: new Uint8Array(Buffer.from(String(module["content_base64"]), "base64")),
  }));
}
