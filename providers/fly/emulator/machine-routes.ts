import type { MachineConfig } from "../api-types.ts";
import { findApp, findMachine } from "./find.ts";
import { ApiError } from "./http.ts";
import type { Call, Routes } from "./http.ts";
import { requireLease, takeLease } from "./leases.ts";
import type { Machines } from "./machines.ts";
import { atLeast } from "./secrets.ts";
import { showMachine } from "./store.ts";
import type { AppRecord, MachineRecord, Store } from "./store.ts";

const longestWait = 60;
const ok = { ok: true };

/** Machines: made, changed, started, stopped, waited for. */
export function machineRoutes(store: Store, machines: Machines): Routes {
  const base = "/v1/apps/{app}/machines";
  const one = `${base}/{machine}`;
  /** A change of a machine that whoever has no lease, while another has one, may not make. */
  const guarded = (change: (app: AppRecord, machine: MachineRecord, call: Call) => unknown) => async (call: Call) => {
    const { app, machine } = findMachine(store, call);
    requireLease(machine, call);
    return change(app, machine, call);
  };
  return {
    [`GET ${base}`]: ({ path, query }) => {
      const [state, region] = [query.get("state"), query.get("region")];
      return findApp(store, path["app"])
        .machines.filter((machine) => machine.state !== "destroyed" || query.get("include_deleted") === "true")
        .filter((machine) => (!state || machine.state === state) && (!region || machine.region === region))
        .map(showMachine);
    },
    [`POST ${base}`]: ({ path, body }) => {
      const app = findApp(store, path["app"]);
      const config = configOf(body);
      atLeast(store.secrets(app.name), body.min_secrets_version);
      const namesake = app.machines.find(({ name, state }) => name === body.name && state !== "destroyed");
      if (namesake) throw new ApiError(422, `machine name ${body.name} is taken by ${namesake.id}`);
      const machine = machines.create(app, { ...body, config });
      if (!body.lease_ttl) return showMachine(machine);
      const { nonce } = takeLease(machine, Number(body.lease_ttl));
      machines.save(app);
      return { ...showMachine(machine), nonce };
    },
    [`GET ${one}`]: (call) => showMachine(findMachine(store, call).machine),
    [`POST ${one}`]: guarded((app, machine, { body, nonce }) => {
      const config = configOf(body);
      alive(machine);
      atLeast(store.secrets(app.name), body.min_secrets_version);
      if (body.current_version && body.current_version !== machine.instance_id) {
        throw new ApiError(409, `machine version is ${machine.instance_id}, not ${body.current_version}`);
      }
      if (body.region && body.region !== machine.region)
        throw new ApiError(400, "the region of a machine cannot be changed");
      machines.update(app, machine, { ...body, config });
      return { ...showMachine(machine), ...(nonce && machine.lease?.nonce === nonce && { nonce }) };
    }),
    [`DELETE ${one}`]: guarded(async (app, machine, { query }) => {
      if (machine.state === "destroyed") return ok;
      const force = query.get("force") === "true" || query.get("kill") === "true";
      if (!force && !["stopped", "suspended", "failed", "created"].includes(machine.state)) {
        throw new ApiError(412, `machine ${machine.id} is ${machine.state}; stop it first, or destroy it with force`);
      }
      await machines.destroy(app, machine);
      return ok;
    }),

    [`POST ${one}/start`]: guarded(
      (app, machine) => (alive(machine), machines.start(app, machine), { previous_state: machine.state }),
    ),
    [`POST ${one}/stop`]: guarded(async (app, machine) => (alive(machine), await machines.stop(app, machine), ok)),
    [`POST ${one}/suspend`]: guarded(
      async (app, machine) => (alive(machine), await machines.stop(app, machine, "suspended"), ok),
    ),
    [`POST ${one}/restart`]: guarded(
      async (app, machine) => (alive(machine), await machines.restart(app, machine), ok),
    ),
    [`POST ${one}/cordon`]: guarded((app, machine) => setCordon(app, machine, true)),
    // Not guarded: `fly deploy` in its blue-green strategy lets the new machine in without a nonce.
    [`POST ${one}/uncordon`]: (call) => {
      const { app, machine } = findMachine(store, call);
      return setCordon(app, machine, false);
    },

    [`GET ${one}/wait`]: async (call) => {
      const { machine } = findMachine(store, call);
      const { query } = call;
      const state = query.get("state") ?? "started";
      const version = query.get("version") ?? query.get("instance_id");
      const seconds = Number(query.get("timeout")?.replace(/s$/, "") ?? longestWait);
      if (!(seconds >= 1 && seconds <= longestWait))
        throw new ApiError(400, `timeout must be 1 to ${longestWait} seconds`);
      const settled = ["started", "stopped", "suspended", "failed", "destroyed"];
      const reached = (): boolean => (state === "settled" ? settled.includes(machine.state) : machine.state === state);
      const done = await machines.wait(
        () => reached() && (!version || machine.instance_id === version),
        seconds * 1000,
        call.signal,
      );
      if (!done) throw new ApiError(408, `deadline_exceeded: machine ${machine.id} is ${machine.state}, not ${state}`);
      return { ok: true, event_id: machine.events[0]?.id ?? "", version: machine.instance_id, state: machine.state };
    },
    [`GET ${one}/events`]: (call) =>
      findMachine(store, call).machine.events.slice(0, Number(call.query.get("limit") ?? 20)),
    [`GET ${one}/versions`]: (call) => findMachine(store, call).machine.versions,
    [`GET ${one}/ps`]: (call) => {
      const { machine } = findMachine(store, call);
      const process = machines.process(machine);
      const listen_sockets = (machine.config.services ?? []).map(({ internal_port }) => ({
        proto: "tcp",
        address: `0.0.0.0:${internal_port}`,
      }));
      return process ? [{ pid: process.pid, command: (machine.config.init?.cmd ?? []).join(" "), listen_sockets }] : [];
    },
  };

  function setCordon(app: AppRecord, machine: MachineRecord, cordoned: boolean): object {
    machine.cordoned = cordoned;
    machines.save(app);
    return ok;
  }
}

function alive(machine: MachineRecord): void {
  if (machine.state === "destroyed" || machine.state === "destroying")
    throw new ApiError(404, `machine ${machine.id} is destroyed`);
}

function configOf(body: { config?: unknown } | undefined): MachineConfig {
  const config = body?.config as MachineConfig | undefined;
  if (typeof config !== "object" || config === null || typeof config.image !== "string" || config.image === "") {
    throw new ApiError(400, "config.image is required");
  }
  return config;
}
