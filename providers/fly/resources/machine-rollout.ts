import { setTimeout as sleep } from "node:timers/promises";
import { ResourceError } from "../../plugin/resource.ts";
import { FlyApiError } from "../api.ts";
import type { FlyApi } from "../api.ts";
import type { Machine } from "../api-types.ts";

/** Covers one update with all its waits. */
const leaseSeconds = 300;
const leaseTries = 10;
const startMs = 180_000;
const checksMs = 90_000;
/** Short waits at first: one that is going to fail does so soon, and a wait for `started` does not notice. */
const waitSeconds = [2, 4, 8] as const;

/** Runs work while nobody else may change the machine; `nonce` must go along with every change. */
export async function withLease<T>(
  fly: FlyApi,
  app: string,
  id: string,
  work: (nonce: string) => Promise<T>,
): Promise<T> {
  const nonce = await acquire(fly, app, id);
  try {
    return await work(nonce);
  } finally {
    await fly.release(app, id, nonce);
  }
}

async function acquire(fly: FlyApi, app: string, id: string): Promise<string> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await fly.lease(app, id, leaseSeconds);
    } catch (error) {
      if (!(error instanceof FlyApiError) || error.status !== 409) throw error;
      if (tries === leaseTries) {
        throw new ResourceError(
          `Somebody else is changing the machine ${id} of the Fly app ${app}: ${error.message}. Run \`pulumi up\` again later.`,
        );
      }
      await sleep(2000);
    }
  }
}

/** Waits until this version of the machine is started and passes its checks: `started` alone says nothing about the node. */
export async function settle(fly: FlyApi, app: string, id: string, version: string): Promise<Machine> {
  const startBy = Date.now() + startMs;
  for (let tries = 0; !(await fly.wait(app, id, version, "started", waitSeconds[tries] ?? 10)); tries += 1) {
    const machine = await current(fly, app, id);
    if (["failed", "stopped", "suspended"].includes(machine.state))
      throw new ResourceError(`${name(app, id)} is ${machine.state}${lastEvent(machine)}`);
    if (Date.now() > startBy)
      throw new ResourceError(`${name(app, id)} was not started in ${startMs / 1000} s${lastEvent(machine)}`);
  }
  const checkedBy = Date.now() + checksMs;
  for (let pause = 250; ; pause = Math.min(pause * 2, 2000)) {
    const machine = await current(fly, app, id);
    const failing = (machine.checks ?? []).filter((check) => check.status !== "passing");
    if (machine.instance_id === version && machine.state === "started" && failing.length === 0) return machine;
    if (machine.instance_id !== version)
      throw new ResourceError(
        `${name(app, id)} was changed by somebody else during the update. Run \`pulumi up\` again.`,
      );
    if (machine.state !== "started")
      throw new ResourceError(
        `${name(app, id)} ended while it was being checked: it is ${machine.state}${lastEvent(machine)}`,
      );
    if (Date.now() > checkedBy) {
      const words = failing.map((check) => `${check.name}: ${check.output || check.status}`).join("; ");
      throw new ResourceError(
        `${name(app, id)} runs but fails its checks after ${checksMs / 1000} s (${words}). See \`fly logs -a ${app}\`.`,
      );
    }
    await sleep(pause);
  }
}

async function current(fly: FlyApi, app: string, id: string): Promise<Machine> {
  const machine = await fly.machine(app, id);
  if (!machine) throw new ResourceError(`${name(app, id)} is gone: somebody destroyed it during the update.`);
  return machine;
}

function name(app: string, id: string): string {
  return `The machine ${id} of the Fly app ${app}`;
}

function lastEvent(machine: Machine): string {
  const event = machine.events?.[0];
  const details = event?.request ? ` ${JSON.stringify(event.request)}` : "";
  return `. Its last event: ${event ? `${event.type} ${event.status}${details}` : "none"}. See \`fly logs\`.`;
}
