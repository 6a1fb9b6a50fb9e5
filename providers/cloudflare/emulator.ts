import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Emulator, EmulatorHost, StartEmulator } from "../local-cloud/emulator.ts";
import { createControl } from "./emulator/control.ts";
import { ApiError, failure, success } from "./emulator/envelope.ts";
import { deployedVersion } from "./emulator/records.ts";
import { router } from "./emulator/router.ts";
import type { Call, Route } from "./emulator/router.ts";
import { readJson, scriptRoutes } from "./emulator/scripts.ts";
import { openStore, replace } from "./emulator/store.ts";
import { workerRoutes } from "./emulator/workers.ts";

const api = "/client/v4";

/**
 * Cloudflare's control plane for Workers, with the real workerd behind it.
 *
 * The data plane serves each Worker whose workers.dev subdomain is enabled below `/<name>/`.
 */
const startEmulator: StartEmulator = async (host) => {
  const store = await openStore(host.dir);
  const control = createControl(host, store);
  const answer = router([
    ...(await accountRoutes(host, () => store.all().map(({ account }) => account))),
    ...scriptRoutes(control, store),
    ...workerRoutes(control, store, (name) => `${host.url}/${name}`),
  ]);
  await control.resume();

  const emulator: Emulator = {
    route(path) {
      const [, name = "", rest = ""] = /^\/([^/?]+)(.*)$/.exec(path) ?? [];
      const worker = store.get(name);
      if (path.startsWith(`${api}/`) || !worker?.subdomain.enabled || !deployedVersion(worker)) return undefined;
      return { runtime: name, path: rest.startsWith("/") ? rest : `/${rest}` };
    },

    async handle(request) {
      const path = new URL(request.url).pathname.replace(/\/$/, "");
      try {
        if (!path.startsWith(`${api}/`))
          throw new ApiError(404, 10007, `There is no Worker at ${path}, or its subdomain is not enabled.`);
        authorize(request, host.token, path);
        return await answer(request, path.slice(api.length));
      } catch (error) {
        if (error instanceof ApiError) return failure(error);
        throw error;
      }
    },
  };
  return emulator;
};

export default startEmulator;

function authorize(request: Request, token: string, path: string): void {
  if (request.headers.get("authorization") === `Bearer ${token}`) return;
  if (path === `${api}/user/tokens/verify`) throw new ApiError(401, 1000, "Invalid API Token");
  throw new ApiError(403, 10000, "Authentication error");
}

/** The routes about the caller and the accounts. An account exists as soon as somebody uses it. */
async function accountRoutes(host: EmulatorHost, inUse: () => readonly string[]): Promise<readonly Route[]> {
  const file = join(host.dir, "subdomains.json");
  const subdomains: Record<string, string> = JSON.parse(
    await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "{}";
      throw error;
    }),
  );
  const account = (id: string) => ({ id, name: id, type: "standard", settings: { enforce_twofactor: false } });

  return [
    ["GET /user/tokens/verify", () => success({ id: "00000000000000000000000000000000", status: "active" })],
    [
      "GET /accounts",
      () => {
        const ids = [...new Set([...inUse(), ...Object.keys(subdomains)])].toSorted();
        return success(ids.map(account), { count: ids.length });
      },
    ],
    ["GET /accounts/{account}", (call) => success(account(call.account))],
    [
      "GET /accounts/{account}/workers/subdomain",
      (call) => success({ subdomain: subdomains[call.account] ?? "local" }),
    ],
    [
      "PUT /accounts/{account}/workers/subdomain",
      async (call: Call) => {
        const { subdomain } = (await readJson(call.request)) as { subdomain?: unknown };
        if (typeof subdomain !== "string" || !/^[a-z0-9-]{1,63}$/.test(subdomain))
          throw new ApiError(400, 10033, "The subdomain must be 1 to 63 lower-case letters, digits and '-'.");
        subdomains[call.account] = subdomain;
        await replace(file, JSON.stringify(subdomains));
        return success({ subdomain });
      },
    ],
  ];
}
