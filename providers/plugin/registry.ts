import fly from "../fly/resources.ts";
import supabase from "../supabase/resources.ts";
import { signingKey } from "./key.ts";
import type { ResourceType } from "./resource.ts";
import { wiring } from "./wiring.ts";

/** Every type of the package `federation`. */
export const types: readonly ResourceType[] = [signingKey, wiring, ...supabase, ...fly];
