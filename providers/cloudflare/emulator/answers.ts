import { deployedVersion } from "./records.ts";
import type { Deployment, Version, Worker } from "./store.ts";

/** What the API answers about a script after an upload and in lists. */
export function script(worker: Worker): Record<string, unknown> {
  const version = deployedVersion(worker) ?? worker.versions.at(-1);
  const deployment = worker.deployments.at(-1);
  return {
    id: worker.name,
    tag: worker.id,
    etag: version?.etag ?? "",
    handlers: ["fetch"],
    has_assets: false,
    has_modules: version?.syntax === "modules",
    created_on: worker.created,
    modified_on: worker.modified,
    ...(version && {
      entry_point: version.main,
      startup_time_ms: version.startupMs,
      compatibility_date: version.compatibilityDate,
      compatibility_flags: version.compatibilityFlags,
      last_deployed_from: version.source,
    }),
    ...(worker.migrationTag !== undefined && { migration_tag: worker.migrationTag }),
    // Cloudflare writes the id of the version here, without its dashes.
    ...(deployment && { deployment_id: deployment.versions[0]!.version_id.replaceAll("-", "") }),
    logpush: worker.settings.logpush,
    observability: worker.settings.observability,
    tail_consumers: worker.settings.tail_consumers,
    usage_model: "standard",
  };
}

/** What the older API answers about a Worker's settings: its own, and those of the version that runs. */
export function scriptSettings(worker: Worker, version: Version): Record<string, unknown> {
  return {
    ...worker.settings,
    annotations: version.annotations,
    bindings: bindings(worker, version),
    compatibility_date: version.compatibilityDate,
    compatibility_flags: version.compatibilityFlags,
    placement: {},
    usage_model: "standard",
    ...(worker.migrationTag !== undefined && { migration_tag: worker.migrationTag }),
  };
}

export function service(worker: Worker): Record<string, unknown> {
  const environment = {
    environment: "production",
    created_on: worker.created,
    modified_on: worker.modified,
    script: script(worker),
  };
  return {
    id: worker.name,
    created_on: worker.created,
    modified_on: worker.modified,
    usage_model: "standard",
    default_environment: environment,
    environments: [environment],
  };
}

/** A version as the older API shows it. */
export function scriptVersion(worker: Worker, version: Version): Record<string, unknown> {
  const { handlers, last_deployed_from } = script(worker);
  return {
    ...scriptVersionItem(version),
    startup_time_ms: version.startupMs,
    annotations: version.annotations,
    resources: {
      bindings: bindings(worker, version),
      script: { etag: version.etag, handlers, last_deployed_from },
      script_runtime: {
        compatibility_date: version.compatibilityDate,
        compatibility_flags: version.compatibilityFlags,
        usage_model: "standard",
        ...(worker.migrationTag !== undefined && { migration_tag: worker.migrationTag }),
      },
    },
  };
}

export function scriptVersionItem({ id, number, created, source }: Version): Record<string, unknown> {
  return {
    id,
    number,
    metadata: { created_on: created, modified_on: created, source, author_email: "local@localhost" },
  };
}

export function deployment(value: Deployment): Record<string, unknown> {
  const { id, created, source, versions, annotations } = value;
  return {
    id,
    created_on: created,
    source,
    strategy: "percentage",
    versions,
    annotations,
    author_email: "local@localhost",
  };
}

/** A Worker as the newer API shows it; `url` is where it is reached. */
export function worker(value: Worker, url: string): Record<string, unknown> {
  return {
    id: value.id,
    name: value.name,
    created_on: value.created,
    updated_on: value.modified,
    deployed_on: value.deployments.at(-1)?.created ?? null,
    ...value.settings,
    subdomain: { ...value.subdomain, url },
    references: { dispatch_namespace_outbounds: [], domains: [], durable_objects: [], queues: [], workers: [] },
  };
}

/** A version as the newer API shows it, with its code where `contents` is given. */
export function version(of: Worker, value: Version, contents?: readonly Uint8Array[]): Record<string, unknown> {
  return {
    id: value.id,
    number: value.number,
    created_on: value.created,
    source: value.source,
    urls: [],
    main_module: value.main,
    compatibility_date: value.compatibilityDate,
    compatibility_flags: value.compatibilityFlags,
    bindings: bindings(of, value),
    annotations: value.annotations,
    startup_time_ms: value.startupMs,
    usage_model: "standard",
    ...(value.exports && { exports: value.exports }),
    ...(of.migrationTag !== undefined && { migration_tag: of.migrationTag }),
    ...(contents && {
      modules: value.modules.map(({ name, contentType }, index) => ({
        name,
        content_type: contentType,
        content_base64: Buffer.from(contents[index]!).toString("base64"),
      })),
    }),
  };
}

function bindings(of: Worker, value: Version): readonly object[] {
  return value.bindings.map((binding) => {
    const namespace = of.namespaces.find(
      ({ className }) => binding.type === "durable_object_namespace" && className === binding["class_name"],
    );
    return namespace ? { ...binding, namespace_id: namespace.id } : binding;
  });
}
