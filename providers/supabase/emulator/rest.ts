import { errors, jwtVerify } from "jose";
import { type Database, isPostgresError } from "./database.ts";
import type { Project } from "./store.ts";

/** The role a request acts as, or the answer that refuses it. */
export type Access = { readonly role: string } | { readonly refusal: Response };

/** Checks the API key as the gateway does, then the bearer token as PostgREST does. */
export async function authorize(request: Request, project: Project): Promise<Access> {
  const apikey = request.headers.get("apikey") ?? new URL(request.url).searchParams.get("apikey");
  if (!apikey) {
    return refuse(401, {
      message: "No API key found in request",
      hint: "No `apikey` request header or url param was found.",
    });
  }
  const keyRole = roleOfKey(apikey, project);
  if (!keyRole) {
    return refuse(401, {
      message: "Invalid API key",
      hint: "Double check your Supabase `anon` or `service_role` API key.",
    });
  }
  const bearer = bearerOf(request);
  if (!bearer || bearer === apikey) return { role: keyRole };
  const claims = await verifyToken(bearer, project);
  if (claims instanceof errors.JWTExpired) return refuse(401, postgrest("PGRST303", "JWT expired"));
  if (claims instanceof Error) return refuse(401, postgrest("PGRST301", "JWSError JWSInvalidSignature"));
  return { role: typeof claims["role"] === "string" ? claims["role"] : "anon" };
}

/** The claims of a token of the project, or why it is none. */
export async function verifyToken(token: string, project: Project): Promise<Readonly<Record<string, unknown>> | Error> {
  const key = new TextEncoder().encode(project.keys.jwtSecret);
  return jwtVerify(token, key, { algorithms: ["HS256"] }).then(
    ({ payload }) => payload,
    (error: Error) => error,
  );
}

export function bearerOf(request: Request): string | undefined {
  return /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
}

function roleOfKey(apikey: string, { keys }: Project): string | undefined {
  if (apikey === keys.anon || apikey === keys.publishable) return "anon";
  return apikey === keys.serviceRole || apikey === keys.secret ? "service_role" : undefined;
}

/** `POST /rest/v1/rpc/<name>` as PostgREST answers it. */
export async function callRoutine(request: Request, name: string, role: string, database: Database): Promise<Response> {
  const args = await readArguments(request);
  if (!args) return Response.json(postgrest("PGRST102", "Empty or invalid json"), { status: 400 });
  try {
    const result = await database.call(role, name, args);
    if (!result) return notFound(name, Object.keys(args));
    if (result.json === undefined) return new Response(null, { status: 204 });
    return new Response(result.json, { headers: { "content-type": "application/json; charset=utf-8" } });
  } catch (error) {
    if (!isPostgresError(error)) throw error;
    const body = { code: error.code, details: error.detail ?? null, hint: error.hint ?? null, message: error.message };
    return Response.json(body, { status: statusOf(error.code, role) });
  }
}

async function readArguments(request: Request): Promise<Readonly<Record<string, unknown>> | undefined> {
  const text = await request.text();
  if (text === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function notFound(name: string, args: readonly string[]): Response {
  const signature = args.length > 0 ? `(${args.join(", ")})` : " without parameters";
  const details = `Searched for the function public.${name}${args.length > 0 ? ` with parameters ${args.join(", ")}` : ""} or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache.`;
  const message = `Could not find the function public.${name}${signature} in the schema cache`;
  return Response.json({ ...postgrest("PGRST202", message), details }, { status: 404 });
}

/** https://docs.postgrest.org/en/stable/references/errors.html#http-status-codes */
function statusOf(code: string, role: string): number {
  if (code === "42501") return role === "anon" ? 401 : 403;
  if (code === "42883" || code === "42P01") return 404;
  if (code === "23503" || code === "23505") return 409;
  if (code === "25006") return 405;
  if (code === "P0001") return 400;
  const statuses: Record<string, number> = {
    "08": 503,
    "09": 500,
    "0L": 403,
    "0P": 403,
    "25": 500,
    "28": 403,
    "2D": 500,
    "38": 500,
    "39": 500,
    "3B": 500,
  };
  const others: Record<string, number> = {
    "40": 500,
    "53": 503,
    "54": 500,
    "55": 500,
    "57": 500,
    "58": 500,
    F0: 500,
    HV: 500,
    P0: 500,
    XX: 500,
  };
  return statuses[code.slice(0, 2)] ?? others[code.slice(0, 2)] ?? 400;
}

function postgrest(code: string, message: string) {
  return { code, details: null as string | null, hint: null, message };
}

function refuse(status: number, body: object): { refusal: Response } {
  return { refusal: Response.json(body, { status }) };
}
