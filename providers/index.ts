import type { ProviderAdapter, ProviderName } from "./adapter.ts";
import { cloudflare } from "./cloudflare/adapter.ts";
import { fly } from "./fly/adapter.ts";
import { supabase } from "./supabase/adapter.ts";

/**
 * Every provider the toolkit knows. The type is exhaustive: a new name in {@link ProviderName} does not compile until its adapter is here.
 *
 * The settings and accounts of the adapters differ; the plan pairs each adapter only with settings that its own schema produced.
 */
export const adapters: Readonly<Record<ProviderName, ProviderAdapter>> = {
  cloudflare: cloudflare as ProviderAdapter,
  supabase: supabase as ProviderAdapter,
  fly: fly as ProviderAdapter,
};

export const providerNames = Object.keys(adapters) as readonly ProviderName[];

export { type BundleRequest, bundle, functionNames } from "./bundle.ts";
