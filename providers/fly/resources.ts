import type { ResourceType } from "../plugin/resource.ts";
import { app } from "./resources/app.ts";
import { machine } from "./resources/machine.ts";
import { secrets } from "./resources/secrets.ts";
import { volume } from "./resources/volume.ts";

/** The Fly types that the plugin serves. */
const types: readonly ResourceType[] = [app, secrets, volume, machine];

export default types;
