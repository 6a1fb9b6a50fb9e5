import { timingSafeEqual } from "node:crypto";
import type { StartEmulator } from "../local-cloud/emulator.ts";
import { appRoutes } from "./emulator/apps.ts";
import { ApiError, refusal, router } from "./emulator/http.ts";
import { leaseRoutes } from "./emulator/leases.ts";
import { machineRoutes } from "./emulator/machine-routes.ts";
import { Machines } from "./emulator/machines.ts";
import { metadataRoutes } from "./emulator/metadata.ts";
import { secretRoutes } from "./emulator/secrets.ts";
import { Store } from "./emulator/store.ts";
import { volumeRoutes } from "./emulator/volumes.ts";

/**
 * Fly's Machines API on this machine, below `/v1`; `/{app}/...` is the app's own HTTP, by the Node.js this process runs on.
 *
 * Different from Fly: no image but `node` (see `runtimeSpec`), no proxy of its own (`force_https`, `autostart` and concurrency limits have
 * no effect), no memory or CPU limits, and a machine whose process ends after it served is started again whatever its restart policy says.
 */
const start: StartEmulator = async (host) => {
  const store = new Store(host.dir);
  const machines = new Machines(store, host);
  const answer = router({
    ...appRoutes(store, machines),
    ...secretRoutes(store),
    ...volumeRoutes(store, machines),
    ...machineRoutes(store, machines),
    ...leaseRoutes(store, machines),
    ...metadataRoutes(store, machines),
    "GET /v1/platform/regions": () => ({ nearest: "ams", regions: [{ code: "ams", name: "This machine" }] }),
    "GET /v1/tokens/current": () => ({ tokens: [{ token_id: "local", org_slug: "local" }] }),
  });
  await machines.resume();

  return {
    async close() {
      machines.close();
    },

    route(path) {
      const [, name = "", rest = ""] = /^\/([^/?]+)(.*)$/.exec(path) ?? [];
      const app = name === "v1" ? undefined : store.apps.get(name);
      const runtime = app && machines.pick(app);
      return runtime ? { runtime, path: rest.startsWith("/") ? rest : `/${rest}` } : undefined;
    },

    async handle(request) {
      const { pathname } = new URL(request.url);
      if (!/^\/v1(\/|$)/.test(pathname)) {
        const name = pathname.split("/")[1] ?? "";
        const why = store.apps.has(name) ? `app ${name} has no started machine` : `no app ${name}`;
        return new Response(`${why}\n`, {
          status: store.apps.has(name) ? 503 : 404,
          headers: { "content-type": "text/plain" },
        });
      }
      if (!authorized(request.headers.get("authorization"), host.token))
        return refusal(new ApiError(401, "unauthorized"));
      return answer(request, pathname);
    },
  };
};

export default start;

function authorized(header: string | null, token: string): boolean {
  const given = Buffer.from(header?.replace(/^(Bearer|FlyV1) /, "") ?? "");
  const wanted = Buffer.from(token);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
