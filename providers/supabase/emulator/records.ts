import type { ApiKeys, FunctionRecord, Project } from "./store.ts";

/** As `GET /v1/projects/{ref}` tells a project. */
export function describe({ ref, createdAt }: Project): object {
  const database = { host: "127.0.0.1", version: "18", postgres_engine: "18", release_channel: "ga" };
  const organization = { organization_id: "local", organization_slug: "local" };
  return {
    id: ref,
    ref,
    ...organization,
    name: ref,
    region: "local",
    created_at: createdAt,
    status: "ACTIVE_HEALTHY",
    database,
  };
}

/** As `GET .../api-keys` tells them: secret keys are masked unless they are asked for, legacy ones never. */
export function listKeys(keys: ApiKeys, reveal: boolean): readonly object[] {
  return [
    { name: "anon", type: "legacy", id: "anon", api_key: keys.anon },
    { name: "service_role", type: "legacy", id: "service_role", api_key: keys.serviceRole },
    { name: "default", type: "publishable", id: "publishable", prefix: "sb_publishable_", api_key: keys.publishable },
    {
      name: "default",
      type: "secret",
      id: "secret",
      prefix: "sb_secret_",
      api_key: reveal ? keys.secret : "sb_secret_····",
    },
  ];
}

/** As the API tells a function. */
export function publicRecord(record: FunctionRecord): Omit<FunctionRecord, "static_patterns"> {
  const { static_patterns: _omitted, ...told } = record;
  return told;
}
