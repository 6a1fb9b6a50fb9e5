import type Cloudflare from "cloudflare";
import { ResourceError } from "../plugin/resource.ts";
import type { ResourceContext } from "../plugin/resource.ts";

/** The official SDK's client for the API that the provider instance names; the token comes from the environment. */
export async function client({ config }: ResourceContext): Promise<Cloudflare> {
  const apiToken = process.env["CLOUDFLARE_API_TOKEN"];
  if (!apiToken)
    throw new ResourceError(
      "the variable CLOUDFLARE_API_TOKEN is not set: export the token of the Cloudflare account, or the local cloud's",
    );
  // Loaded on the first call, as most runs of the plugin only compare.
  const { default: Client } = await import("cloudflare");
  const baseURL = config["baseUrl"];
  return new Client({ apiToken, ...(typeof baseURL === "string" && { baseURL }) });
}

/** Answers what the call does, or undefined where Cloudflare says that there is no such thing. */
export async function found<T>(call: PromiseLike<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isApiError(error) && error.status === 404) return undefined;
    throw readable(error);
  }
}

/** Answers what the call does; throws Cloudflare's own words and codes where it refuses. */
export async function done<T>(call: PromiseLike<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw readable(error);
  }
}

interface ApiError extends Error {
  readonly status: number | undefined;
  readonly errors: readonly { readonly code?: number; readonly message?: string }[];
}

function isApiError(error: unknown): error is ApiError {
  return error instanceof Error && "status" in error && "errors" in error;
}

function readable(error: unknown): unknown {
  if (!isApiError(error)) return error;
  const words = (error.errors ?? []).map(({ code, message }) => `${message} [code: ${code}]`).join("; ");
  return new ResourceError(
    `Cloudflare refused the request${error.status ? ` (${error.status})` : ""}: ${words || error.message}`,
  );
}
