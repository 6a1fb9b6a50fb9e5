import { ApiError } from "./http.ts";
import type { Call } from "./http.ts";
import type { AppRecord, MachineRecord, Store } from "./store.ts";

/** The app of that name; throws 404. */
export function findApp(store: Store, name: string | undefined): AppRecord {
  const app = store.apps.get(name ?? "");
  if (!app) throw new ApiError(404, `app ${name} was not found`);
  return app;
}

/** The machine that a path names, with its app; throws 404. */
export function findMachine(store: Store, { path }: Pick<Call, "path">): { app: AppRecord; machine: MachineRecord } {
  const app = findApp(store, path["app"]);
  const machine = app.machines.find(({ id }) => id === path["machine"]);
  if (!machine) throw new ApiError(404, `machine ${path["machine"]} was not found in app ${app.name}`);
  return { app, machine };
}
