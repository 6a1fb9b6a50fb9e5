import * as z from "zod";
import { ResourceError, defineResource } from "../../plugin/resource.ts";
import { FlyApi, FlyApiError } from "../api.ts";
import type { IpAssignment } from "../api-types.ts";
import { api, importApi } from "./target.ts";

const kinds = ["shared_v4", "v6"] as const;

const inputs = z.strictObject({
  api,
  name: z.string(),
  organization: z.string(),
  /** Kinds of public address the app has at least one of. */
  addresses: z.array(z.enum(kinds)).default([...kinds]),
});

type Inputs = z.output<typeof inputs>;

interface Outputs {
  readonly ips: readonly string[];
}

export const app = defineResource<Inputs, Outputs>({
  token: "federation:index:FlyApp",
  description: "A Fly app with the public addresses that make it reachable. Import id: the app's name.",
  inputs,
  secrets: [],
  replaceOn: ["api", "name", "organization"],
  deleteBeforeReplace: true,
  async create(wanted, { signal }) {
    const fly = new FlyApi(wanted.api, signal);
    const found = await fly.app(wanted.name);
    if (found) await checkAdoptable(fly, wanted, found.organization.slug);
    else await fly.createApp(wanted.name, wanted.organization).catch((error: unknown) => refuse(wanted, error));
    return { id: wanted.name, outputs: await ensureAddresses(fly, wanted) };
  },
  async read(name, stored, { signal }) {
    const target = stored?.inputs.api ?? importApi();
    const fly = new FlyApi(target, signal);
    const found = await fly.app(name);
    if (!found) return undefined;
    const ips = await fly.addresses(name);
    const addresses = (stored?.inputs.addresses ?? kinds).filter((kind) => ips.some((ip) => isOf(kind, ip)));
    return {
      id: name,
      inputs: { api: target, name, organization: found.organization.slug, addresses },
      outputs: { ips: ips.map(({ ip }) => ip) },
    };
  },
  async update(_name, wanted, _stored, { signal }) {
    return { outputs: await ensureAddresses(new FlyApi(wanted.api, signal), wanted) };
  },
  async delete(name, stored, { signal }) {
    await new FlyApi(stored.inputs.api, signal).deleteApp(name);
  },
});

/** An app that is there already is what an interrupted create left, or somebody's: one that runs something is not taken over. */
async function checkAdoptable(fly: FlyApi, wanted: Inputs, organization: string): Promise<void> {
  if (organization !== wanted.organization) {
    throw new ResourceError(
      `The Fly app "${wanted.name}" belongs to the organization "${organization}", not to "${wanted.organization}".`,
    );
  }
  const machines = await fly.machines(wanted.name);
  if (machines.length === 0) return;
  throw new ResourceError(
    `The Fly app "${wanted.name}" exists and has ${machines.length} machine(s) that this stack did not make. ` +
      `Choose another node name, or take it over with \`pulumi import federation:index:FlyApp <name> ${wanted.name}\`.`,
  );
}

function refuse(wanted: Inputs, error: unknown): never {
  if (!(error instanceof FlyApiError) || error.code !== "name_taken") throw error;
  throw new ResourceError(
    `The Fly app name "${wanted.name}" is taken: app names are global among all Fly customers. Choose another name for the network, organization or node.`,
  );
}

async function ensureAddresses(fly: FlyApi, wanted: Inputs): Promise<Outputs> {
  const ips = [...(await fly.addresses(wanted.name))];
  for (const kind of wanted.addresses) {
    if (!ips.some((ip) => isOf(kind, ip))) ips.push(await fly.assignAddress(wanted.name, kind));
  }
  return { ips: ips.map(({ ip }) => ip) };
}

function isOf(kind: (typeof kinds)[number], { ip, shared }: IpAssignment): boolean {
  return kind === "v6" ? ip.includes(":") && !ip.startsWith("fdaa") : shared;
}
