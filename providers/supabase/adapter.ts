import {
  CustomResource,
  type CustomResourceOptions,
  getProject,
  getStack,
  type Input,
  type Output,
} from "@pulumi/pulumi";
import * as z from "zod";
import type { ProviderAdapter } from "../adapter.ts";
import { maxSlugLength, projectRefPattern, slugPattern } from "./names.ts";
import { schemaVersion } from "./schema.ts";

const settings = z.strictObject({
  /** Ref of the project that the organization's functions live in. */
  projectRef: z
    .string()
    .regex(projectRefPattern, "must be 20 lower-case letters, as in the URL of the project's dashboard"),
  /** Base URL of the Management API. */
  api: z.url({ protocol: /^https?$/ }).default("https://api.supabase.com"),
  /** Public base URL of a function, with `{name}` in the place of its slug; for a custom domain. */
  url: z
    .string()
    .regex(/^https?:\/\/[^{}]*\{name\}$/, "must be an http(s) URL that ends in {name}")
    .optional(),
});
type Settings = z.output<typeof settings>;

/** What all nodes of one organization share: the schema that holds their state. */
interface Account {
  readonly database: SupabaseDatabase;
}

interface ProjectArgs {
  readonly api: Input<string>;
  readonly projectRef: Input<string>;
}

/** The schema that holds the state of a project's nodes. */
class SupabaseDatabase extends CustomResource {
  constructor(
    name: string,
    args: ProjectArgs & { owner: Input<string>; version: Input<number> },
    options?: CustomResourceOptions,
  ) {
    super("federation:index:SupabaseDatabase", name, { ...args }, options);
  }
}

/** The secrets of one node. */
class SupabaseSecrets extends CustomResource {
  declare readonly revision: Output<number>;
  constructor(
    name: string,
    args: ProjectArgs & {
      slug: Input<string>;
      config: Input<string>;
      key: Input<string>;
      upstreams?: Input<string>;
    },
    options?: CustomResourceOptions,
  ) {
    super("federation:index:SupabaseSecrets", name, { ...args, revision: undefined }, options);
  }
}

interface FunctionArgs extends ProjectArgs {
  readonly slug: Input<string>;
  readonly bundlePath: Input<string>;
  readonly bundleSha256: Input<string>;
  readonly verifyJwt: Input<boolean>;
  readonly secretsRevision: Input<number>;
}

/** One Edge Function. */
class SupabaseFunction extends CustomResource {
  declare readonly slug: Output<string>;
  declare readonly version: Output<number>;
  constructor(name: string, args: FunctionArgs, options?: CustomResourceOptions) {
    super("federation:index:SupabaseFunction", name, { ...args, version: undefined, ezbrSha256: undefined }, options);
  }
}

/** Supabase Edge Functions: a Deno function per node, state in the project's Postgres. */
export const supabase = {
  name: "supabase",
  runtime: "Deno",
  settings,
  names: {
    pattern: slugPattern,
    maxLength: maxSlugLength,
    words: `lower-case letters, digits and dashes, a letter first, at most ${maxSlugLength} characters`,
  },
  // https://supabase.com/docs/guides/functions/limits; a secret is counted in characters, so bytes are the safe side.
  limits: { bundleBytes: 20_000_000, variableBytes: 24_576 },
  target: {
    entry: "providers/supabase/entry.ts",
    platform: "neutral",
    conditions: ["workerd", "deno", "worker", "import"],
    external: ["node:*"],
    alias: Object.fromEntries(
      ["auth", "functions", "realtime", "storage"].map((part) => [
        `@supabase/${part}-js`,
        "providers/supabase/unused.ts",
      ]),
    ),
    start: "call",
    named: [],
  },
  urlFor,

  account(organization, { api, projectRef }, parent) {
    const owner = `${getProject()}/${getStack()}/${organization}`;
    const args = { api, projectRef, owner, version: schemaVersion };
    return { database: new SupabaseDatabase(`${organization}-supabase`, args, { parent }) };
  },

  deploy({ name: slug, settings, bundle, config, key, upstreamSecrets, parent }, { database }) {
    const { api, projectRef } = settings;
    const secrets = new SupabaseSecrets(
      `${slug}-secrets`,
      { api, projectRef, slug, config, key, ...(upstreamSecrets && { upstreams: upstreamSecrets }) },
      { parent },
    );
    const edgeFunction = new SupabaseFunction(
      `${slug}-function`,
      {
        api,
        projectRef,
        slug,
        bundlePath: bundle.path,
        bundleSha256: bundle.sha256,
        // Nodes check OAuth tokens of their own; the gateway would refuse every token that Supabase did not issue.
        verifyJwt: false,
        secretsRevision: secrets.revision,
      },
      { parent, dependsOn: [database] },
    );
    const url = edgeFunction.slug.apply((observed) => urlFor(observed, settings));
    return { url, resources: [secrets, edgeFunction] };
  },
} satisfies ProviderAdapter<Settings, Account>;

function urlFor(name: string, { projectRef, url }: Settings): string {
  return (url ?? `https://${projectRef}.supabase.co/functions/v1/{name}`).replace("{name}", name);
}
