import type { Emulator, EmulatorHost, Route } from "../local-cloud/emulator.ts";
import { type Database, openDatabase } from "./emulator/database.ts";
import { ApiError } from "./emulator/errors.ts";
import { openFunctions } from "./emulator/functions.ts";
import { managementApi } from "./emulator/management.ts";
import { authorize, bearerOf, callRoutine, verifyToken } from "./emulator/rest.ts";
import { openStore } from "./emulator/store.ts";

const functionPath = /^\/projects\/([a-z]{20})\/functions\/v1(\/([A-Za-z0-9_-]+)(?:[/?].*)?)$/;
const rpcPath = /^\/projects\/([a-z]{20})\/rest\/v1\/rpc\/(\w+)$/;

/**
 * Supabase on this machine: the Management API at `/v1/...`, and each project's own URL at `/projects/<ref>`, with its Edge Functions in
 * Deno and its Postgres in PGlite behind the RPC endpoint of PostgREST.
 */
export default async function startSupabase(host: EmulatorHost): Promise<Emulator> {
  const store = openStore(host.dir);
  const functions = openFunctions(host, store);
  const databases = new Map<string, Promise<Database>>();
  const management = managementApi({ store, functions, database });
  await functions.startAll();
  return { route, handle, close };

  /** Functions that check tokens themselves are proxied; the others pass the gateway's check in {@link handle} first. */
  function route(path: string): Route | undefined {
    const [, ref, rest, slug] = functionPath.exec(path) ?? [];
    if (ref === undefined || rest === undefined || slug === undefined) return undefined;
    if (store.get(ref)?.functions[slug]?.verify_jwt !== false) return undefined;
    const runtime = functions.runtimeOf(ref, slug);
    return runtime === undefined ? undefined : { runtime, path: rest };
  }

  async function handle(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const [, ref, routine] = rpcPath.exec(pathname) ?? [];
    if (ref !== undefined && routine !== undefined) return callRpc(request, ref, routine);
    if (functionPath.test(pathname)) return callFunction(request, pathname);
    if (pathname.startsWith("/projects/"))
      return Response.json({ message: "no Route matched with those values" }, { status: 404 });
    try {
      if (bearerOf(request) !== host.token) throw new ApiError(401, "Unauthorized");
      return await management(request, pathname);
    } catch (error) {
      if (error instanceof ApiError) return Response.json({ message: error.message }, { status: error.status });
      throw error;
    }
  }

  async function callRpc(request: Request, ref: string, routine: string): Promise<Response> {
    const project = store.get(ref);
    if (!project) return Response.json({ message: "project not found" }, { status: 404 });
    const access = await authorize(request, project);
    if ("refusal" in access) return access.refusal;
    if (request.method !== "POST")
      return Response.json({ message: "this emulator calls routines by POST only" }, { status: 405 });
    return callRoutine(request, routine, access.role, await database(ref));
  }

  /** What the gateway of Supabase answers by itself, and requests that it checks. WebSockets do not pass here. */
  async function callFunction(request: Request, pathname: string): Promise<Response> {
    const [, ref = "", rest = "", slug = ""] = functionPath.exec(pathname) ?? [];
    const project = store.get(ref);
    const record = project?.functions[slug];
    if (!project || !record)
      return Response.json({ code: "NOT_FOUND", message: "Requested function was not found" }, { status: 404 });
    if (record.verify_jwt) {
      const token = bearerOf(request);
      if (!token) return Response.json({ code: 401, message: "Missing authorization header" }, { status: 401 });
      if ((await verifyToken(token, project)) instanceof Error)
        return Response.json({ code: 401, message: "Invalid JWT" }, { status: 401 });
    }
    const name = functions.runtimeOf(ref, slug);
    const runtime = name === undefined ? undefined : host.runtimes.get(name);
    if (!runtime)
      return Response.json(
        { code: "BOOT_ERROR", message: "Function failed to start (please check logs)" },
        { status: 503 },
      );
    const target = `http://127.0.0.1:${runtime.port}${rest}${new URL(request.url).search}`;
    return fetch(new Request(target, request), { redirect: "manual" });
  }

  function database(ref: string): Promise<Database> {
    let opened = databases.get(ref);
    if (!opened) {
      opened = openDatabase(store.databaseFolder(ref));
      // A failed opening is not remembered, so that the next request tries again.
      opened.catch(() => databases.delete(ref));
      databases.set(ref, opened);
    }
    return opened;
  }

  async function close(): Promise<void> {
    await Promise.all([...databases.values()].map(async (opened) => (await opened).close()));
    databases.clear();
  }
}
