import * as z from "zod";
import { client, done, found } from "../api.ts";
import { defineResource, ResourceError } from "../../plugin/resource.ts";
import { importId, sameShape } from "./observed.ts";

const inputs = z.strictObject({
  accountId: z.string(),
  name: z.string(),
  subdomain: z.strictObject({ enabled: z.boolean().optional(), previewsEnabled: z.boolean().optional() }).optional(),
  observability: z
    .strictObject({ enabled: z.boolean().optional(), headSamplingRate: z.number().min(0).max(1).optional() })
    .optional(),
  logpush: z.boolean().optional(),
  tags: z.array(z.string()).optional(),
});

type Inputs = z.output<typeof inputs>;
type Outputs = Readonly<Record<string, unknown>>;

/** A Worker as the API answers it. */
interface Remote {
  readonly id: string;
  readonly name: string;
  readonly created_on: string;
  readonly updated_on: string;
  readonly deployed_on?: string | null;
  readonly logpush: boolean;
  readonly observability: { readonly enabled?: boolean; readonly head_sampling_rate?: number };
  readonly subdomain: { readonly enabled?: boolean; readonly previews_enabled?: boolean; readonly url?: string };
  readonly tags: readonly string[];
}

/** A Worker: its name, address and settings, without code. */
export const worker = defineResource<Inputs, Outputs>({
  token: "cloudflare:index/worker:Worker",
  description: "A Cloudflare Worker: its name, address and settings, without code.",
  inputs,
  secrets: [],
  replaceOn: ["accountId"],

  async create(inputs, context) {
    const { workers } = (await client(context)).workers.beta;
    // One that an earlier, interrupted run made is brought in line instead of made.
    const existing = await found(workers.get(inputs.name, { account_id: inputs.accountId }));
    const remote = await done(existing ? workers.update(existing.id, body(inputs)) : workers.create(body(inputs)));
    return { id: remote.id, outputs: outputs(inputs, remote as Remote) };
  },

  async read(id, stored, context) {
    const [account = stored?.inputs.accountId, worker = id] = stored ? [] : importId(id, "<account_id>/<worker_id>");
    if (account === undefined) throw new ResourceError(`the Worker ${id} has no accountId in the stack's state`);
    const { workers } = (await client(context)).workers.beta;
    const remote = (await found(workers.get(worker, { account_id: account }))) as Remote | undefined;
    if (!remote) return undefined;
    const observed = observe(account, remote);
    const inputs = stored ? sameShape(stored.inputs, observed) : observed;
    return { id: remote.id, inputs, outputs: outputs(inputs, remote) };
  },

  async update(id, inputs, _stored, context) {
    const { workers } = (await client(context)).workers.beta;
    return { outputs: outputs(inputs, (await done(workers.update(id, body(inputs)))) as Remote) };
  },

  async delete(id, { inputs }, context) {
    const { workers } = (await client(context)).workers.beta;
    await found(workers.delete(id, { account_id: inputs.accountId }));
  },
});

function body({ accountId, name, subdomain, observability, logpush, tags }: Inputs) {
  return {
    account_id: accountId,
    name,
    ...(subdomain && { subdomain: known({ enabled: subdomain.enabled, previews_enabled: subdomain.previewsEnabled }) }),
    ...(observability && {
      observability: known({ enabled: observability.enabled, head_sampling_rate: observability.headSamplingRate }),
    }),
    ...known({ logpush, tags }),
  };
}

/** Without the fields that are undefined. */
function known<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function observe(accountId: string, { name, subdomain, observability, logpush, tags }: Remote): Inputs {
  return {
    accountId,
    name,
    subdomain: known({ enabled: subdomain.enabled, previewsEnabled: subdomain.previews_enabled }),
    observability: known({ enabled: observability.enabled, headSamplingRate: observability.head_sampling_rate }),
    logpush,
    tags: [...tags],
  };
}

function outputs({ accountId }: Inputs, remote: Remote): Outputs {
  const { subdomain, observability, ...rest } = observe(accountId, remote);
  return {
    ...rest,
    observability,
    subdomain: { ...subdomain, ...known({ url: remote.subdomain.url }) },
    createdOn: remote.created_on,
    updatedOn: remote.updated_on,
  };
}
