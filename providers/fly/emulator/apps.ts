import { randomInt } from "node:crypto";
import { findApp } from "./find.ts";
import { ApiError } from "./http.ts";
import type { Routes } from "./http.ts";
import { showApp } from "./store.ts";
import type { AppRecord, IpRecord, Store } from "./store.ts";
import type { Machines } from "./machines.ts";

/** Apps, their addresses and certificates. */
export function appRoutes(store: Store, machines: Machines): Routes {
  return {
    "GET /v1/apps": ({ query }) => {
      const apps = [...store.apps.values()].filter((app) => app.organization === query.get("org_slug"));
      return { total_apps: apps.length, apps: apps.map(showApp) };
    },
    "POST /v1/apps": ({ body }) => {
      const app = newApp(store, body ?? {});
      store.add(app);
      return Response.json({ ...showApp(app), created_at: app.created_at }, { status: 201 });
    },
    "GET /v1/apps/{app}": ({ path }) => showApp(findApp(store, path["app"])),
    "DELETE /v1/apps/{app}": async ({ path }) => {
      const app = findApp(store, path["app"]);
      await machines.destroyAll(app);
      store.remove(app.name);
      return new Response(null, { status: 202 });
    },

    "GET /v1/apps/{app}/ip_assignments": ({ path }) => ({ ips: findApp(store, path["app"]).ips }),
    "POST /v1/apps/{app}/ip_assignments": ({ path, body }) => {
      const app = findApp(store, path["app"]);
      const ip = newIp(app, body?.type);
      app.ips.push(ip);
      store.save(app);
      return ip;
    },
    "DELETE /v1/apps/{app}/ip_assignments/{ip}": ({ path }) => {
      const app = findApp(store, path["app"]);
      app.ips = app.ips.filter(({ ip }) => ip !== path["ip"]);
      store.save(app);
      return new Response(null, { status: 204 });
    },

    "GET /v1/apps/{app}/certificates": ({ path }) => {
      const { certificates } = findApp(store, path["app"]);
      return { certificates: certificates.map(summary), total_count: certificates.length };
    },
    "POST /v1/apps/{app}/certificates/acme": ({ path, body }) => {
      const app = findApp(store, path["app"]);
      const hostname: unknown = body?.hostname;
      if (typeof hostname !== "string" || !hostname.includes("."))
        throw new ApiError(422, "hostname is not a domain name");
      const found = app.certificates.find((certificate) => certificate.hostname === hostname);
      const certificate = found ?? { hostname, created_at: new Date().toISOString() };
      if (!found) app.certificates.push(certificate);
      store.save(app);
      return Response.json(showCertificate(certificate), { status: 201 });
    },
    "GET /v1/apps/{app}/certificates/{hostname}": ({ path }) => showCertificate(findCertificate(store, path)),
    "POST /v1/apps/{app}/certificates/{hostname}/check": ({ path }) => showCertificate(findCertificate(store, path)),
    "DELETE /v1/apps/{app}/certificates/{hostname}": ({ path }) => {
      const app = findApp(store, path["app"]);
      app.certificates = app.certificates.filter(({ hostname }) => hostname !== path["hostname"]);
      store.save(app);
      return new Response(null, { status: 204 });
    },
  };
}

/** Older documents say `app_name`. */
function newApp(
  store: Store,
  body: { name?: string; app_name?: string; org_slug?: string; network?: string },
): AppRecord {
  const name = body.name ?? body.app_name ?? "";
  if (!/^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name) || name === "v1") {
    throw new ApiError(422, "Validation failed: Name may only contain lower-case letters, numbers and dashes");
  }
  if (!body.org_slug) throw new ApiError(400, "org_slug is required");
  if (store.apps.has(name)) throw new ApiError(422, "Validation failed: Name has already been taken", "name_taken");
  return {
    name,
    organization: body.org_slug,
    network: body.network || "default",
    created_at: Date.now(),
    numeric_id: randomInt(1, 2 ** 31),
    machines: [],
    volumes: [],
    ips: [],
    certificates: [],
  };
}

/** Addresses are from the blocks set aside for documentation: nothing listens there, the data plane is a path of the local cloud. */
function newIp(app: AppRecord, type: unknown): IpRecord {
  const host = app.ips.length + 1;
  const at = { created_at: new Date().toISOString(), region: "global" };
  switch (type) {
    case "shared_v4":
      return { ip: "192.0.2.1", shared: true, ...at };
    case "v4":
      return { ip: `198.51.100.${host}`, shared: false, ...at };
    case "v6":
      return { ip: `2001:db8::${app.numeric_id.toString(16).slice(-4)}:${host.toString(16)}`, shared: false, ...at };
    case "private_v6":
      return { ip: `fdaa::${app.numeric_id.toString(16).slice(-4)}:${host.toString(16)}`, shared: false, ...at };
    default:
      throw new ApiError(400, `type is ${JSON.stringify(type)}; it must be shared_v4, v4, v6 or private_v6`);
  }
}

function findCertificate(store: Store, path: Readonly<Record<string, string>>): AppRecord["certificates"][number] {
  const found = findApp(store, path["app"]).certificates.find(({ hostname }) => hostname === path["hostname"]);
  if (!found) throw new ApiError(404, `certificate of ${path["hostname"]} was not found`);
  return found;
}

/** No authority reaches this machine, so that a certificate stays unconfigured. */
function summary({ hostname }: AppRecord["certificates"][number]): object {
  return { hostname, acme_requested: true, configured: false, status: "awaiting_configuration" };
}

function showCertificate(certificate: AppRecord["certificates"][number]): object {
  return { ...summary(certificate), certificates: [] };
}
