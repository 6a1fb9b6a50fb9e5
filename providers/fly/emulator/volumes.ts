import { rmSync } from "node:fs";
import { randomId } from "./ids.ts";
import { findApp } from "./find.ts";
import { ApiError } from "./http.ts";
import type { Routes } from "./http.ts";
import type { Machines } from "./machines.ts";
import type { AppRecord, Store } from "./store.ts";

/** Disks of apps: a folder each, attached to at most one machine. */
export function volumeRoutes(store: Store, machines: Machines): Routes {
  return {
    "GET /v1/apps/{app}/volumes": ({ path }) => findApp(store, path["app"]).volumes,
    "POST /v1/apps/{app}/volumes": ({ path, body }) => {
      const app = findApp(store, path["app"]);
      const name: unknown = body?.name;
      if (typeof name !== "string" || !/^[a-z0-9_]{1,30}$/.test(name))
        throw new ApiError(400, "name must be 1 to 30 lower-case letters, digits or underscores");
      if (typeof body.region !== "string") throw new ApiError(400, "region is required");
      const volume: AppRecord["volumes"][number] = {
        id: `vol_${randomId(16)}`,
        name,
        region: body.region,
        size_gb: size(body.size_gb ?? 1),
        state: "created",
        encrypted: body.encrypted !== false,
        created_at: new Date().toISOString(),
        attached_machine_id: null,
      };
      app.volumes.push(volume);
      store.save(app);
      return volume;
    },
    "GET /v1/apps/{app}/volumes/{volume}": ({ path }) => findVolume(findApp(store, path["app"]), path["volume"]),
    "PUT /v1/apps/{app}/volumes/{volume}/extend": ({ path, body }) => {
      const app = findApp(store, path["app"]);
      const volume = findVolume(app, path["volume"]);
      const size_gb = size(body?.size_gb);
      if (size_gb < volume.size_gb)
        throw new ApiError(400, `volume ${volume.id} has ${volume.size_gb} GB and cannot shrink`);
      Object.assign(volume, { size_gb });
      store.save(app);
      return { needs_restart: false, volume };
    },
    "DELETE /v1/apps/{app}/volumes/{volume}": ({ path }) => {
      const app = findApp(store, path["app"]);
      const volume = findVolume(app, path["volume"]);
      if (volume.attached_machine_id)
        throw new ApiError(412, `volume ${volume.id} is attached to machine ${volume.attached_machine_id}`);
      app.volumes = app.volumes.filter(({ id }) => id !== volume.id);
      store.save(app);
      rmSync(machines.volumeDir(volume.id), { recursive: true, force: true });
      return { ...volume, state: "pending_destroy" };
    },
  };
}

function findVolume(app: AppRecord, id: string | undefined): AppRecord["volumes"][number] {
  const volume = app.volumes.find((candidate) => candidate.id === id);
  if (!volume) throw new ApiError(404, `volume ${id} was not found`);
  return volume;
}

function size(value: unknown): number {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 500)
    throw new ApiError(400, "size_gb must be 1 to 500");
  return value as number;
}
