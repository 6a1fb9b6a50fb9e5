import { findMachine } from "./find.ts";
import { ApiError } from "./http.ts";
import type { Call, Routes } from "./http.ts";
import { randomId } from "./ids.ts";
import type { Machines } from "./machines.ts";
import type { Lease, MachineRecord, Store } from "./store.ts";

const defaultSeconds = 13;

/** Leases: whoever holds one is alone in changing the machine. */
export function leaseRoutes(store: Store, machines: Machines): Routes {
  return {
    "GET /v1/apps/{app}/machines/{machine}/lease": (call) => {
      const { machine } = findMachine(store, call);
      const lease = heldLease(machine);
      if (!lease) throw new ApiError(404, `machine ${machine.id} has no lease`);
      const { nonce: _, ...shown } = lease;
      return { status: "success", data: { ...shown, version: machine.instance_id } };
    },
    // The clients decode this envelope, although the document shows a flat lease.
    "POST /v1/apps/{app}/machines/{machine}/lease": (call) => {
      const { app, machine } = findMachine(store, call);
      requireLease(machine, call);
      const seconds = Number(call.query.get("ttl") ?? call.body?.ttl ?? defaultSeconds);
      if (!(seconds > 0)) throw new ApiError(400, "ttl must be seconds above 0");
      const lease = takeLease(machine, seconds, call.body?.description);
      machines.save(app);
      return Response.json({ status: "success", data: { ...lease, version: machine.instance_id } }, { status: 201 });
    },
    "DELETE /v1/apps/{app}/machines/{machine}/lease": (call) => {
      const { app, machine } = findMachine(store, call);
      requireLease(machine, call);
      delete machine.lease;
      machines.save(app);
      return { status: "success" };
    },
  };
}

/** Takes the lease, or prolongs the one that is held: its nonce stays. */
export function takeLease(machine: MachineRecord, seconds: number, description?: string): Lease {
  machine.lease = {
    nonce: heldLease(machine)?.nonce ?? randomId(12),
    expires_at: Math.floor(Date.now() / 1000) + seconds,
    owner: "local@federation.invalid",
    ...(description === undefined ? {} : { description }),
  };
  return machine.lease;
}

/** Throws 409 where somebody else holds the machine's lease. */
export function requireLease(machine: MachineRecord, { nonce }: Call): void {
  const lease = heldLease(machine);
  if (!lease || lease.nonce === nonce) return;
  const until = new Date(lease.expires_at * 1000).toISOString();
  throw new ApiError(409, `machine ${machine.id} lease currently held by ${lease.owner}, expires at ${until}`);
}

function heldLease(machine: MachineRecord): Lease | undefined {
  return machine.lease && machine.lease.expires_at > Date.now() / 1000 ? machine.lease : undefined;
}
