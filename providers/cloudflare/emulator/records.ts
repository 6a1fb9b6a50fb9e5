import { randomBytes, randomUUID } from "node:crypto";
import type { Deployment, Version, Worker } from "./store.ts";

/** The version that all requests go to, if one is deployed. */
export function deployedVersion(worker: Worker): Version | undefined {
  const id = worker.deployments.at(-1)?.versions.find(({ percentage }) => percentage === 100)?.version_id;
  return worker.versions.find((version) => version.id === id);
}

/** Number of the version that comes next. */
export function nextNumber(worker: Worker): number {
  return (worker.versions.at(-1)?.number ?? 0) + 1;
}

export function newDeployment(versions: Deployment["versions"], annotations: Deployment["annotations"]): Deployment {
  return { id: randomUUID(), created: new Date().toISOString(), source: "api", versions, annotations };
}

/** A Worker without code. */
export function blank(account: string, name: string): Worker {
  const now = new Date().toISOString();
  return {
    id: randomBytes(16).toString("hex"),
    account,
    name,
    created: now,
    modified: now,
    subdomain: { enabled: false, previews_enabled: false },
    settings: { logpush: false, observability: { enabled: false }, tags: [], tail_consumers: [] },
    namespaces: [],
    versions: [],
    deployments: [],
  };
}
