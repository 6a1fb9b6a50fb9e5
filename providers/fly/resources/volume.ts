import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { ResourceError, defineResource } from "../../plugin/resource.ts";
import { FlyApi, FlyApiError } from "../api.ts";
import type { Volume } from "../api-types.ts";
import { api, importApi, splitId } from "./target.ts";

const inputs = z.strictObject({
  api,
  app: z.string(),
  name: z.string().regex(/^[a-z0-9_]{1,30}$/, "must be 1 to 30 lower-case letters, digits or underscores"),
  region: z.string(),
  sizeGb: z.int().min(1),
});

type Inputs = z.output<typeof inputs>;

interface Outputs {
  readonly volume: string;
}

export const volume = defineResource<Inputs, Outputs>({
  token: "federation:index:FlyVolume",
  description: "A disk for one Fly machine. It can grow, not shrink. Import id: <app>/<volume>.",
  inputs,
  secrets: [],
  replaceOn: ["api", "app", "name", "region"],
  deleteBeforeReplace: true,
  async create(wanted, { signal }) {
    const fly = new FlyApi(wanted.api, signal);
    const { app, name, region, sizeGb } = wanted;
    const found = (await fly.volumes(app)).find(
      (candidate) => candidate.name === name && candidate.region === region && !isGone(candidate),
    );
    const { id } = found ?? (await fly.createVolume(app, { name, region, size_gb: sizeGb }));
    if (found) await grow(fly, wanted, found);
    return { id: `${app}/${id}`, outputs: { volume: id } };
  },
  async read(id, stored, { signal }) {
    const [app, own] = splitId(id, "volume");
    const target = stored?.inputs.api ?? importApi();
    const found = await new FlyApi(target, signal).volume(app, own);
    if (!found || isGone(found)) return undefined;
    const { name, region, size_gb: sizeGb } = found;
    return { id, inputs: { api: target, app, name, region, sizeGb }, outputs: { volume: own } };
  },
  async update(id, wanted, stored, { signal }) {
    const fly = new FlyApi(wanted.api, signal);
    const found = await fly.volume(wanted.app, stored.outputs.volume);
    if (!found || isGone(found))
      throw new ResourceError(`The Fly volume ${id} is gone. Run \`pulumi refresh\`, then \`pulumi up\` again.`);
    await grow(fly, wanted, found);
    return { outputs: stored.outputs };
  },
  async delete(id, stored, { signal }) {
    const [app, own] = splitId(id, "volume");
    const fly = new FlyApi(stored.inputs.api, signal);
    // A volume stays attached for a moment after its machine was destroyed.
    for (let tries = 1; ; tries += 1) {
      try {
        return await fly.deleteVolume(app, own);
      } catch (error) {
        if (!(error instanceof FlyApiError) || tries === 10 || ![409, 412, 422].includes(error.status)) throw error;
        await sleep(1000, undefined, { signal });
      }
    }
  },
});

function isGone({ state }: Volume): boolean {
  return state.includes("destroy");
}

async function grow(fly: FlyApi, { app, sizeGb }: Inputs, found: Volume): Promise<void> {
  if (found.size_gb > sizeGb) {
    throw new ResourceError(
      `The Fly volume ${app}/${found.id} has ${found.size_gb} GB and cannot shrink to ${sizeGb}. Set volumeGb to ${found.size_gb}.`,
    );
  }
  if (found.size_gb < sizeGb) await fly.extendVolume(app, found.id, sizeGb);
}
