import { createHash } from "node:crypto";
import * as z from "zod";
import { type Database, isPostgresError } from "./database.ts";
import { check, readJson } from "./body.ts";
import { ApiError } from "./errors.ts";
import type { Functions } from "./functions.ts";
import { makeUpload, readUpload } from "./multipart.ts";
import { describe, listKeys, publicRecord } from "./records.ts";
import type { FunctionRecord, Project, Store } from "./store.ts";

export interface ManagementParts {
  readonly store: Store;
  readonly functions: Functions;
  readonly database: (ref: string) => Promise<Database>;
}

interface Call {
  readonly request: Request;
  readonly query: URLSearchParams;
  readonly project: Project;
  /** Last part of the path, where the route has one. */
  readonly slug: string;
}
type Route = readonly [method: string, path: RegExp, answer: (call: Call) => Promise<Response> | Response];

const deploySlug = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]*$/);
const slugsSchema = z.array(
  z.looseObject({
    slug: deploySlug,
    ezbr_sha256: z.string(),
    version: z.int().optional(),
    verify_jwt: z.boolean().optional(),
  }),
);
const secretsSchema = z.array(
  z.object({
    name: z
      .string()
      .max(256)
      .regex(/^(?!SUPABASE_).*/, "Secret name must not start with the SUPABASE_ prefix."),
    value: z.string().max(24_576),
  }),
);
const sourceSchema = z.object({
  slug: deploySlug.optional(),
  name: z.string().optional(),
  body: z.string().optional(),
  verify_jwt: z.boolean().optional(),
});
const querySchema = z.object({ query: z.string().min(1), read_only: z.boolean().default(false) });
/** https://supabase.com/docs/guides/functions/limits */
const maxSecrets = 100;

