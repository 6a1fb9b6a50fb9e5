import { createHash } from "node:crypto";
import * as z from "zod";
import { readProjectFile } from "../plugin/project-file.ts";
import { defineResource, type ResourceContext, ResourceError, type ResourceType } from "../plugin/resource.ts";
import { managementApi, type ProjectAddress } from "./api.ts";
import { maxSlugLength, projectRefPattern, secretName, type SecretVariable, slugPattern } from "./names.ts";
import { claimSql, observeSql, presentSql, releaseSql, schemaSql, schemaVersion } from "./schema.ts";

const defaultApi = "https://api.supabase.com";

/** An import knows nothing but an id; `SUPABASE_API_URL` tells it of another control plane than the vendor's. */
function importApi(): string {
  return process.env["SUPABASE_API_URL"] ?? defaultApi;
}

const project = {
  api: z.url({ protocol: /^https?$/ }).default(defaultApi),
  projectRef: z.string().regex(projectRefPattern, "a project ref is 20 lower-case letters"),
};
const slug = z
  .string()
  .regex(slugPattern, "a slug is lower-case letters, digits and dashes, and starts with a letter")
  .max(maxSlugLength);

const databaseInputs = z.strictObject({
  ...project,
  /** Who needs the schema; the last one to go drops it with all state in it. */
  owner: z.string().min(1),
  /** Of the schema; the program passes the toolkit's own. */
  version: z.int().positive(),
});
type DatabaseInputs = z.output<typeof databaseInputs>;

/** The schema that holds the state of a project's nodes. Import id: `<ref>/<owner>`. */
const database = defineResource<DatabaseInputs, object>({
  token: "federation:index:SupabaseDatabase",
  description: "The database schema that holds the state of a Supabase project's nodes",
  inputs: databaseInputs,
  secrets: [],
  replaceOn: ["api", "projectRef", "owner"],
  async create(inputs, context) {
    await ensureSchema(inputs, context);
    return { id: `${inputs.projectRef}/${inputs.owner}`, outputs: {} };
  },
  async read(id, stored, context) {
    const [projectRef, owner] = splitId(id, "<ref>/<owner>");
    const address = { api: stored?.inputs.api ?? importApi(), projectRef };
    const observed = await observeSchema(address, owner, context);
    if (!observed?.claimed) return undefined;
    return { id, inputs: { ...address, owner, version: observed.version }, outputs: {} };
  },
  async update(_id, inputs, _stored, context) {
    await ensureSchema(inputs, context);
    return { outputs: {} };
  },
  async delete(_id, { inputs }, { signal }) {
    await managementApi(inputs, signal).query(releaseSql(inputs.owner));
  },
});

async function ensureSchema(inputs: DatabaseInputs, context: ResourceContext): Promise<void> {
  const observed = await observeSchema(inputs, inputs.owner, context);
  if (observed && observed.version > schemaVersion) {
    throw new ResourceError(
      `the database of project ${inputs.projectRef} has version ${observed.version} of the schema, this toolkit knows ${schemaVersion}: upgrade the toolkit`,
    );
  }
  // One request is one transaction: the owner is counted exactly when the schema is there.
  await managementApi(inputs, context.signal).query(schemaSql + claimSql(inputs.owner));
}

async function observeSchema(address: ProjectAddress, owner: string, { signal }: ResourceContext) {
  const api = managementApi(address, signal);
  const [{ present }] = z.tuple([z.object({ present: z.boolean() })]).parse(await api.query(presentSql));
  if (!present) return undefined;
  return z.array(z.object({ version: z.int(), claimed: z.boolean() })).parse(await api.query(observeSql(owner)))[0];
}

const secretsInputs = z.strictObject({
  ...project,
  slug,
  /** Value of the node's `FEDERATION_CONFIG`. */
  config: z.string(),
  /** Value of the node's `FEDERATION_KEY`. */
  key: z.string(),
  /** Value of the node's `FEDERATION_UPSTREAMS`. */
  upstreams: z.string().optional(),
});
type SecretsInputs = z.output<typeof secretsInputs>;
interface SecretsOutputs {
  /** Grows when values are written, so that the function that depends on it is deployed anew and drops warm isolates with old values. */
  readonly revision: number;
}

