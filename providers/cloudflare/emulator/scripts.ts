import * as answers from "./answers.ts";
import { deployedVersion } from "./records.ts";
import type { Control } from "./control.ts";
import { ApiError, invalid, noScript, success } from "./envelope.ts";
import { readUpload } from "./multipart.ts";
import type { Call, Route } from "./router.ts";
import { mergeSettings } from "./store.ts";
import type { Deployment, Settings, Store, Version, Worker } from "./store.ts";

const scripts = "/accounts/{account}/workers/scripts";
const one = `${scripts}/{script}`;

/** The script API: multipart uploads, as wrangler, the SDK and Terraform's `workers_script` use it. */
export function scriptRoutes(control: Control, store: Store): readonly Route[] {
  return [
    [
      `GET ${scripts}`,
      ({ account }) =>
        list(
          store
            .all()
            .filter((worker) => worker.account === account && worker.versions.length > 0)
            .map(answers.script),
        ),
    ],
    [`PUT ${one}`, async (call) => success(answers.script((await upload(call, true)).worker))],
    [`GET ${one}`, content],
    [`DELETE ${one}`, remove],

    [`GET ${one}/settings`, ({ account, path }) => success(answers.scriptSettings(...current(account, path.script)))],
    [`GET ${one}/script-settings`, ({ account, path }) => success(control.find(account, path.script).settings)],
    [`PATCH ${one}/script-settings`, changeSettings],
    [`GET ${one}/content/v2`, content],

    [`GET ${one}/secrets`, ({ account, path }) => success(secrets(account, path.script))],
    [`PUT ${one}/secrets`, putSecret],
    [`GET ${one}/secrets/{name}`, getSecret],
    [
      `DELETE ${one}/secrets/{name}`,
      async ({ account, path }) => (await control.setSecret(account, path.script, path.name, undefined), success(null)),
    ],

    [`POST ${one}/versions`, postVersion],
    [`GET ${one}/versions`, ({ account, path }) => listVersions(control.find(account, path.script))],
    [`GET ${one}/versions/{version}`, getVersion],

    [`POST ${one}/deployments`, postDeployment],
    [
      `GET ${one}/deployments`,
      ({ account, path }) =>
        success({ deployments: control.find(account, path.script).deployments.toReversed().map(answers.deployment) }),
    ],
    [`GET ${one}/deployments/{deployment}`, getDeployment],

    [`GET ${one}/subdomain`, ({ account, path }) => success(control.find(account, path.script).subdomain)],
    [`POST ${one}/subdomain`, postSubdomain],
    [
      `DELETE ${one}/subdomain`,
      async ({ account, path }) =>
        success(
          (await control.change(account, path.script, { subdomain: { enabled: false, previews_enabled: false } }))
            .subdomain,
        ),
    ],

    ["GET /accounts/{account}/workers/services/{script}", getService],
    ["DELETE /accounts/{account}/workers/services/{script}", remove],
  ];

  function list(items: readonly object[]): Response {
    return success(items, { count: items.length });
  }

  /** A Worker and the version that runs, or the newest where none does. */
  function current(account: string, name: string): [Worker, Version] {
    const worker = control.find(account, name);
    const version = deployedVersion(worker) ?? worker.versions.at(-1);
    if (!version) throw noScript();
    return [worker, version];
  }

  async function upload(
    { request, query, account, path }: Call,
    deploy: boolean,
  ): Promise<{ worker: Worker; version: Version }> {
    const source = request.headers.get("user-agent")?.startsWith("wrangler") ? "wrangler" : "api";
    return control.upload(account, path["script"]!, {
      upload: await readUpload(request),
      deploy,
      strict: query.get("bindings_inherit") === "strict",
      source,
    });
  }

  async function content({ account, path }: Call): Promise<Response> {
    const [worker, version] = current(account, path["script"]!);
    const contents = await store.contents(worker.name, version);
    const form = new FormData();
    for (const [index, { name, contentType }] of version.modules.entries()) {
      form.append(name, new File([contents[index]! as Uint8Array<ArrayBuffer>], name, { type: contentType }));
    }
    return new Response(form, { headers: { "cf-entrypoint": version.main } });
  }

  async function remove({ account, path }: Call): Promise<Response> {
    await control.remove(account, path["script"]!);
    return success(null);
  }

  async function changeSettings({ request, account, path }: Call): Promise<Response> {
    const change = (await readJson(request)) as Partial<Settings>;
    const { settings } = control.find(account, path["script"]!);
    return success(
      (await control.change(account, path["script"]!, { settings: mergeSettings(settings, change) })).settings,
    );
  }

  function secrets(account: string, name: string): readonly object[] {
    const worker = control.find(account, name);
    const version = deployedVersion(worker) ?? worker.versions.at(-1);
    return (version?.bindings ?? [])
      .filter(({ type }) => type === "secret_text")
      .map(({ name, type }) => ({ name, type }));
  }

  async function putSecret({ request, account, path }: Call): Promise<Response> {
    const { name, text } = (await readJson(request)) as { name?: unknown; text?: unknown };
    if (typeof name !== "string" || typeof text !== "string") throw invalid("A secret needs a name and a text.");
    await control.setSecret(account, path["script"]!, name, text);
    return success({ name, type: "secret_text" });
  }

  function getSecret({ account, path }: Call): Response {
    const secret = secrets(account, path["script"]!).find((item) => (item as { name: string }).name === path["name"]);
    if (!secret) throw new ApiError(404, 10056, `There is no secret named '${path["name"]}'.`);
    return success(secret);
  }

  async function postVersion(call: Call): Promise<Response> {
    control.find(call.account, call.path["script"]!);
    const { worker, version } = await upload(call, false);
    return success(answers.scriptVersion(worker, version));
  }

  function listVersions(worker: Worker): Response {
    const items = worker.versions.toReversed().map(answers.scriptVersionItem);
    return success({ items }, { count: items.length });
  }

  function getVersion({ account, path }: Call): Response {
    const worker = control.find(account, path["script"]!);
    const version = worker.versions.find(({ id }) => id === path["version"]);
    if (!version) throw new ApiError(404, 10212, `There is no version ${path["version"]} of this Worker.`);
    return success(answers.scriptVersion(worker, version));
  }

  async function postDeployment({ request, account, path }: Call): Promise<Response> {
    const { versions, annotations = {} } = (await readJson(request)) as Partial<Deployment>;
    if (!Array.isArray(versions) || versions.length < 1 || versions.length > 2)
      throw new ApiError(400, 10213, "A deployment has one or two versions.");
    return success(answers.deployment(await control.deploy(account, path["script"]!, { versions, annotations })));
  }

  function getDeployment({ account, path }: Call): Response {
    const found = control.find(account, path["script"]!).deployments.find(({ id }) => id === path["deployment"]);
    if (!found) throw new ApiError(404, 10214, `There is no deployment ${path["deployment"]} of this Worker.`);
    return success(answers.deployment(found));
  }

  async function postSubdomain({ request, account, path }: Call): Promise<Response> {
    const { enabled, previews_enabled } = (await readJson(request)) as {
      enabled?: unknown;
      previews_enabled?: unknown;
    };
    if (typeof enabled !== "boolean") throw new ApiError(400, 10034, "The body must have a boolean 'enabled'.");
    // Absent, previews follow the subdomain.
    const subdomain = { enabled, previews_enabled: typeof previews_enabled === "boolean" ? previews_enabled : enabled };
    return success((await control.change(account, path["script"]!, { subdomain })).subdomain);
  }

  function getService({ account, path }: Call): Response {
    const worker = store.get(path["script"]!);
    if (worker?.account !== account || worker.versions.length === 0)
      throw new ApiError(404, 10090, "This Worker does not exist on your account.");
    return success(answers.service(worker));
  }
}

export async function readJson(request: Request): Promise<unknown> {
  try {
    return await request.json();
  } catch {
    throw new ApiError(400, 10001, "The body is not JSON.");
  }
}
