import { ApiError } from "./http.ts";
import type { Call, Routes } from "./http.ts";
import { findMachine } from "./find.ts";
import type { Machines } from "./machines.ts";
import type { MachineRecord, Store } from "./store.ts";

/** Metadata of machines. No lease guards it: Fly's own blue-green deploy writes it without one. */
export function metadataRoutes(store: Store, machines: Machines): Routes {
  const one = "/v1/apps/{app}/machines/{machine}/metadata";
  const done = (): Response => new Response(null, { status: 204 });
  const set = (call: Call, metadata: (old: Readonly<Record<string, string>>) => Record<string, string>): Response => {
    const { app, machine } = findMachine(store, call);
    const expected: unknown = call.body?.machine_version;
    if (expected !== undefined && expected !== machine.instance_id)
      throw new ApiError(412, `machine version is ${machine.instance_id}`);
    machine.config = { ...machine.config, metadata: metadata(machine.config.metadata ?? {}) };
    machines.save(app);
    return done();
  };
  return {
    [`GET ${one}`]: (call) => metadataOf(findMachine(store, call).machine),
    [`PATCH ${one}`]: (call) => set(call, (old) => ({ ...old, ...texts(call.body?.metadata) })),
    [`PUT ${one}`]: (call) => set(call, () => texts(call.body?.metadata)),
    [`GET ${one}/{key}`]: (call) => {
      const value = metadataOf(findMachine(store, call).machine)[call.path["key"] ?? ""];
      if (value === undefined) throw new ApiError(404, `metadata ${call.path["key"]} was not found`);
      return { value };
    },
    [`POST ${one}/{key}`]: (call) =>
      set(call, (old) => ({ ...old, ...texts({ [call.path["key"] ?? ""]: call.body?.value }) })),
    [`DELETE ${one}/{key}`]: (call) =>
      set(call, (old) => Object.fromEntries(Object.entries(old).filter(([key]) => key !== call.path["key"]))),
  };
}

function metadataOf({ config }: MachineRecord): Readonly<Record<string, string>> {
  return config.metadata ?? {};
}

function texts(values: unknown): Record<string, string> {
  if (
    typeof values !== "object" ||
    values === null ||
    Object.values(values).some((value) => typeof value !== "string")
  ) {
    throw new ApiError(400, "metadata values must be strings");
  }
  return values as Record<string, string>;
}
