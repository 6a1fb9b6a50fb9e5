import { isDeepStrictEqual } from "node:util";
import { ResourceError, defineResource } from "../../plugin/resource.ts";
import { FlyApi } from "../api.ts";
import type { Machine, MachineConfig } from "../api-types.ts";
import { inputs, observed, wantedConfig } from "./machine-config.ts";
import type { MachineInputs } from "./machine-config.ts";
import { settle, withLease } from "./machine-rollout.ts";
import { importApi, splitId } from "./target.ts";

interface Outputs {
  readonly machine: string;
  readonly instance: string;
  readonly privateIp: string;
}

export const machine = defineResource<MachineInputs, Outputs>({
  token: "federation:index:FlyMachine",
  description:
    "A Fly machine that is started and passes its checks; changes are made in place. Import id: <app>/<machine>.",
  inputs,
  secrets: [],
  replaceOn: ["api", "app", "name", "region", "mount"],
  deleteBeforeReplace: true,
  async create(wanted, { signal }) {
    const fly = new FlyApi(wanted.api, signal);
    const { app, name, region } = wanted;
    const namesakes = (await fly.machines(app)).filter((found) => found.name === name && !isGone(found));
    if (namesakes.length > 1) {
      const ids = namesakes.map(({ id }) => id).join(", ");
      throw new ResourceError(
        `The Fly app ${app} has ${namesakes.length} machines named "${name}" (${ids}). Destroy all but one: \`fly machine destroy\`.`,
      );
    }
    const [found] = namesakes;
    if (found) return { id: `${app}/${found.id}`, outputs: await sync(fly, wanted, found) };
    const made = await fly.createMachine(app, {
      name,
      region,
      config: await wantedConfig(wanted),
      min_secrets_version: wanted.secretsVersion,
    });
    return { id: `${app}/${made.id}`, outputs: await healthy(fly, wanted, made) };
  },
  async read(id, stored, { signal }) {
    const [app, own] = splitId(id, "machine");
    const target = stored?.inputs.api ?? importApi();
    const found = await new FlyApi(target, signal).machine(app, own);
    if (!found || isGone(found)) return undefined;
    return { id, inputs: observed(found, { api: target, app }, stored?.inputs), outputs: outputsOf(found) };
  },
  async update(id, wanted, stored, { signal }) {
    const fly = new FlyApi(wanted.api, signal);
    const found = await fly.machine(wanted.app, stored.outputs.machine);
    if (!found || isGone(found))
      throw new ResourceError(`The Fly machine ${id} is gone. Run \`pulumi refresh\`, then \`pulumi up\` again.`);
    return { outputs: await sync(fly, wanted, found) };
  },
  async delete(id, stored, { signal }) {
    const [app, own] = splitId(id, "machine");
    await new FlyApi(stored.inputs.api, signal).deleteMachine(app, own);
  },
});

/** Brings a machine that exists in line, in place: its volume cannot be in two machines at once. */
async function sync(fly: FlyApi, wanted: MachineInputs, found: Machine): Promise<Outputs> {
  const { app, region } = wanted;
  const seen = observed(found, wanted, wanted);
  if (isDeepStrictEqual(seen, wanted)) return healthy(fly, wanted, found);
  const config: MachineConfig | undefined = isDeepStrictEqual({ ...seen, state: wanted.state }, wanted)
    ? undefined
    : await wantedConfig(wanted);
  return withLease(fly, app, found.id, async (nonce) => {
    if (!config) {
      await fly.startMachine(app, found.id, nonce);
      return healthy(fly, wanted, found);
    }
    const updated = await fly.updateMachine(app, found.id, nonce, {
      region,
      config,
      min_secrets_version: wanted.secretsVersion,
      current_version: found.instance_id,
    });
    return healthy(fly, wanted, updated);
  });
}

/** Waits for the machine; one that does not get well is kept by the engine, and the next update goes on from it. */
async function healthy(fly: FlyApi, { app }: MachineInputs, { id, instance_id, ...rest }: Machine): Promise<Outputs> {
  try {
    return outputsOf(await settle(fly, app, id, instance_id));
  } catch (error) {
    if (!(error instanceof ResourceError)) throw error;
    throw new ResourceError(error.message, { id: `${app}/${id}`, outputs: outputsOf({ id, instance_id, ...rest }) });
  }
}

function outputsOf({ id, instance_id, private_ip }: Machine): Outputs {
  return { machine: id, instance: instance_id, privateIp: private_ip ?? "" };
}

function isGone({ state }: Machine): boolean {
  return state === "destroyed" || state === "destroying";
}
