import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { ResourceError } from "../plugin/resource.ts";

/** A project, and the control plane that knows it. */
export interface ProjectAddress {
  /** Base URL of the Management API, without a trailing slash. */
  readonly api: string;
  readonly projectRef: string;
}

const functionSchema = z.object({
  slug: z.string(),
  version: z.int(),
  verify_jwt: z.boolean().default(true),
  ezbr_sha256: z.string().optional(),
});
/** A deployed function, as far as the toolkit reads it. */
export type FunctionRecord = z.output<typeof functionSchema>;

const secretsSchema = z.array(z.object({ name: z.string(), value: z.string() }));

export interface FunctionUpload {
  readonly slug: string;
  /** The whole function as one ECMAScript module. */
  readonly code: Uint8Array<ArrayBuffer>;
  readonly verifyJwt: boolean;
}

/** Typed calls of the Supabase Management API (https://supabase.com/docs/reference/api) for one project. All of them may be repeated. */
export interface ManagementApi {
  deployFunction(upload: FunctionUpload): Promise<FunctionRecord>;
  /** Undefined where there is none. */
  getFunction(slug: string): Promise<FunctionRecord | undefined>;
  deleteFunction(slug: string): Promise<void>;
  /** SHA-256 digests, hex, of the secrets' values by name. */
  secretDigests(): Promise<ReadonlyMap<string, string>>;
  setSecrets(secrets: Readonly<Record<string, string>>): Promise<void>;
  deleteSecrets(names: readonly string[]): Promise<void>;
  /** Rows of the statement. */
  query(sql: string): Promise<readonly unknown[]>;
}

const attempts = 6;
const firstDelayMs = 500;
const longestDelayMs = 20_000;
const entrypoint = "index.js";

/** Calls the API with the token in `SUPABASE_ACCESS_TOKEN`; throws a {@link ResourceError} for what the user can mend. */
export function managementApi({ api, projectRef }: ProjectAddress, signal: AbortSignal): ManagementApi {
  const project = `/v1/projects/${projectRef}`;
  return {
    async deployFunction({ slug, code, verifyJwt }) {
      const form = new FormData();
      const metadata = { entrypoint_path: entrypoint, verify_jwt: verifyJwt, name: slug };
      form.set("file", new File([code], entrypoint, { type: "application/octet-stream" }));
      form.set("metadata", JSON.stringify(metadata));
      const response = await call("POST", `${project}/functions/deploy?slug=${slug}`, form);
      return functionSchema.parse(await response.json());
    },
    async getFunction(slug) {
      const response = await call("GET", `${project}/functions/${slug}`, undefined, [404]);
      return response.status === 404 ? undefined : functionSchema.parse(await response.json());
    },
    async deleteFunction(slug) {
      await call("DELETE", `${project}/functions/${slug}`, undefined, [404]);
    },
    async secretDigests() {
      const secrets = secretsSchema.parse(await (await call("GET", `${project}/secrets`)).json());
      return new Map(secrets.map(({ name, value }) => [name, value]));
    },
    async setSecrets(secrets) {
      await call(
        "POST",
        `${project}/secrets`,
        JSON.stringify(Object.entries(secrets).map(([name, value]) => ({ name, value }))),
      );
    },
    async deleteSecrets(names) {
      await call("DELETE", `${project}/secrets`, JSON.stringify(names), [404]);
    },
    async query(sql) {
      const response = await call("POST", `${project}/database/query`, JSON.stringify({ query: sql }));
      return z.array(z.unknown()).parse(await response.json());
    },
  };

  /** Repeats on 429, 5xx and lost connections; every call ends at the same place when it is repeated. */
  async function call(
    method: string,
    path: string,
    body?: BodyInit,
    accept: readonly number[] = [],
  ): Promise<Response> {
    const headers: Record<string, string> = { authorization: `Bearer ${accessToken()}` };
    if (typeof body === "string") headers["content-type"] = "application/json";
    for (let attempt = 1; ; attempt++) {
      const outcome = await fetch(api + path, { method, headers, body: body ?? null, signal }).catch(
        (error: unknown) => error as Error,
      );
      if (outcome instanceof Error) {
        signal.throwIfAborted();
        if (attempt === attempts)
          throw new ResourceError(`${method} ${api}${path} got no answer in ${attempts} attempts: ${reason(outcome)}`);
      } else {
        if (outcome.ok || accept.includes(outcome.status)) return outcome;
        const repeatable = outcome.status === 429 || outcome.status >= 500;
        if (!repeatable || attempt === attempts) throw await refusal(outcome, `${method} ${api}${path}`);
        await outcome.body?.cancel();
      }
      await sleep(delay(attempt, outcome instanceof Error ? null : outcome.headers.get("retry-after")), undefined, {
        signal,
      });
    }
  }
}

function accessToken(): string {
  const token = process.env["SUPABASE_ACCESS_TOKEN"];
  if (token) return token;
  throw new ResourceError(
    "SUPABASE_ACCESS_TOKEN is not set: make an access token at https://supabase.com/dashboard/account/tokens and set it in the environment of `pulumi`",
  );
}

async function refusal(response: Response, call: string): Promise<ResourceError> {
  const text = await response.text();
  const remedy =
    response.status === 401
      ? "; SUPABASE_ACCESS_TOKEN is not a valid token of this control plane"
      : response.status === 403
        ? "; the owner of SUPABASE_ACCESS_TOKEN may not do this in the project"
        : "";
  return new ResourceError(`${call} answered ${response.status}: ${message(text)}${remedy}`);
}

/** Errors of the API are `{"message": "..."}`. */
function message(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") return message;
  } catch {
    // A proxy's page: shown as it is.
  }
  return text.slice(0, 500);
}

/** `fetch` hides why a connection failed in the cause. */
function reason(error: Error): string {
  return error.cause instanceof Error ? error.cause.message : error.message;
}

function delay(attempt: number, retryAfter: string | null): number {
  const backOff = firstDelayMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
  if (retryAfter === null) return Math.min(backOff, longestDelayMs);
  const seconds = Number(retryAfter);
  const asked = Number.isNaN(seconds) ? Date.parse(retryAfter) - Date.now() : seconds * 1000;
  return Math.min(Math.max(Number.isNaN(asked) ? backOff : asked, 0), longestDelayMs);
}