/** The secrets of one node. Import id: `<ref>/<slug>`; values cannot be read back, so the next `up` writes them. */
const secrets = defineResource<SecretsInputs, SecretsOutputs>({
  token: "federation:index:SupabaseSecrets",
  description: "The secrets of one node in a Supabase project",
  inputs: secretsInputs,
  secrets: ["key", "upstreams"],
  replaceOn: ["api", "projectRef", "slug"],
  preview: (_inputs, old) => ({ revision: (old?.revision ?? 0) + 1 }),
  async create(inputs, { signal }) {
    await managementApi(inputs, signal).setSecrets(secretValues(inputs));
    return { id: `${inputs.projectRef}/${inputs.slug}`, outputs: { revision: 1 } };
  },
  async read(id, stored, { signal }) {
    const [projectRef, slug] = splitId(id, "<ref>/<slug>");
    const address = { api: stored?.inputs.api ?? importApi(), projectRef };
    const digests = await managementApi(address, signal).secretDigests();
    const observe = (variable: SecretVariable, known: string | undefined) => {
      const digest = digests.get(secretName(variable, slug));
      // The API tells digests only. A value that somebody else wrote shows as empty, which differs from any that we write.
      return digest === undefined ? undefined : known !== undefined && sha256(known) === digest ? known : "";
    };
    const config = observe("FEDERATION_CONFIG", stored?.inputs.config);
    const key = observe("FEDERATION_KEY", stored?.inputs.key);
    const upstreams = observe("FEDERATION_UPSTREAMS", stored?.inputs.upstreams);
    if (config === undefined && key === undefined) return undefined;
    return {
      id,
      inputs: { ...address, slug, config: config ?? "", key: key ?? "", ...(upstreams !== undefined && { upstreams }) },
      outputs: stored?.outputs ?? { revision: 0 },
    };
  },
  async update(_id, inputs, stored, { signal }) {
    const api = managementApi(inputs, signal);
    const values = secretValues(inputs);
    await api.setSecrets(values);
    const left = Object.keys(secretValues(stored.inputs)).filter((name) => !(name in values));
    if (left.length > 0) await api.deleteSecrets(left);
    return { outputs: { revision: stored.outputs.revision + 1 } };
  },
  async delete(_id, { inputs }, { signal }) {
    await managementApi(inputs, signal).deleteSecrets(Object.keys(secretValues(inputs)));
  },
});

function secretValues({ slug, config, key, upstreams }: SecretsInputs): Record<string, string> {
  return {
    [secretName("FEDERATION_CONFIG", slug)]: config,
    [secretName("FEDERATION_KEY", slug)]: key,
    ...(upstreams !== undefined && { [secretName("FEDERATION_UPSTREAMS", slug)]: upstreams }),
  };
}

const functionInputs = z.strictObject({
  ...project,
  slug,
  /** Of the bundle, relative to the project's root: an absolute path would differ from machine to machine. */
  bundlePath: z.string().refine((path) => !path.startsWith("/"), "must be relative to the project's root"),
  /** Of the bundle, hex. Empty = unknown, after an import or when somebody else deployed. */
  bundleSha256: z.string(),
  verifyJwt: z.boolean(),
  /** {@link SecretsOutputs.revision} of the node's secrets. */
  secretsRevision: z.int(),
});
type FunctionInputs = z.output<typeof functionInputs>;
interface FunctionOutputs {
  /** Grows with every deployment, whoever made it. */
  readonly version: number;
  /** Supabase's hash of its own form of the code (eszip). It cannot be computed here, so it is only compared with what was seen before. */
  readonly ezbrSha256: string;
}

/** One Edge Function. Import id: `<ref>/<slug>`; the code cannot be compared, so the next `up` deploys it. */
const edgeFunction = defineResource<FunctionInputs, FunctionOutputs>({
  token: "federation:index:SupabaseFunction",
  description: "A Supabase Edge Function that runs one node",
  inputs: functionInputs,
  secrets: [],
  replaceOn: ["api", "projectRef", "slug"],
  async create(inputs, context) {
    return { id: `${inputs.projectRef}/${inputs.slug}`, outputs: await deploy(inputs, context) };
  },
  async read(id, stored, { signal }) {
    const [projectRef, slug] = splitId(id, "<ref>/<slug>");
    const address = { api: stored?.inputs.api ?? importApi(), projectRef };
    const observed = await managementApi(address, signal).getFunction(slug);
    if (!observed) return undefined;
    const outputs = { version: observed.version, ezbrSha256: observed.ezbr_sha256 ?? "" };
    const ours = outputs.ezbrSha256
      ? outputs.ezbrSha256 === stored?.outputs.ezbrSha256
      : outputs.version === stored?.outputs.version;
    const inputs = {
      ...address,
      slug,
      bundlePath: stored?.inputs.bundlePath ?? "",
      bundleSha256: ours && stored ? stored.inputs.bundleSha256 : "",
      verifyJwt: observed.verify_jwt,
      secretsRevision: stored?.inputs.secretsRevision ?? 0,
    };
    return { id, inputs, outputs };
  },
  async update(_id, inputs, _stored, context) {
    return { outputs: await deploy(inputs, context) };
  },
  async delete(_id, { inputs }, { signal }) {
    await managementApi(inputs, signal).deleteFunction(inputs.slug);
  },
});

async function deploy(inputs: FunctionInputs, { signal }: ResourceContext): Promise<FunctionOutputs> {
  const { slug, verifyJwt, bundlePath: path, bundleSha256: sha256 } = inputs;
  const code = await readProjectFile({ path, sha256 });
  const deployed = await managementApi(inputs, signal).deployFunction({ slug, code, verifyJwt });
  return { version: deployed.version, ezbrSha256: deployed.ezbr_sha256 ?? "" };
}

function splitId(id: string, form: string): [string, string] {
  const slash = id.indexOf("/");
  const parts: [string, string] = [id.slice(0, slash), id.slice(slash + 1)];
  if (slash > 0 && projectRefPattern.test(parts[0]) && parts[1]) return parts;
  throw new ResourceError(`the id "${id}" must be ${form}, with the project's ref of 20 lower-case letters`);
}

function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** The types of ours that the plugin serves for Supabase. */
const types: readonly ResourceType[] = [database, secrets, edgeFunction];
export default types;
