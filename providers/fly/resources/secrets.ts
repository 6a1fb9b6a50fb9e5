import * as z from "zod";
import { defineResource } from "../../plugin/resource.ts";
import { FlyApi } from "../api.ts";
import type { Secret } from "../api-types.ts";
import { api, importApi } from "./target.ts";

const inputs = z.strictObject({
  api,
  app: z.string(),
  values: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string()),
});

type Inputs = z.output<typeof inputs>;

interface Outputs {
  readonly version: number;
  /** What Fly answered as digest of each value: tells whether somebody else changed one. */
  readonly digests: Readonly<Record<string, string>>;
}

export const secrets = defineResource<Inputs, Outputs>({
  token: "federation:index:FlySecrets",
  description:
    "Secrets of a Fly app; others that it has are left alone. Import id: the app's name (values cannot be read back).",
  inputs,
  secrets: ["values"],
  replaceOn: ["api", "app"],
  async create(wanted, { signal }) {
    return { id: wanted.app, outputs: await set(wanted, {}, signal) };
  },
  async read(name, stored, { signal }) {
    const target = stored?.inputs.api ?? importApi();
    const found = await new FlyApi(target, signal).secrets(name);
    if (!found) return undefined;
    const digests = digestsOf(found);
    const before = stored?.outputs ?? { version: 0, digests: {} };
    // A value that was changed elsewhere cannot be read: it is left out, which shows as drift.
    const values = Object.entries(stored?.inputs.values ?? {}).filter(([key]) => digests[key] === before.digests[key]);
    return { id: name, inputs: { api: target, app: name, values: Object.fromEntries(values) }, outputs: before };
  },
  async update(_name, wanted, stored, { signal }) {
    return { outputs: await set(wanted, stored.inputs.values, signal) };
  },
  async delete(name, stored, { signal }) {
    const fly = new FlyApi(stored.inputs.api, signal);
    const found = new Set((await fly.secrets(name))?.map((secret) => secret.name));
    const ours = Object.keys(stored.inputs.values).filter((key) => found.has(key));
    if (ours.length > 0) await fly.setSecrets(name, Object.fromEntries(ours.map((key) => [key, null])));
  },
});

async function set(wanted: Inputs, before: Inputs["values"], signal: AbortSignal): Promise<Outputs> {
  const fly = new FlyApi(wanted.api, signal);
  const removed = Object.keys(before).filter((key) => !(key in wanted.values));
  const { version } = await fly.setSecrets(wanted.app, {
    ...wanted.values,
    ...Object.fromEntries(removed.map((key) => [key, null])),
  });
  const digests = digestsOf((await fly.secrets(wanted.app)) ?? []);
  return { version, digests: Object.fromEntries(Object.keys(wanted.values).map((key) => [key, digests[key] ?? ""])) };
}

function digestsOf(secrets: readonly Secret[]): Record<string, string> {
  return Object.fromEntries(secrets.map(({ name, digest }) => [name, digest]));
}
