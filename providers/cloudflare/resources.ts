import type { ResourceType } from "../plugin/resource.ts";
import { workerVersion } from "./resources/version.ts";
import { worker } from "./resources/worker.ts";

/** The types of `@pulumi/cloudflare` that the adapter uses, for stacks where the vendor's own plugin cannot serve them. */
const types: readonly ResourceType[] = [worker, workerVersion];

export default types;