/** The part of the Management API (https://supabase.com/docs/reference/api) that deployments use. Throws an {@link ApiError} to refuse. */
export function managementApi({
  store,
  functions,
  database,
}: ManagementParts): (request: Request, path: string) => Promise<Response> {
  /** Uploads with `bundleOnly`, until the bulk update activates them. */
  const staged = new Map<string, FunctionRecord>();
  const routes: readonly Route[] = [
    ["GET", /^$/, ({ project }) => Response.json(describe(project))],
    [
      "GET",
      /^\/api-keys$/,
      ({ project, query }) => Response.json(listKeys(project.keys, query.get("reveal") === "true")),
    ],
    ["GET", /^\/functions$/, ({ project }) => Response.json(Object.values(project.functions).map(publicRecord))],
    ["POST", /^\/functions$/, createFromSource],
    ["PUT", /^\/functions$/, activateStaged],
    ["POST", /^\/functions\/deploy$/, deploy],
    ["GET", /^\/functions\/([\w-]+)$/, (call) => Response.json(publicRecord(known(call)))],
    ["PATCH", /^\/functions\/([\w-]+)$/, patch],
    ["DELETE", /^\/functions\/([\w-]+)$/, remove],
    ["GET", /^\/functions\/([\w-]+)\/body$/, readBody],
    ["GET", /^\/secrets$/, listSecrets],
    ["POST", /^\/secrets$/, setSecrets],
    ["DELETE", /^\/secrets$/, deleteSecrets],
    ["POST", /^\/database\/query$/, runQuery],
  ];
  return answer;

  async function answer(request: Request, path: string): Promise<Response> {
    const notFound = new ApiError(404, `Cannot ${request.method} ${path}`);
    if (path === "/v1/projects" && request.method === "GET") return Response.json(store.list().map(describe));
    const [, ref, rest] = /^\/v1\/projects\/([a-z]{20})(\/.*)?$/.exec(path) ?? [];
    if (ref === undefined) throw notFound;
    for (const [method, pattern, answer] of routes) {
      const match = pattern.exec(rest ?? "");
      if (method !== request.method || !match) continue;
      const { searchParams: query } = new URL(request.url);
      return answer({ request, query, project: await store.open(ref), slug: match[1] ?? "" });
    }
    throw notFound;
  }

  async function deploy({ request, query, project }: Call): Promise<Response> {
    const slug = check(deploySlug, query.get("slug"));
    const record = functions.stage(project, slug, await readUpload(request));
    if (query.get("bundleOnly") === "true") staged.set(`${project.ref}/${slug}/${record.ezbr_sha256}`, record);
    else await functions.activate(project, record);
    return Response.json(publicRecord(record), { status: 201 });
  }

  async function activateStaged({ request, project }: Call): Promise<Response> {
    const items = await readJson(request, slugsSchema);
    const records = items.map(({ slug, ezbr_sha256, version, verify_jwt }) => {
      const key = `${project.ref}/${slug}/${ezbr_sha256}`;
      const record = staged.get(key) ?? project.functions[slug];
      if (record?.ezbr_sha256 !== ezbr_sha256)
        throw new ApiError(400, `Function ${slug} has no bundle with ezbr_sha256 ${ezbr_sha256}`);
      staged.delete(key);
      return { ...record, version: version ?? record.version, verify_jwt: verify_jwt ?? record.verify_jwt };
    });
    const active = await Promise.all(records.map((record) => functions.activate(project, record)));
    return Response.json({ functions: active.map(publicRecord) });
  }

  async function createFromSource(call: Call): Promise<Response> {
    const source = await readSource(call.request);
    const slug = check(deploySlug, source.slug);
    if (call.project.functions[slug]) throw new ApiError(400, `Duplicated function slug ${slug}`);
    return Response.json(publicRecord(await fromSource(call.project, slug, source)), { status: 201 });
  }

  async function patch(call: Call): Promise<Response> {
    const before = known(call);
    const source = await readSource(call.request);
    if (source.body !== undefined)
      return Response.json(publicRecord(await fromSource(call.project, before.slug, source)));
    const changes = { name: source.name ?? before.name, verify_jwt: source.verify_jwt ?? before.verify_jwt };
    const record = { ...before, ...changes, version: before.version + 1, updated_at: Date.now() };
    call.project.functions[before.slug] = record;
    store.save(call.project);
    return Response.json(publicRecord(record));
  }

  function fromSource(
    project: Project,
    slug: string,
    { name, body, verify_jwt }: z.output<typeof sourceSchema>,
  ): Promise<FunctionRecord> {
    if (body === undefined) throw new ApiError(400, "body is required");
    const metadata = { entrypoint_path: "index.ts", static_patterns: [], name: name ?? slug, verify_jwt };
    return functions.activate(
      project,
      functions.stage(project, slug, makeUpload(metadata, new Map([["index.ts", Buffer.from(body)]]))),
    );
  }

  async function remove({ project, slug }: Call): Promise<Response> {
    if (!(await functions.remove(project, slug))) throw new ApiError(404, `Function ${slug} not found`);
    return Response.json({});
  }

  /** Supabase answers an eszip, or the sources as multipart to whom accepts that; there is no eszip here. */
  function readBody(call: Call): Response {
    const { slug, ezbr_sha256 } = known(call);
    const form = new FormData();
    for (const [path, bytes] of store.readUpload(call.project.ref, slug, ezbr_sha256))
      form.append("file", new File([bytes], path));
    return new Response(form);
  }

  function listSecrets({ project }: Call): Response {
    const names = Object.keys(project.secrets).sort();
    return Response.json(
      names.map((name) => {
        const { value, updatedAt } = project.secrets[name]!;
        return { name, value: createHash("sha256").update(value).digest("hex"), updated_at: updatedAt };
      }),
    );
  }

  async function setSecrets({ request, project }: Call): Promise<Response> {
    const secrets = await readJson(request, secretsSchema);
    const names = new Set([...Object.keys(project.secrets), ...secrets.map(({ name }) => name)]);
    if (names.size > maxSecrets) throw new ApiError(400, `Maximum number of secrets (${maxSecrets}) exceeded`);
    const changed = secrets.filter(({ name, value }) => project.secrets[name]?.value !== value);
    for (const { name, value } of changed) project.secrets[name] = { value, updatedAt: new Date().toISOString() };
    changedSecrets(project, changed.length > 0);
    return new Response(null, { status: 201 });
  }

  async function deleteSecrets({ request, project }: Call): Promise<Response> {
    const names = (await readJson(request, z.array(z.string()))).filter((name) => name in project.secrets);
    for (const name of names) delete project.secrets[name];
    changedSecrets(project, names.length > 0);
    return new Response(null, { status: 200 });
  }

  function changedSecrets(project: Project, changed: boolean): void {
    if (!changed) return;
    store.save(project);
    functions.restartSoon(project);
  }

  async function runQuery({ request, project }: Call): Promise<Response> {
    const { query, read_only } = await readJson(request, querySchema);
    try {
      return Response.json(await (await database(project.ref)).query(query, read_only), { status: 201 });
    } catch (error) {
      if (isPostgresError(error))
        throw new ApiError(400, `Failed to run sql query: ERROR:  ${error.code}: ${error.message}`);
      throw error;
    }
  }
}

function known({ project, slug }: Call): FunctionRecord {
  const record = project.functions[slug];
  if (!record) throw new ApiError(404, `Function ${slug} not found`);
  return record;
}

async function readSource(request: Request): Promise<z.output<typeof sourceSchema>> {
  if (request.headers.get("content-type")?.startsWith("application/vnd.denoland.eszip")) {
    throw new ApiError(
      400,
      "this emulator runs sources, not eszip bundles: use POST functions/deploy (`supabase functions deploy --use-api`)",
    );
  }
  return readJson(request, sourceSchema);
}
